import itertools
import json
import random
import re

import pytest

from lamb_keras.batch.board import Board
from lamb_keras.batch.plan import Project

ARCHIVE = Project.find().root / "outputs" / "laptop" / "runs.jsonl"


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
    made = Board()
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


def test_a_run_that_goes_on_tells_its_phase_until_its_first_trial_is_there():
    told = [event("started", 1.0, attempt=1), event("working", 2.0)]
    told += [event("trials planned", 9.0, total=10), trial(12.0, 1)]
    phases = [lines(*told[: n + 1])[0].partition("trials")[2] for n in range(4)]
    assert phases == [", starting", ", loading", ", compiling", ""]


def left(*events, now):
    *_, whole = lines(*events, now=now)
    return whole.partition("trials")[2]


def test_the_time_left_is_told_by_what_runs_took_before():
    planned = [{**each, "seconds": 20.0} for each in PLANNED]
    # Four of twenty trials are done after five seconds and one before them.
    assert left(*planned, *started(), trial(6.0, 4), now=6.0) == ", about 00:24 left"
    # A machine of half the speed, as the first run has shown.
    told = [*planned, *started(), trial(41.0, 10)]
    told += [event("succeeded", 41.0, seconds=40.0), *started("b", time=41.0)]
    assert left(*told, now=51.0) == ", about 00:30 left"
    # One of forty tells too little.
    assert left(*planned, *started(), trial(2.0, 1), now=2.0) == ""


def test_or_by_what_a_trial_of_the_notebook_takes_now():
    known = [event("planned", 0.0, f"{table}/n", trials=10) for table in (1, 2)]
    told = [*known, *started("1/n", time=0.0), trial(20.0, 5, "1/n")]
    made = Board()
    for each in told:
        made.take(each)
    assert made.time_left(20.0) == ", about 01:00 left"
    made.take(event("planned", 0.0, "3/another", trials=10))
    assert made.time_left(20.0) == "", "nobody knows what the third one takes"


def test_trials_of_an_earlier_batch_do_not_make_it_faster():
    planned = [{**each, "seconds": 20.0} for each in PLANNED]
    told = [*planned, *started(time=0.0, done=8), trial(2.0, 9)]
    a, _, whole = lines(*told, now=2.0)
    assert a == "a  running  9 of 10 trials"
    # A trial takes three seconds, where two were expected.
    told = [*planned[:1], {**planned[1], "seconds": 10.0}]
    told += [*started(time=0.0, done=8), trial(3.0, 9)]
    assert left(*told, now=3.0) == ", about 00:18 left"


RECORDED = [json.loads(line) for line in ARCHIVE.read_text().splitlines()]


def recorded_batch(slowness):
    """The events of all runs of the laptop's report, two at once, and its seconds.

    A trial takes its part of what the run took after its start; each run is slower
    than recorded by a factor that depends on its name.
    """
    runs = sorted(RECORDED, key=lambda run: run["started"])
    events, free = [{"event": "began", "time": 0.0}], [8.0, 8.0]
    for run in runs:
        name, trials = run["name"], run["scraps"]["trials"]
        total = len(trials)
        events.append(event("planned", 0.0, name, trials=total, seconds=run["seconds"]))
        slot = free.index(min(free))
        began, seconds = free[slot], run["seconds"] * slowness(name)
        # Trials that took the same time were trained at once.
        at_once = itertools.groupby(each["seconds"] for each in trials)
        groups = [(lasted, len(list(group))) for lasted, group in at_once]
        now, done = began + min(3 * slowness(name), 0.3 * seconds), 0
        a_second = (began + seconds - now) / sum(lasted for lasted, _ in groups)
        events.append(event("started", began, name, attempt=1))
        events.append(event("trials planned", now, name, total=total))
        for lasted, count in groups:
            now += a_second * lasted
            for _ in range(count):
                done += 1
                ended = event("trial finished", now, name, done=done, total=total)
                events.append(ended)
        free[slot] = began + seconds
        events.append(event("succeeded", free[slot], name, seconds=seconds))
    return sorted(events, key=lambda each: each["time"]), max(free)


@pytest.mark.parametrize(
    "slowness",
    [
        lambda name: 1,
        lambda name: 3,
        # Of two notebooks one gains more by a faster machine.
        lambda name: 2 if "bert" in name else 1.5,
        lambda name: 0.8 + random.Random(name).random() / 2,
    ],
)
def test_after_a_fifth_of_the_time_the_time_left_is_right_within_two_fifths(slowness):
    events, seconds = recorded_batch(slowness)
    told, made = 0, Board()
    for each in events:
        made.take(each)
        now = each["time"]
        # The last twentieth is a matter of seconds.
        if seconds / 5 <= now <= 0.95 * seconds:
            clock = [int(part) for part in re.findall(r"\d+", made.time_left(now))]
            said = sum(part * 60**n for n, part in enumerate(reversed(clock)))
            assert said == pytest.approx(seconds - now, rel=0.4, abs=1)
            told += 1
    assert told > 300


def test_trials_that_are_heard_of_out_of_order_are_counted_once():
    assert board(trial(1.0, 2), trial(2.0, 1), trial(3.0, 3)).done == 3


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
    assert "0 of 2 runs done, 5 of 20 trials" in whole


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
