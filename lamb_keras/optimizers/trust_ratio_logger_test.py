"""TrustRatioLogger records what the optimizer did, and says what it lacks."""

import keras
import numpy as np
import pytest

from lamb_keras import optimizers
from lamb_keras.optimizers.layerwise_test import fit, small_model


@pytest.fixture(scope="module")
def kit():
    return optimizers


def test_a_row_is_what_one_step_did_to_one_variable(kit):
    model = small_model(kit.Lamb(0.1, weight_decay=None, track_trust_ratios=True))
    before = {v.path: np.array(v.value) for v in model.trainable_variables}
    logger = kit.TrustRatioLogger()
    fit(model, batches=3, callbacks=[logger])

    paths = [v.path for v in model.trainable_variables]
    order = [(row["step"], row["variable"]) for row in logger.rows]
    assert order == [(step, path) for step in (1, 2, 3) for path in paths]
    for row in logger.rows:
        assert isinstance(row["trust_ratio"], float)
        if row["weight_norm"]:
            ratio = row["weight_norm"] / row["update_norm"]
            assert row["trust_ratio"] == pytest.approx(ratio, rel=1e-5)
        else:
            assert row["trust_ratio"] == 1
    for row in logger.rows[: len(paths)]:
        norm = np.linalg.norm(before[row["variable"]].ravel())
        assert row["weight_norm"] == pytest.approx(norm)


def test_it_records_every_so_many_batches_through_several_epochs(kit):
    model = small_model(kit.Lars(0.1, track_trust_ratios=True))
    logger = kit.TrustRatioLogger(every=3)
    fit(model, batches=4, epochs=2, callbacks=[logger])
    assert sorted({row["step"] for row in logger.rows}) == [3, 6]


@pytest.mark.parametrize(
    "at_once, steps",
    [
        (1, [4, 8, 12, 16]),
        (2, [4, 8, 12, 16]),
        (3, [6, 8, 14, 16]),
        (5, [5, 8, 13, 16]),
    ],
)
def test_steps_are_the_optimizers_however_many_batches_are_run_at_once(
    at_once, steps, kit
):
    model = small_model(
        kit.Lamb(0.1, track_trust_ratios=True), steps_per_execution=at_once
    )
    logger = kit.TrustRatioLogger(every=4)
    fit(model, batches=8, epochs=2, callbacks=[logger])
    assert int(model.optimizer.iterations) == 16
    assert sorted({row["step"] for row in logger.rows}) == steps


def test_steps_are_the_optimizers_under_accumulation_and_in_the_next_fit(kit):
    model = small_model(
        kit.Lamb(0.1, track_trust_ratios=True, gradient_accumulation_steps=4)
    )
    logger = kit.TrustRatioLogger()
    fit(model, batches=8, callbacks=[logger])
    assert sorted({row["step"] for row in logger.rows}) == [1, 2]
    assert np.isfinite([row["trust_ratio"] for row in logger.rows]).all()
    again = kit.TrustRatioLogger()
    fit(model, batches=4, callbacks=[again])
    assert {row["step"] for row in again.rows} == {3}


def test_it_sees_through_a_loss_scale_optimizer(kit):
    lamb = kit.Lamb(0.1, track_trust_ratios=True)
    model = small_model(keras.optimizers.LossScaleOptimizer(lamb))
    logger = kit.TrustRatioLogger()
    fit(model, batches=1, callbacks=[logger])
    assert all(np.isfinite(row["trust_ratio"]) for row in logger.rows)
    assert len(logger.rows) == 4


@pytest.mark.parametrize("optimizer", ["adam", optimizers.Lamb()])
def test_an_optimizer_that_tracks_nothing_is_refused_with_the_cure(optimizer):
    model = small_model(optimizer)
    with pytest.raises(ValueError, match=r"compile the model with Lamb\(track_trust_r"):
        fit(model, callbacks=[optimizers.TrustRatioLogger()])


@pytest.mark.parametrize("every", [0, -1, 1.5, "2"])
def test_a_wrong_interval_is_refused(every):
    with pytest.raises(ValueError, match="every is .*; expected a whole number of st"):
        optimizers.TrustRatioLogger(every)
