import os
import signal
import subprocess
import sys
import threading

import pytest

from lamb_keras.batch import BatchError, log

HOLD = """
import sys, time
from pathlib import Path
from lamb_keras.batch.log import Log
with Log(Path(sys.argv[1])) as held:
    held.begin("/tmp/lamb-x")
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
    before = (tmp_path / log.NAME).read_bytes()
    with pytest.raises(BatchError) as refused, log.Log(tmp_path):
        pass
    assert str(refused.value) == (
        f"another batch (process {holder.pid} on {log.host()}) is writing to "
        f"{tmp_path}; wait for its end, or name another folder with --output"
    )
    assert log.is_held(tmp_path)
    assert (tmp_path / log.NAME).read_bytes() == before


def test_a_batch_that_was_killed_holds_nothing_and_is_told_by_its_log(holder, tmp_path):
    assert log.read(tmp_path)[0]["pid"] == holder.pid
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not log.is_held(tmp_path)
    with log.Log(tmp_path) as held:
        assert held.left_behind() == "/tmp/lamb-x"
        held.begin("/tmp/lamb-y")
        held.append("ended", how="ended")
        assert held.left_behind() is None


def test_a_look_at_the_log_does_not_refuse_a_batch(tmp_path):
    stop = threading.Event()

    def look():
        while not stop.is_set():
            log.is_held(tmp_path)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            with log.Log(tmp_path):
                pass
    finally:
        stop.set()
        looking.join()


def test_a_torn_line_is_left_out_and_the_next_one_is_whole(tmp_path):
    with log.Log(tmp_path) as held:
        held.append("started", run="a")
    path = tmp_path / log.NAME
    for torn in (b'{"event": "trial fin', b'{"event": "trial finished", "time": 1}'):
        path.write_bytes(path.read_bytes() + torn)
        assert [event["event"] for event in log.read(tmp_path)][-1] == "started"
        with log.Log(tmp_path) as held:
            held.append("started", run="b")
    runs = [event.get("run") for event in log.read(tmp_path)]
    # The second one was whole but for the end of its line.
    assert runs == ["a", "b", None, "b"]


@pytest.mark.parametrize("line", ["", "[]", "7", '{"event": "x"}', "\udc80", "{"])
def test_what_is_no_event_is_left_out(tmp_path, line):
    (tmp_path / log.NAME).write_bytes(f"{line}\n".encode(errors="surrogateescape"))
    assert log.read(tmp_path) == []


def test_the_log_of_a_folder_that_is_not_there_is_empty(tmp_path):
    assert log.read(tmp_path / "none") == [] and not log.is_held(tmp_path / "none")
    assert log.last_batch([]) == []


def test_only_the_last_batch_counts(tmp_path):
    with log.Log(tmp_path) as held:
        for folder in ("/tmp/lamb-1", "/tmp/lamb-2"):
            held.begin(folder)
            held.append("planned", run=folder, trials=1)
    told = log.last_batch(log.read(tmp_path))
    assert [event["event"] for event in told] == ["began", "planned"]
    assert told[1]["run"] == "/tmp/lamb-2"


def test_a_heartbeat_is_heard_only_after_a_silence(tmp_path, monkeypatch):
    with log.Log(tmp_path) as held:
        held.append("started")
        held.beat()
        held._said -= log.SECONDS_BETWEEN_HEARTBEATS + 1
        held.beat()
        held.beat()
    assert [event["event"] for event in log.read(tmp_path)] == ["started", "heartbeat"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
def test_a_full_disk_ends_no_batch(tmp_path):
    with log.Log(tmp_path) as held:
        own, held._descriptor = held._descriptor, os.open("/dev/full", os.O_WRONLY)
        held.append("started")
        os.close(held._descriptor)
        held._descriptor = own


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BatchError, match="batch.jsonl cannot be written: "):
        log.Log(tmp_path / "file").__enter__()
