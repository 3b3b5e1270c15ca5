"""What Orbax saves of a training comes back to the last bit."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from lamb_keras.deadline import Deadline
from lamb_keras.training import checkpoints
from lamb_keras.training.checkpoints import Checkpoints
from lamb_keras.training.history import History
from lamb_keras.training.preemption import Notice
from lamb_keras.training.step import State
from lamb_keras.training.trainer import Progress

TRIAL = ("lamb", 0.1)
LOSSES = [(np.array([3], "int32"), np.array([1 / 3], "float32"))]


def progress(value):
    state = State([np.full(3, value, "float32")], [], [np.float32(value)])
    return Progress(state, np.int32(0))


@pytest.fixture
def folder(tmp_path):
    """With one checkpoint, after step 3."""
    with Checkpoints(tmp_path / "own", steps=3) as saved:
        assert [saved.due(step, False) for step in (1, 2, 3)] == [False, False, True]
        saved.save(3, progress(1 / 3), [History(TRIAL, ["a"], [{"x": 0.1}])], LOSSES)
    return tmp_path / "own"


def test_trials_come_back_as_they_were(folder):
    with Checkpoints(folder, steps=3) as saved:
        step, found, [history], losses = saved.restore(progress(0.0), [TRIAL])
    assert step == 3 and history.trial == TRIAL and history.evaluations == [{"x": 0.1}]
    assert history.seconds > 0
    expected = progress(1 / 3)
    np.testing.assert_array_equal(found.state.weights[0], expected.state.weights[0])
    np.testing.assert_array_equal(found.state.optimizer[0], expected.state.optimizer[0])
    assert [[*map(np.ndarray.tolist, pair)] for pair in losses] == [
        [*map(np.ndarray.tolist, pair)] for pair in LOSSES
    ]


def test_where_nothing_is_saved_nothing_is_found(tmp_path):
    with Checkpoints(tmp_path / "none") as saved:
        assert saved.restore(progress(0.0), [TRIAL]) is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_one_counts_as_none_unless_it_holds_hours(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    with Checkpoints(folder, steps=3) as saved, pytest.raises(Exception):  # noqa: B017
        saved.restore(progress(0.0), [TRIAL])
    with Checkpoints(folder) as saved, pytest.warns(match="A checkpoint is damaged"):
        assert saved.restore(progress(0.0), [TRIAL]) is None
    assert not folder.exists()


def test_short_trainings_are_not_saved_at_every_evaluation(tmp_path, monkeypatch):
    saved = Checkpoints(tmp_path / "own")
    assert not saved.due(1, True)
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0)
    assert saved.due(2, True) and not saved.due(3, False)


def test_one_is_saved_when_the_next_evaluation_would_come_too_late(
    tmp_path, monkeypatch
):
    moment = SimpleNamespace(now=0.0)
    clock = SimpleNamespace(perf_counter=lambda: moment.now)
    monkeypatch.setattr(checkpoints, "time", clock)
    deadline = Deadline(100, clock=clock.perf_counter)
    saved = Checkpoints(tmp_path / "own", notice=Notice(deadline))
    asked = []
    for moment.now in (4.0, 35.0, 66.0):
        saved.due(1, True)
        asked.append(saved.asked_to_end)
    # 34 seconds are left after the last, and the one before was 31 seconds ago.
    assert asked == [False, False, False]
    moment.now = 97.0
    assert saved.due(1, True) and saved.asked_to_end


def test_large_ones_are_saved_more_seldom(tmp_path, monkeypatch):
    moment = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        checkpoints, "time", SimpleNamespace(perf_counter=lambda: moment.now)
    )
    saved = Checkpoints(tmp_path / "own")
    moment.now = 11.0
    assert saved.due(1, True)

    def slow(*_, **__):
        moment.now += 2.0

    saved._opened = SimpleNamespace(save=slow)
    saved.save(1, progress(0.0), [History(TRIAL, ["a"])], [])
    moment.now += 39.0
    assert not saved.due(2, True)
    moment.now += 2.0
    assert saved.due(3, True)


def test_however_large_one_comes_every_ten_minutes(tmp_path, monkeypatch):
    moment = SimpleNamespace(now=0.0)
    clock = SimpleNamespace(perf_counter=lambda: moment.now)
    monkeypatch.setattr(checkpoints, "time", clock)
    saved = Checkpoints(tmp_path / "own")
    saved._took = 40.0
    for moment.now, due in ((599.0, False), (600.0, True)):
        assert saved.due(1, False) == saved.due(1, True) == due


def test_several_processes_seldom_wait_to_agree_that_none_is_due(tmp_path, monkeypatch):
    asked = []
    # As on the first of them, whose answer is everybody's.
    own = SimpleNamespace(told=lambda due: asked.append(call) or due)
    monkeypatch.setattr(checkpoints, "processes", own)
    monkeypatch.setattr(checkpoints.jax, "process_count", lambda: 2)
    notice = SimpleNamespace(reached=lambda _: False)
    saved = Checkpoints(tmp_path / "own", notice=notice)
    for call in range(1, 201):
        assert not saved.due(call, False)
    assert asked[:10] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12] and len(asked) < 40
    assert all(new - old <= 1 + old / 8 for old, new in itertools.pairwise(asked))
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0)
    assert saved.due(201, True)  # after an evaluation it is always asked
    notice.reached = lambda _: True
    assert saved.due(202, False)
