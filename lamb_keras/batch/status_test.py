import contextlib
import io
import os
import pty
import signal
import subprocess
import sys

import pytest

from lamb_keras.batch import BatchError, status

HOLD = """
import sys, time
from pathlib import Path
from lamb_keras.batch.status import Log
with Log(Path(sys.argv[1])) as log:
    log.append("began", host="a", pid=7, folder="")
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the log of this test's folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_batch_is_refused_in_one_sentence_that_names_the_first(
    holder, tmp_path
):
    before = (tmp_path / status.NAME).read_bytes()
    with pytest.raises(BatchError) as refused, status.Log(tmp_path):
        pass
    assert str(refused.value) == (
        f"another batch (process 7 on a) is writing to {tmp_path}; wait for its end, "
        "or name another folder with --output"
    )
    assert status.is_held(tmp_path)
    assert (tmp_path / status.NAME).read_bytes() == before
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not status.is_held(tmp_path)


def test_a_torn_line_is_left_out_and_the_next_one_is_whole(tmp_path):
    with status.Log(tmp_path) as log:
        log.append("started", run="a")
    path = tmp_path / status.NAME
    for torn in (b'{"event": "trial fin', b'{"event": "trial finished", "time": 1}'):
        path.write_bytes(path.read_bytes() + torn)
        assert [event["event"] for event in status.read(tmp_path)][-1] == "started"
        with status.Log(tmp_path) as log:
            log.append("started", run="b")
    runs = [event.get("run") for event in status.read(tmp_path)]
    # The second one was whole but for the end of its line.
    assert runs == ["a", "b", None, "b"]


@pytest.mark.parametrize("line", ["", "[]", "7", '{"event": "x"}', "\udc80", "{"])
def test_what_is_no_event_is_left_out(tmp_path, line):
    text = f"{line}\n".encode(errors="surrogateescape")
    (tmp_path / status.NAME).write_bytes(text)
    assert status.read(tmp_path) == []


def test_only_the_last_batch_counts(tmp_path):
    assert status.last_batch(tmp_path / "none") == []
    with status.Log(tmp_path) as log:
        for number in (1, 2):
            log.append("began")
            log.append("planned", run=number)
    assert [event.get("run") for event in status.last_batch(tmp_path)] == [None, 2]


def test_a_heartbeat_is_heard_only_after_a_silence(tmp_path):
    with status.Log(tmp_path) as log:
        log.append("started")
        log.beat()
        log._appended -= status.SECONDS_BETWEEN_HEARTBEATS + 1
        log.beat()
        log.beat()
    heard = [event["event"] for event in status.read(tmp_path)]
    assert heard == ["started", "heartbeat"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_a_full_disk_ends_no_batch(tmp_path):
    with status.Log(tmp_path) as log:
        own, log._descriptor = log._descriptor, os.open("/dev/full", os.O_WRONLY)
        log.append("started")
        os.close(log._descriptor)
        log._descriptor = own


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BatchError, match="batch.jsonl cannot be written: "):
        status.Log(tmp_path / "file").__enter__()


def event(what, time, run="a", **fields):
    return {"event": what, "time": time, "run": run, **fields}


def trial(time, done, run="a"):
    return event("trial finished", time, run, done=done, total=10)


def started(run="a", time=1.0, **fields):
    return [
        event("started", time, run, attempt=1),
        event("trials planned", time + 1, run, total=10, **fields),
    ]


PLANNED = [event("planned", 0.0, run, trials=10) for run in ("a", "b")]


def board(*events):
    made = status.Board()
    for each in [*PLANNED, *events]:
        made.take(each)
    return made


def lines(*events, alive=True, now=100.0):
    return board(*events).lines(alive, now)


def test_every_run_that_is_planned_has_its_line():
    assert lines() == [
        "a  waiting  0 of 10 trials",
        "b  waiting  0 of 10 trials",
        "a batch is running: 0 of 2 runs done, 0 of 20 trials",
    ]


def test_a_run_that_goes_on_tells_its_rate_and_the_batch_its_time_left():
    a, b, whole = lines(*started(), trial(12.0, 5), now=12.0)
    assert a == "a  running  5 of 10 trials, 30.0 a minute"
    # Two seconds a trial; fifteen are left. What a kernel takes to start is left out.
    assert whole.endswith("0 of 2 runs done, 5 of 20 trials, about 00:30 left")
    assert lines(*started(), trial(12.0, 5), now=22.0)[2].endswith("about 00:20 left")
    # One of twenty tells too little.
    assert lines(*started(), trial(12.0, 1), now=12.0)[2].endswith("1 of 20 trials")


def test_trials_of_an_earlier_batch_do_not_make_it_faster():
    a, _, whole = lines(*started(done=7), trial(12.0, 9), now=12.0)
    assert a == "a  running  9 of 10 trials, 12.0 a minute"
    assert whole.endswith("9 of 20 trials, about 00:55 left")


def test_trials_that_are_heard_of_out_of_order_are_counted_once():
    assert board(trial(1.0, 2), trial(2.0, 1), trial(3.0, 3)).done == 3


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.5, "20.0 a second"), (900, "1.5 minutes each")]
)
def test_a_rate_is_told_in_the_unit_that_suits_it(seconds, told):
    assert lines(*started(), trial(2 + seconds, 10))[0].endswith(told)


def test_a_run_that_is_done_tells_how_long_it_took():
    done = event("succeeded", 80.0, reason=None, seconds=79.0)
    a, b, whole = lines(*started(), trial(12.0, 10), done)
    assert a == "a  done     10 of 10 trials in 01:19"
    assert "1 of 2 runs done, 10 of 20 trials" in whole


@pytest.mark.parametrize("how", ["failed", "timed out", "killed", "out of memory"])
def test_a_run_that_failed_tells_the_last_line_of_its_reason(how):
    end = event(how, 20.0, reason="Traceback\nValueError: no\n", seconds=19.0)
    a, _, whole = lines(*started(), trial(12.0, 5), end, now=12.0)
    assert a == f"a  {how} after 5 of 10 trials: ValueError: no"
    # Its other trials are no more waited for.
    assert whole.endswith("5 of 20 trials, about 00:20 left")


def test_a_run_that_is_tried_again_says_so():
    again = event("retried", 20.0, how="killed", reason="the kernel died")
    assert lines(*started(), trial(12.0, 3), again)[0] == (
        "a  waiting  3 of 10 trials; tried again, since the kernel died"
    )
    second = event("started", 21.0, attempt=2)
    kept = event("trials planned", 22.0, total=10, done=3)
    first, *_ = lines(*started(), trial(12.0, 3), again, second, kept)
    assert first.startswith("a  running  3 of 10 trials")


def test_a_batch_that_is_gone_is_said_to_be():
    end = {"event": "ended", "time": 60.0, "how": "was interrupted"}
    cut = event("interrupted", 59.0)
    a, b, whole = lines(*started(), trial(12.0, 3), cut, end, alive=False)
    assert a == "a  interrupted after 3 of 10 trials"
    assert whole == (
        "no batch is running; the last one was interrupted at 1970-01-01 00:01 UTC: "
        "0 of 2 runs done, 3 of 20 trials"
    )
    a, b, whole = lines(*started(), trial(12.0, 3), alive=False)
    assert a == "a  ended with the batch after 3 of 10 trials"
    assert "the last one was killed by 1970-01-01 00:00 UTC" in whole


def test_an_event_of_a_run_that_nobody_planned_is_left_out():
    assert lines(trial(3.0, 1, run="c"), {"event": "heartbeat", "time": 5.0}) == lines()


def test_whether_a_batch_runs_is_told_by_its_lock(tmp_path):
    assert status.status(tmp_path) == ["no batch is running, nor has one been here"]
    with status.Log(tmp_path) as log:
        log.append("began", host=status.host())
        assert status.status(tmp_path)[-1].startswith("a batch is running")
    assert status.status(tmp_path)[-1].startswith("no batch is running")


def test_on_another_machine_it_is_told_by_its_heartbeat(tmp_path):
    with status.Log(tmp_path) as log:
        last = log.append("began", host="another")["time"]
    running = [status.status(tmp_path, last + age)[-1][:2] for age in (15, 60)]
    assert running == ["a ", "no"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(status.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(status.time, "time", lambda: Clock.now)
    return Clock


@pytest.fixture
def shown(tmp_path):
    """Makes a `Status` of one run with so many trials, and its stream."""
    with contextlib.ExitStack() as stack:

        def show(trials, stream):
            log = stack.enter_context(status.Log(tmp_path))
            made = status.Status({"a": trials}, log, stream)
            made.begin("")
            return made, stream

        yield show


def finish(made, done, **fields):
    made.note("trial finished", run="a", done=done, **fields)
    made.refresh()


def test_where_there_is_no_terminal_a_line_is_printed_for_every_tenth(clock, shown):
    made, stream = shown(50, io.StringIO())
    made.note("trials planned", run="a", total=100)
    for done in range(1, 101):
        clock.now += 0.5
        finish(made, done)
    said = stream.getvalue().splitlines()
    assert len(said) == 10
    assert said[0] == "10 of 100 trials after 00:05, about 00:45 left"
    assert said[-1] == "100 of 100 trials after 00:50, about 00:00 left"


def test_where_trials_are_slow_a_line_is_printed_after_ten_seconds(clock, shown):
    made, stream = shown(1000, io.StringIO())
    clock.now += 9
    finish(made, 1)
    assert stream.getvalue() == ""
    for seconds, count in ((1, 1), (0, 1), (60, 1)):
        clock.now += seconds
        made.refresh()
        assert stream.getvalue().count("\n") == count


def test_on_a_terminal_a_bar_shows_trials_time_left_and_the_trial(clock, shown):
    made, stream = shown(4, Terminal())
    made.note("trials planned", run="a", total=4)
    clock.now += 20
    finish(made, 1, label="lamb lr=0.01 seed=3")
    said = stream.getvalue().rsplit("\r", 1)[-1]
    assert "1/4" in said and "25%" in said and "about 01:00 left" in said
    assert "lamb lr=0.01 seed=3" in said
    before = stream.tell()
    made.refresh()
    assert stream.tell() == before
    clock.now += 1.5
    made.refresh()
    assert stream.tell() > before, "its clock stands still"
    made.note("failed", run="a", reason="ValueError: no")
    assert "\ra failed: ValueError: no\n" in stream.getvalue()
    made.close(interrupted=False)


def test_a_terminal_without_a_width_shows_the_bar_all_the_same(tmp_path):
    code = """
import sys
from pathlib import Path
from lamb_keras.batch.status import Log, Status
with Log(Path(sys.argv[1])) as log:
    status = Status({"a": 4}, log)
    status.begin("")
    status.note("trial finished", run="a", done=1)
    status.refresh()
"""
    ours, theirs = pty.openpty()  # 0 by 0, as a container's
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, stderr=theirs, check=True)
    os.close(theirs)
    said = b""
    # Linux ends the reading of a closed terminal by an error, others by nothing read.
    with contextlib.suppress(OSError):
        while read := os.read(ours, 10_000):
            said += read
    os.close(ours)
    assert b"1/4" in said
