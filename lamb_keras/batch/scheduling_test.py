from dataclasses import replace
from pathlib import Path

import pytest

from lamb_keras.batch import scheduling
from lamb_keras.batch.plan import Project, plan


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
