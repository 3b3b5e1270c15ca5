import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from lamb_keras.batch import progress as module
from lamb_keras.batch.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


def finish(progress, run, **fields):
    progress.update(run, {"event": "trial finished", **fields})


def test_the_forecast_counts_until_a_run_says_what_it_plans():
    progress = Progress({"a": 100, "b": 100}, io.StringIO())
    assert progress.total == 200
    progress.update("a", {"event": "trials planned", "total": 10})
    assert progress.total == 110


def test_a_run_that_ended_early_takes_its_other_trials_off_the_total():
    progress = Progress({"a": 100, "b": 50}, io.StringIO())
    finish(progress, "a", done=3)
    progress.end("a")
    assert (progress.done, progress.total) == (3, 53)


def test_trials_that_are_heard_of_out_of_order_are_counted_once():
    progress = Progress({"a": 3}, io.StringIO())
    for done, most in ((2, 2), (1, 2), (3, 3)):
        finish(progress, "a", done=done)
        assert progress.done == most


def test_trials_of_an_earlier_sitting_are_done_from_the_start(clock):
    stream = io.StringIO()
    progress = Progress({"a": 20, "b": 10}, stream)
    progress.update("a", {"event": "trials planned", "total": 20, "done": 15})
    assert (progress.done, progress.total) == (15, 30)
    progress.show()
    assert stream.getvalue() == ""
    clock.now += 20
    finish(progress, "a", done=17)
    progress.show()
    # Two in twenty seconds, and not seventeen.
    assert stream.getvalue() == "17 of 30 trials after 00:20, about 02:10 left\n"


def test_a_bar_starts_where_an_earlier_sitting_ended():
    stream = Terminal()
    progress = Progress({"a": 20}, stream)
    progress.update("a", {"event": "trials planned", "total": 20, "done": 15})
    bar = progress._show._bar
    bar.start_t -= 10
    finish(progress, "a", done=16)
    progress.show()
    assert "16/20" in stream.getvalue()
    assert bar.n - bar.initial == 1
    progress.close()


def test_an_event_it_does_not_know_changes_nothing():
    progress = Progress({"a": 3}, io.StringIO())
    progress.update("a", {"event": "heartbeat"})
    assert (progress.done, progress.total) == (0, 3)


def test_where_there_is_no_terminal_a_line_is_printed_for_every_tenth(clock):
    stream = io.StringIO()
    progress = Progress({"a": 100}, stream)
    for _ in range(100):
        clock.now += 0.5
        finish(progress, "a")
        progress.show()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "10 of 100 trials after 00:05, about 00:45 left"
    assert lines[-1] == "100 of 100 trials after 00:50, about 00:00 left"


def test_the_first_few_trials_do_not_tell_how_long_the_others_take(clock):
    stream = io.StringIO()
    progress = Progress({"long": 5, "short": 95}, stream)
    for _ in range(5):
        clock.now += 60
        finish(progress, "long")
        progress.show()
    assert stream.getvalue().splitlines()[-1] == "5 of 100 trials after 05:00"


def test_what_kernels_take_to_start_is_not_in_the_time_left(clock):
    stream = io.StringIO()
    progress = Progress({"a": 10}, stream)
    clock.now += 60
    progress.update("a", {"event": "trials planned", "total": 10})
    clock.now += 5
    finish(progress, "a")
    progress.show()
    assert stream.getvalue() == "1 of 10 trials after 01:05, about 00:45 left\n"


def test_a_bar_leaves_it_out_as_well(monkeypatch):
    stream = Terminal()
    progress = Progress({"a": 10}, stream)
    bar = progress._show._bar
    bar.start_t = bar.last_print_t = time.time() - 65
    monkeypatch.setattr(module.time, "time", lambda: bar.start_t + 60)
    progress.update("a", {"event": "trials planned", "total": 10})
    finish(progress, "a")
    progress.show()
    assert re.search(r"01:05<00:4[45]", stream.getvalue())
    progress.close()


def test_where_trials_are_slow_a_line_is_printed_after_ten_seconds(clock):
    stream = io.StringIO()
    progress = Progress({"a": 1000}, stream)
    clock.now += 9
    finish(progress, "a")
    progress.show()
    assert stream.getvalue() == ""
    clock.now += 1
    progress.show()
    progress.show()
    assert stream.getvalue().count("\n") == 1
    clock.now += 60
    progress.show()
    assert stream.getvalue().count("\n") == 1, "there was no news"


def test_on_a_terminal_a_bar_shows_trials_time_left_and_the_trial(clock):
    stream = Terminal()
    progress = Progress({"a": 4}, stream)
    finish(progress, "a", label="lamb lr=0.01 seed=3")
    progress.show()
    shown = stream.getvalue().rsplit("\r", 1)[-1]
    assert "1/4" in shown and "25%" in shown and "<" in shown
    assert "lamb lr=0.01 seed=3" in shown
    progress.close()


def test_a_terminal_without_a_width_shows_the_bar_all_the_same():
    code = """
import sys
from lamb_keras.batch.progress import Progress
progress = Progress({"a": 4})
progress.update("a", {"event": "trial finished"})
progress.show()
"""
    ours, theirs = pty.openpty()  # 0 by 0, as a container's
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    os.close(theirs)
    shown = b""
    # Linux ends the reading of a closed terminal by an error, others by nothing read.
    with contextlib.suppress(OSError):
        while read := os.read(ours, 10_000):
            shown += read
    os.close(ours)
    assert b"1/4" in shown


def test_a_bar_moves_its_clock_though_nothing_finishes(clock):
    stream = Terminal()
    progress = Progress({"a": 4}, stream)
    progress.show()
    before = stream.tell()
    progress.show()
    assert stream.tell() == before
    clock.now += 1.5
    progress.show()
    assert stream.tell() > before
    progress.close()


def test_a_sentence_stands_on_a_line_of_its_own_above_the_bar():
    stream = Terminal()
    progress = Progress({"a": 4}, stream)
    progress.say("table07/lenet_mnist failed: no reason")
    progress.close()
    assert "\rtable07/lenet_mnist failed: no reason\n" in stream.getvalue()
