import functools
import re

import pytest

from lamb_keras.batch import plan
from lamb_keras.planning import estimates, machines, nets
from lamb_keras.planning.stages import FINE_TUNING, Stage, stages
from lamb_keras.results import paper

PROJECT = plan.Project.find()
V5E, V3, H100 = map(machines.find, ("v5e-256", "v3-2048", "h100-1"))


@functools.cache
def planned(table, *settings, scale="paper"):
    return plan.plan(PROJECT, scale, "outputs", [str(table)], settings)[0].parameters


def bert_large(length, examples, **replaced):
    net = nets.bert(30522, 24, 1024, 16, 512, length, 3 * length // 20, itemsize=2)
    stage = Stage(examples, f"{length} tokens", 1, 1000, examples, net, 2)
    return stage._replace(**replaced)


def test_a_run_has_the_trainings_of_its_table():
    *pretraining, tuning = stages(planned(4))
    assert [(s.batch, s.steps) for s in pretraining[::2]] == [
        (row["batch"], (whole := 512_000_000 // row["batch"]) - whole // 10)
        for row in paper.tables()[4].rows
    ]
    assert {stage.trials for stage in pretraining} == {1}
    # Seven and the net that was not trained, with five seeds each.
    assert (tuning.name, tuning.trials, tuning.steps) == (FINE_TUNING, 40, 8213)
    *pretraining, _ = stages(planned(1))
    assert [(s.batch, s.examples, s.steps) for s in pretraining[2:]] == [
        ("65536/32768", 65536, 7037),
        ("65536/32768", 32768, 1562),
    ]
    [sweep] = stages(planned(9))
    assert (sweep.trials, sweep.steps, sweep.moments) == (27, 7038, 1)
    # Settings, and the chosen one of each solver with each of two seeds more.
    [sweep] = stages(planned(6, "confirmation_seeds=[1,2]"))
    assert sweep.trials == 273 + 5 * 2


def test_a_training_has_the_flops_that_the_literature_tells():
    *pretraining, _ = stages(planned(1))
    mixed = sum(stage.flops for stage in pretraining[2:])
    # 6 FLOPs a weight and token, of all but the embeddings' weights, and attention's.
    tokens = 7037 * 65536 * 128 + 1562 * 32768 * 512
    assert mixed == pytest.approx(6 * 302e6 * tokens, rel=0.1)
    [lamb, *_] = stages(planned(5))
    # ResNet-50 takes 4.1e9 multiplications for a picture (He et al.: 3.8e9, without
    # the strides in its 3x3 convolutions).
    assert lamb.flops == pytest.approx(90 * 1_281_167 * 6 * 4.1e9, rel=0.02)


def test_what_is_not_the_papers_is_not_estimated():
    assert stages({"notebook": "mine", "table": 26}) == []
    assert stages(planned(7) | {"dataset": "mine.py:load"}) == []
    assert stages({"notebook": "lenet_mnist", "epochs": 3}) == []
    preset = stages(planned(4, "preset=bert_large_en_uncased"))
    assert [stage.name for stage in preset] == [FINE_TUNING]


def test_every_table_of_every_scale_is_estimated():
    for scale in PROJECT.scales():
        for run in plan.plan(PROJECT, scale, "outputs"):
            for stage in stages(run.parameters):
                found = estimates.estimate(stage, H100, 0.4)
                assert found.hours > 0 and found.chips == 1 and found.sent == 0


def test_a_step_on_a_pod_is_as_its_compiler_made_it():
    pattern = (
        r"\| (\S+) \| BERT-Large, 32,768 x (\d+) tokens, (\d+) at once \| (\S+) \| \S+"
        r" \| (\d+)% \| 2,(\d+) \|"
    )
    rows = re.findall(pattern, (PROJECT.root / "benchmarks/POD.md").read_text())
    assert len(rows) == 4
    for name, *numbers in rows:
        length, micro, mebibytes, percent, sent = map(float, numbers)
        machine = machines.find(name)
        found = estimates.estimate(bert_large(int(length), 32768), machine, 0.4)
        assert (found.micro_batch, found.fits) == (micro, True)
        memory = found.state + found.gradients + found.activations
        assert memory == pytest.approx(percent / 100 * machine.memory, rel=0.05)
        # Small arrays stay whole there.
        assert found.state == pytest.approx(mebibytes * 2**20, rel=0.12)
        assert found.sent == pytest.approx((2000 + sent) * 1e6, rel=0.01)


def test_the_micro_batch_is_the_largest_that_fits_and_that_divides_the_share():
    for machine in (V5E, V3, machines.find("v6e-8"), machines.find("h100-8")):
        for length in (128, 512):
            stage = bert_large(length, 3 * 2**14)
            found = estimates.estimate(stage, machine, 0.4)
            share = stage.examples // machine.devices
            assert found.fits and found.micro_batch * found.micro_batches == share
            larger = [
                n for n in range(found.micro_batch + 1, share + 1) if not share % n
            ]
            for micro in larger[:1]:
                more = stage._replace(micro_batch=micro * machine.devices)
                assert not estimates.estimate(more, machine, 0.4).fits
    # Not even one: a wide net on a small chip.
    wide = nets.bert(30522, 24, 8192, 128, 512, 512, 77, itemsize=2)
    found = estimates.estimate(bert_large(512, 256, net=wide), V5E, 0.4)
    assert (found.micro_batch, found.fits) == (1, False)


def test_devices_share_the_state_and_send_gradients_once_a_step():
    stage = bert_large(128, 32768)
    few, many = (
        estimates.estimate(stage, machines.find(name), 0.4)
        for name in ("v5e-8", "v5e-256")
    )
    weights = 4 * 336226108
    assert few.state == 32 * many.state == weights * 3 / 8
    # What a step needs of them, whoever shares it: weights in bfloat16, and gradients.
    assert few.gradients == many.gradients == weights * 4.5
    assert few.micro_batches > 1 and few.sent == many.sent == weights * 1.5
    assert few.hours > 20 * many.hours
    alone = estimates.estimate(stage, H100, 0.4)
    assert (alone.state, alone.gradients) == (weights * 3, weights * 1.5)


def test_a_net_whose_means_are_of_the_batch_sends_gradients_in_every_micro_batch():
    net = nets.davidnet(32, 3, 10, 64, itemsize=2)
    stage = Stage(4096, "images", 1, 1000, 4096, net, 2, 1024)
    found = estimates.estimate(stage, machines.find("v5e-8"), 0.4)
    assert found.sent == net.parameters * (4 * found.micro_batches + 2)
    assert found.micro_batches == 4


def test_between_hosts_gpus_send_slower():
    fast, slow = map(machines.find, ("h100-8", "h100-16"))
    assert (fast.interconnect, slow.interconnect) == (450e9, 50e9)


def test_devices_that_cannot_share_a_batch_have_no_estimate_but_fine_tune():
    assert estimates.estimate(bert_large(128, 512), V3, 0.4) is None
    *_, tuning = stages(planned(4))
    found = estimates.estimate(tuning, V5E, 0.4)
    # Of 256, eight compute the same window, of weights that were gathered.
    assert (found.chips, found.micro_batch) == (32, 1)
    assert found.sent == (2 + 4) * tuning.net.parameters


def test_the_time_model_is_within_eight_percent_of_every_row_of_table_1():
    rows = estimates.minutes()
    published = [row["time_minutes"] for row in paper.tables()[1].rows]
    assert [row[0] for row in rows] == published
    assert len(estimates.fit()) == 2
    for minutes, fitted, left_out in rows:
        assert fitted == pytest.approx(minutes, rel=0.08)
        assert left_out == pytest.approx(minutes, rel=0.09)
        assert abs(left_out - minutes) > abs(fitted - minutes)


def test_a_plan_on_the_papers_pod_has_the_time_models_minutes():
    *pretraining, _ = stages(planned(4))
    utilization, _ = estimates.fit()
    told = [estimates.estimate(stage, V3, utilization) for stage in pretraining[-2:]]
    # LAMB's row at 32,768, the last but the mixed batch.
    assert 60 * sum(each.hours for each in told) == pytest.approx(
        estimates.minutes()[-2][1]
    )


def test_a_net_of_no_width_is_not_estimated():
    small = {"notebook": "resnet50_imagenet", "table": 9, "scale": "laptop"}
    small |= {"dataset": "digits", "solvers": ["lamb"], "learning_rates": [0.1]}
    small |= {"batch_size": 16, "epochs": 1, "seeds": [0], "validation_fraction": 0.2}
    assert stages(small) == []
