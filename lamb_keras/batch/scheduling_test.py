from dataclasses import replace
from pathlib import Path

import pytest

from lamb_keras import experiments
from lamb_keras.batch import BatchError, scheduling
from lamb_keras.batch.plan import Project, plan
from lamb_keras.deadline import Deadline


@pytest.fixture(scope="module")
def runs():
    planned = plan(Project.find(), "laptop", Path("outputs"), ["7", "9-14"])
    return {run.table: run for run in planned}


def order(runs, slots, lasting=lambda run: 1):
    """The tables in the order in which they are started, so many at once."""
    waiting, active, ended, started, now = list(runs.values()), [], [], [], 0
    while waiting or active:
        while waiting and len(active) < slots:
            place = scheduling.next_run(waiting, [run for _, run in active], ended)
            run = waiting.pop(place)
            started.append(run.table)
            active.append((now + lasting(run), run))
        now, first = min(active, key=lambda pair: pair[0])
        active.remove((now, first))
        ended.append((first, lasting(first)))
    return started


def test_runs_that_compile_different_programs_come_first_and_side_by_side(runs):
    # Of Tables 9 and 10, 11 and 12, 13 and 14, which share a solver, only one.
    assert order(runs, 2) == [7, 9, 13, 12, 10, 14, 11]


def test_a_run_waits_for_its_programs_while_another_can_use_the_time(runs):
    # Table 9 takes so long that Table 10, of the same solver, is the last to start.
    slow = order(runs, 2, lasting=lambda run: 100 if run.table == 9 else 1)
    assert slow == [7, 9, 13, 12, 14, 11, 10]


def test_runs_of_one_solver_alone_go_in_their_order(runs):
    alike = {table: runs[table] for table in (13, 14)}
    assert order(alike, 2) == [13, 14]


def test_one_at_a_time_the_order_is_that_of_new_programs_first(runs):
    assert order(runs, 1) == [7, 9, 13, 12, 10, 14, 11]


def test_few_trials_that_last_come_before_many_that_do_not(runs):
    # A pre-training is more than a sweep of 20, as the first of them has told.
    many = runs[14]
    few = replace(many, notebook=Path("bert_squad.ipynb"), parameters={"seeds": [0]})
    ended = [(many, 20.0), (few, 100.0)]
    assert scheduling.next_run([many, few], [], ended) == 1
    assert scheduling.next_run([many, few], [], [(many, 20.0), (few, 10.0)]) == 0


def test_notebooks_without_solvers_go_in_their_order(runs):
    plain = [
        replace(runs[table], parameters={"learning_rates": [0.1]}) for table in (9, 10)
    ]
    assert scheduling.next_run(plain, [], []) == 0
    assert scheduling.next_run(plain[1:], plain[:1], []) == 0


def slices(runs, seconds, lasting, before=None):
    """The tables that are begun in each slice of so many seconds, one at a time."""
    waiting, ended, found, now = list(runs.values()), [], [], 0.0

    def clock():
        return now

    while waiting:
        begun, end = [], now + seconds
        deadline = Deadline(seconds, end, clock)
        while waiting:
            place = scheduling.next_run(waiting, [], ended, before, deadline)
            if place is None:
                break
            run = waiting.pop(place)
            begun.append(run.table)
            now += lasting(run)
            ended.append((run, lasting(run)))
        assert begun and now <= end, "a run was begun that could not end"
        found.append(begun)
        now = end
    return found


def test_in_slices_the_shortest_run_comes_first_and_none_that_would_not_end(runs):
    def lasting(run):
        return {7: 100.0, 9: 150.0, 14: 260.0}.get(run.table, 20.0 + run.table)

    before = {run.name: lasting(run) for run in runs.values()}
    # After 10 to 13 there are 374 - 126 seconds for 7, and then too few for 9.
    assert slices(runs, 374.0, lasting, before) == [[10, 11, 12, 13, 7], [9], [14]]


def test_a_run_of_unknown_length_is_begun_while_the_first_guess_fits(runs):
    def lasting(run):
        return 0.5 * experiments.count_trials(run.parameters)

    # Once Table 9 has told, its notebook's others are known, and shorter than a guess.
    found = slices(runs, 90.0, lasting)
    assert found[0][0] == 7 and found[1][0] == 9 and sum(map(len, found)) == len(runs)


def test_trials_that_are_kept_need_no_time(runs, tmp_path):
    run = replace(runs[7], folder=tmp_path, key={"sha256": "a" * 64})
    before, deadline = {run.name: 100.0}, Deadline(200, 60, clock=lambda: 0)
    assert scheduling.next_run([run], [], [], before, deadline) is None
    run.trials_folder.mkdir(parents=True)
    for number in range(50):
        (run.trials_folder / f"{number}.json").touch()
    assert run.kept == 50 and run.part_left < 0.6
    assert scheduling.next_run([run], [], [], before, deadline) == 0


@pytest.fixture
def devices(tmp_path, monkeypatch):
    """Makes a machine with such device files, with all of JAX's plugins."""
    monkeypatch.setattr(scheduling, "find_spec", lambda name: True)

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def test_a_tpu_host_has_one_run_and_each_gpu_one(devices):
    assert scheduling.leases({}, files=devices("vfio/vfio")) == []
    assert scheduling.leases({}, files=devices("vfio/0", "vfio/1")) == [None]
    assert scheduling.leases({"JAX_PLATFORMS": "cpu"}, files=devices()) == []
    gpus = devices("nvidia0", "nvidia1", "nvidia10", "nvidiactl")
    assert scheduling.leases({}, files=gpus) == ["0", "1", "10"]
    assert scheduling.leases({"JAX_PLATFORMS": "tpu"}, files=gpus) == [None]


def test_a_run_may_have_several_gpus(devices):
    eight = devices(*(f"nvidia{number}" for number in range(8)))
    assert scheduling.leases({}, 8, eight) == ["0,1,2,3,4,5,6,7"]
    assert scheduling.leases({}, 3, eight) == ["0,1,2", "3,4,5"]
    chosen = {"CUDA_VISIBLE_DEVICES": "6, 7"}
    assert scheduling.leases(chosen, 2, eight) == ["6,7"]
    with pytest.raises(BatchError, match="--gpus-a-run is 3, and this machine has 2"):
        scheduling.leases(chosen, 3, eight)
    with pytest.raises(BatchError, match="has 0 for JAX"):
        scheduling.leases({"JAX_PLATFORMS": "cpu"}, 2, eight)
