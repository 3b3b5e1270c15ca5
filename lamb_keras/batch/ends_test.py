from types import SimpleNamespace

import psutil
import pytest

from lamb_keras.batch import ends


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with plenty of memory, whose kernel has ended two processes so far."""
    count = tmp_path / "memory.events"
    count.write_text("low 0\noom 7\noom_kill 2\noom_group_kill 9\n")
    monkeypatch.setattr(ends, "COUNTS", (tmp_path / "none", count))
    memory = SimpleNamespace(total=100, available=50)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    return SimpleNamespace(count=count, memory=memory)


KILLED = ends.of_process("the kernel", -9)


def test_a_kill_without_a_hint_is_no_more_than_that(machine):
    memory = ends.Memory()
    memory.look()
    assert memory.explain(KILLED) == KILLED


def test_a_kill_that_the_system_counted_is_perhaps_for_want_of_memory(machine):
    memory = ends.Memory()
    machine.count.write_text("oom_kill 3\n")
    end = memory.explain(KILLED)
    assert end.how == ends.OUT_OF_MEMORY
    assert end.reason == (
        "the kernel was killed by signal 9, perhaps for want of memory"
    )


def test_so_is_one_at_a_time_when_there_was_hardly_any(machine):
    memory = ends.Memory()
    machine.memory.available = 4
    memory.look()
    # By now what was killed has given its own back.
    machine.memory.available = 90
    memory.look()
    assert memory.explain(KILLED).how == ends.OUT_OF_MEMORY
    assert memory.explain(ends.of_process("the kernel", None)).how == ends.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "end",
    [
        ends.of_error("ValueError", "no"),
        ends.of_process("the kernel", -11),
        ends.End(ends.TIMED_OUT, "it took too long"),
        ends.End(ends.SUCCEEDED),
    ],
)
def test_other_ends_have_nothing_to_do_with_memory(machine, end):
    memory = ends.Memory()
    machine.count.write_text("oom_kill 3\n")
    assert memory.explain(end) == end


@pytest.mark.parametrize(
    ("end", "retried"),
    [
        (ends.of_error("ValueError", "MemoryError"), False),
        (ends.of_error("MemoryError", ""), True),
        (ends.of_error("_ArrayMemoryError", "Unable to allocate"), True),
        (ends.of_error("KeyboardInterrupt", ""), False),
        (ends.of_process("the kernel", -15), True),
        (ends.of_process("the kernel", None), True),
        (ends.of_process("the kernel", 3), False),
        (ends.End(ends.TIMED_OUT, "it took too long"), False),
    ],
)
def test_what_is_not_the_notebooks_fault_may_be_retried(end, retried):
    assert end.may_be_retried is retried
