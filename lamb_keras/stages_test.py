import pytest

from lamb_keras.results import paper
from lamb_keras.stages import batches, pretraining_steps, stage_steps


def of_table_4(batch, **more):
    return pretraining_steps(batch, 1 / 5, base_batch_size=32768, **more)


def test_the_stages_of_the_regular_run_are_the_papers():
    assert stage_steps(15625) == (14063, 1562)
    assert stage_steps(1_000_000) == (900_000, 100_000)
    steps = of_table_4(32768)
    assert (steps.first, steps.second, steps.total) == (14063, 1562, 15625)


def test_the_stages_of_the_mixed_batch_are_the_papers():
    steps = of_table_4("65536/32768")
    assert (steps.first, steps.second, steps.total) == (7037, 1562, 8599)
    rows = paper.tables()[1].labeled_rows()
    assert rows["LAMB, 65536/32768"]["steps"] == steps.total


def test_every_batch_of_table_1_takes_its_published_steps():
    rows = paper.tables()[1].labeled_rows().values()
    assert len(rows) == 9
    for row in rows:
        assert of_table_4(row["batch_size"]).total == row["steps"]


def test_the_warmup_has_3125_steps_at_every_batch():
    for row in paper.tables()[4].labeled_rows().values():
        steps = of_table_4(row["batch"])
        assert steps.warmup == 3125
        assert steps.warmup / steps.total == pytest.approx(row["warmup_ratio"])
        assert steps.second_warmup == 0


def test_the_mixed_batch_warms_up_anew_for_a_fifth_of_its_second_stage():
    steps = of_table_4("65536/32768")
    assert (steps.warmup, steps.second_warmup) == (3125, 312)


def test_without_a_base_the_warmup_is_a_fraction_at_every_batch():
    assert pretraining_steps(16384, 0.05).warmup == 1562
    assert pretraining_steps(512, 0.01).warmup == 10_000


def test_a_divisor_shortens_all_of_it_alike():
    lengths = [of_table_4(512 * 2**k, steps_divisor=195.3125) for k in range(7)]
    assert [steps.total for steps in lengths] == [5120 // 2**k for k in range(7)]
    assert {steps.warmup for steps in lengths} == {16}
    assert lengths[-1][:2] == (72, 8)
    mixed = of_table_4("65536/32768", steps_divisor=195.3125)
    assert mixed == (36, 8, 16, 2)


def test_however_short_a_step_after_the_warmup_remains():
    steps = pretraining_steps(16384, 0.9, steps_divisor=31250)
    assert (steps.total, steps.warmup) == (1, 0)
    steps = of_table_4("65536/32768", steps_divisor=1e6)
    assert steps == (1, 1, 0, 0)


@pytest.mark.parametrize(("total", "part"), [(100, 0.29), (30, 0.1), (10, 0.7)])
def test_a_whole_part_of_the_steps_loses_none_to_rounding(total, part):
    assert stage_steps(total, part)[1] == round(total * part)


def test_no_second_stage_takes_no_steps():
    assert stage_steps(15625, 0) == (15625, 0)


def test_a_plain_batch_is_that_of_both_stages():
    assert batches(512) == (512, 512)
    assert batches("65536/32768") == (65536, 32768)
