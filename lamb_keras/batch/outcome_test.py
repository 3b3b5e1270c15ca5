import pytest

from lamb_keras.batch import outcome


@pytest.mark.parametrize(
    ("ended", "retried"),
    [
        (outcome.of_error("ValueError", "MemoryError"), False),
        (outcome.of_error("MemoryError", ""), True),
        (outcome.of_error("_ArrayMemoryError", "Unable to allocate"), True),
        (outcome.of_error("KeyboardInterrupt", ""), False),
        (outcome.of_process("the kernel", -15), True),
        (outcome.of_process("the kernel", None), True),
        (outcome.of_process("the kernel", 3), False),
        (outcome.Outcome(outcome.TIMED_OUT, "it took too long"), False),
    ],
)
def test_what_is_not_the_notebooks_fault_may_be_retried(ended, retried):
    assert ended.may_be_retried is retried
