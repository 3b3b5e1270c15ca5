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
            made = status.Status({"a": trials}, log, stream=stream)
            made.begin("")
            return made, stream

        yield show


def finish(made, done, **fields):
    made.note("trial finished", run="a", done=done, **fields)
    made.refresh()


def test_where_there_is_no_terminal_a_line_is_printed_every_ten_seconds(clock, shown):
    made, stream = shown(100, io.StringIO())
    made.note("started", run="a", attempt=1)
    for done in range(1, 101):
        clock.now += 0.5
        finish(made, done)
        made.refresh()
    said = stream.getvalue().splitlines()
    assert said == [
        "20 of 100 trials after 00:10, about 00:40 left",
        "40 of 100 trials after 00:20, about 00:30 left",
        "60 of 100 trials after 00:30, about 00:20 left",
        "80 of 100 trials after 00:40, about 00:09 left",
        "100 of 100 trials after 00:50, about 00:00 left",
    ]


def test_without_news_there_is_no_line(clock, shown):
    made, stream = shown(1000, io.StringIO())
    clock.now += 10
    finish(made, 1)
    clock.now += 60
    made.refresh()
    assert stream.getvalue().count("\n") == 1


def test_on_a_terminal_a_bar_shows_trials_time_left_and_the_trial(clock, shown):
    made, stream = shown(4, Terminal())
    made.note("trials planned", run="a", total=4)
    made.note("started", run="a", attempt=1)
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
    made.close("ended")


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
