import pytest

from lamb_keras.batch import board, log

BEGAN = {"event": "began", "time": 0.0, "host": "elsewhere", "pid": 1, "folder": "x"}


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


def lines(*events, alive=True, now=100.0):
    return board.Board([BEGAN, *PLANNED, *events]).lines(alive, now)


def test_every_run_that_is_planned_has_its_line():
    assert lines() == [
        "a  waiting  0 of 10 trials",
        "b  waiting  0 of 10 trials",
        "a batch is running: 0 of 2 runs done, 0 of 20 trials",
    ]


def test_a_run_that_goes_on_tells_its_rate_and_the_batch_its_time_left():
    a, b, whole = lines(*started(), trial(12.0, 5), now=12.0)
    assert a == "a  running  5 of 10 trials, 30.0 a minute"
    # Two seconds a trial; fifteen are left.
    assert whole.endswith("0 of 2 runs done, 5 of 20 trials, about 00:30 left")
    assert lines(*started(), trial(12.0, 5), now=22.0)[2].endswith("about 00:20 left")
    # One of twenty tells too little.
    assert lines(*started(), trial(12.0, 1), now=12.0)[2].endswith("1 of 20 trials")


def test_trials_of_an_earlier_sitting_do_not_make_it_faster():
    a, _, whole = lines(*started(done=7), trial(12.0, 9), now=12.0)
    assert a == "a  running  9 of 10 trials, 12.0 a minute"
    assert whole.endswith("9 of 20 trials, about 00:55 left")


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
    assert lines(*started(), trial(12.0, 3), again, second, kept)[0].startswith(
        "a  running  3 of 10 trials"
    )


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


def test_of_a_folder_without_a_batch_there_is_one_thing_to_say(tmp_path):
    assert board.status(tmp_path) == ["no batch is running, nor has one been here"]


def test_whether_a_batch_runs_is_told_by_its_lock(tmp_path):
    with log.Log(tmp_path) as held:
        held.begin("/tmp/lamb-x")
        assert board.status(tmp_path)[-1].startswith("a batch is running")
    assert board.status(tmp_path)[-1].startswith("no batch is running")


def test_on_another_machine_it_is_told_by_its_heartbeat(tmp_path, monkeypatch):
    with log.Log(tmp_path) as held:
        held.begin("/tmp/lamb-x")
        last = log.read(tmp_path)[-1]["time"]
    monkeypatch.setattr(log, "host", lambda: "another")
    running = [board.status(tmp_path, last + age)[-1][:2] for age in (15, 60)]
    assert running == ["a ", "no"]
