import json
import subprocess
import sys

import numpy as np

from lamb_keras.store.events import VARIABLE, emit


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_without_a_file_named_in_the_environment_nothing_is_written(
    tmp_path, monkeypatch
):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    emit("trial finished", done=1)
    assert list(tmp_path.iterdir()) == []


def test_each_event_is_one_line_with_its_time_and_fields(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "events.jsonl"))
    emit("trials planned", total=2)
    emit("trial finished", done=1, total=2, label="lamb\nlr=0.01")
    planned, finished = lines(tmp_path / "events.jsonl")
    assert planned["event"] == "trials planned" and planned["total"] == 2
    assert finished["label"] == "lamb\nlr=0.01"
    assert finished["time"] >= planned["time"]


def test_numpy_scalars_arrive_as_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "events.jsonl"))
    emit("trial finished", done=np.int64(3), seconds=np.float32(0.5), path=tmp_path)
    (event,) = lines(tmp_path / "events.jsonl")
    assert event["done"] == 3 and event["seconds"] == 0.5
    assert event["path"] == str(tmp_path)


def test_a_file_that_cannot_be_written_does_not_stop_the_training(
    tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone" / "events.jsonl"))
    emit("trial finished", done=1)


def test_the_lines_of_several_processes_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "events.jsonl"))
    code = "from lamb_keras.store.events import emit\n"
    code += "for i in range(300): emit('trial finished', done=i, label='x' * 500)"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(lines(tmp_path / "events.jsonl")) == 900
