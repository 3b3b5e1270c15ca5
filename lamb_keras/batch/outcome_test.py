from types import SimpleNamespace

import psutil
import pytest

from lamb_keras.batch import outcome


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with plenty of memory, whose kernel has ended two processes so far."""
    count = tmp_path / "memory.events"
    count.write_text("low 0\noom 7\noom_kill 2\noom_group_kill 9\n")
    monkeypatch.setattr(outcome, "COUNTS", (tmp_path / "none", count))
    memory = SimpleNamespace(total=100, available=50)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    return SimpleNamespace(count=count, memory=memory)


KILLED = outcome.of_process("the kernel", -9)


def test_a_kill_without_a_hint_is_no_more_than_that(machine):
    memory = outcome.Memory()
    memory.check()
    assert memory.explain(KILLED) == KILLED


def test_a_kill_that_the_system_counted_is_perhaps_for_want_of_memory(machine):
    memory = outcome.Memory()
    machine.count.write_text("oom_kill 3\n")
    ended = memory.explain(KILLED)
    assert ended.how == outcome.OUT_OF_MEMORY
    assert ended.reason == (
        "the kernel was killed by signal 9, perhaps for want of memory"
    )


def test_so_is_one_at_a_time_when_there_was_hardly_any(machine):
    memory = outcome.Memory()
    machine.memory.available = 4
    memory.check()
    # By now what was killed has given its own back.
    machine.memory.available = 90
    memory.check()
    assert memory.explain(KILLED).how == outcome.OUT_OF_MEMORY
    assert (
        memory.explain(outcome.of_process("the kernel", None)).how
        == outcome.OUT_OF_MEMORY
    )


@pytest.mark.parametrize(
    "ended",
    [
        outcome.of_error("ValueError", "no"),
        outcome.of_process("the kernel", -11),
        outcome.Outcome(outcome.TIMED_OUT, "it took too long"),
        outcome.Outcome(outcome.SUCCEEDED),
    ],
)
def test_other_ends_have_nothing_to_do_with_memory(machine, ended):
    memory = outcome.Memory()
    machine.count.write_text("oom_kill 3\n")
    assert memory.explain(ended) == ended


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
