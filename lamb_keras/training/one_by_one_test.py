"""Streamed data are trained on by the calls that serve arrays, and survive a stop."""

import dataclasses
import functools
import json
import os

import numpy as np
import pytest
from PIL import Image

from lamb_keras import data, models, training
from lamb_keras.batch.plan import Project, plan
from lamb_keras.data import imagenet
from lamb_keras.experiments import ParameterError
from lamb_keras.experiments.image import ImageExperiment
from lamb_keras.models.layers import CHANNELS_LAST
from lamb_keras.training import one_by_one
from lamb_keras.training.history import History
from lamb_keras.training.streamed import Preempted
from lamb_keras.training.streamed_test import Terminating

CLASSES, EACH, TESTS = 3, 12, 9
FRACTION = 0.25  # 9 of 36
EXPERIMENT = ImageExperiment(
    notebook="resnet50_imagenet",
    table=11,
    scale="paper",
    dataset="imagenet",
    solvers=["adam"],
    learning_rates=[0.001, 0.01],
    batch_size=8,
    epochs=2,
    augmentations=["crop", "flip"],
    seeds=[0],
    validation_fraction=FRACTION,
)
STEPS = 9  # 2 epochs of 36 images, 8 a step
model = functools.partial(models.resnet50, width=4, blocks=(1,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """JPEGs whose hue tells the class, in ImageNet's folders."""
    root, random = tmp_path_factory.mktemp("data"), np.random.RandomState(0)
    for part, count in (("train", CLASSES * EACH), ("val", TESTS)):
        for i in range(count):
            place = root / "imagenet" / part / f"n{i % CLASSES:08}"
            place.mkdir(parents=True, exist_ok=True)
            pixels = random.randint(0, 150, (64, 72, 3))
            pixels[..., i % CLASSES] += 100
            Image.fromarray(pixels.astype("uint8")).save(place / f"{i}.JPEG")
    return root


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, folder, tmp_path):
    monkeypatch.setenv("LAMB_KERAS_DATA", str(folder))
    monkeypatch.setenv("LAMB_KERAS_CHECKPOINTS", str(tmp_path / "kept"))
    monkeypatch.setattr(imagenet, "SIZE", 16)


@pytest.fixture
def images():
    return data.open("imagenet", FRACTION)


@pytest.fixture
def trained(monkeypatch):
    """The trials that are streamed, which is not really done."""
    trials = []

    def stream(experiment, trial, model, batches, *, checkpoint_folder, **options):
        os.makedirs(checkpoint_folder)
        trials.append(trial)
        steps = experiment.steps(trial, options["training_images"])
        history = History(trial, ["a", "b"], steps, [0.1 + 0.2, float("nan")])
        history.trust_ratios = [np.array([[1 / 3, 1], [2, 3], [4, 5]], "float32")]
        return history

    monkeypatch.setattr(one_by_one, "stream", stream)
    return trials


def told(sweep):
    """All but how long it took."""
    return [
        {k: v for k, v in trial.items() if k not in ("seconds", "compilations")}
        for trial in sweep.trials
    ]


@pytest.mark.slow
def test_interrupted_and_started_again_a_sweep_is_as_if_never_stopped(
    images, tmp_path, monkeypatch
):
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv("LAMB_KERAS_EVENTS", str(events))
    whole = training.sweep(EXPERIMENT, images, model)
    assert not list((tmp_path / "kept").iterdir())
    assert [h.trial for h in whole.histories] == EXPERIMENT.trials()
    for trial in whole.trials:
        assert trial["outcome"] == "finished" and trial["steps"] == STEPS
        assert 0 <= trial["validation_accuracy"] <= 1 and trial["compilations"] > 0
        assert trial["test_accuracy"] * TESTS == round(trial["test_accuracy"] * TESTS)
    assert whole.late_compilations == 0 and whole.compile_seconds > 0
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    lines = [(each["event"], each.get("done"), each["total"]) for each in lines]
    expected = [("trials planned", 0, 2), ("trial finished", 1, 2)]
    assert [each for each in lines if each[0] != "steps done"] == [
        *expected,
        ("trial finished", 2, 2),
    ]

    begun = []

    def ended_in_the_second(split, **options):
        batches = images.batches(split, **options)
        if split != "train":
            return batches
        begun.append(split)
        return Terminating(batches, 5) if len(begun) == 2 else batches

    with pytest.raises(Preempted, match="has kept its step 5 of 9"):
        stopped = dataclasses.replace(images, batches=ended_in_the_second)
        training.sweep(EXPERIMENT, stopped, model)
    begun.clear()

    def counted(split, **options):
        begun.append(split)
        return images.batches(split, **options)

    again = training.sweep(
        EXPERIMENT, dataclasses.replace(images, batches=counted), model
    )
    assert begun.count("train") == begun.count("test") == 1  # of the second trial
    assert told(again) == told(whole)
    for one, other in zip(again.histories, whole.histories, strict=True):
        np.testing.assert_array_equal(one.trust_ratios, other.trust_ratios)
        assert one.train_loss == other.train_loss
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.parametrize(
    "table, batch_size, steps", [(11, 16384, 7038), (5, 32768, 3519)]
)
@pytest.mark.parametrize("fraction", [0.01, 0.1])
def test_the_papers_tables_have_the_papers_steps_whatever_is_held_out(
    table, batch_size, steps, fraction, monkeypatch, trained
):
    sizes = imagenet.Stored(1000, range(1_281_167), range(50_000), "")
    monkeypatch.setattr(imagenet, "find", lambda: sizes)
    settings = [f"validation_fraction={fraction}"]
    [run] = plan(Project.find(), "paper", "outputs", [str(table)], settings)
    experiment = ImageExperiment.of({**run.parameters, "dtype_policy": "float32"})
    images = data.open(experiment.dataset, experiment.validation_fraction)
    assert images.sizes["validation"] == round(fraction * 1_281_167)
    rows = training.sweep(experiment, images, model).steps
    found = {row["batch_size"]: row["steps"] for row in rows}
    assert found[batch_size] == steps


def test_what_came_of_a_finished_trial_is_kept_until_all_are(images, tmp_path, trained):
    fresh = one_by_one.histories(EXPERIMENT, images, lambda seed: None)
    first = next(fresh)
    [kept] = (tmp_path / "kept").iterdir()
    assert kept.name.startswith("resnet50_imagenet-table11-")
    next(fresh)
    assert sorted(file.name for file in kept.iterdir()) == [
        "trial000.json",
        "trial001.json",
    ]
    again = list(one_by_one.histories(EXPERIMENT, images, lambda seed: None))
    assert trained == EXPERIMENT.trials()
    np.testing.assert_equal(dataclasses.asdict(again[0]), dataclasses.asdict(first))
    assert again[0].trust_ratios[0].dtype == "float32"
    assert isinstance(again[0].steps, training.Steps)
    assert not kept.exists()


@pytest.mark.parametrize("change", ["experiment", "data"])
def test_what_is_kept_of_another_experiment_or_other_data_is_let_alone(
    change, images, trained
):
    next(one_by_one.histories(EXPERIMENT, images, lambda seed: None))
    experiment = EXPERIMENT
    if change == "experiment":
        experiment = dataclasses.replace(EXPERIMENT, label_smoothing=0.1)
    else:
        images = dataclasses.replace(images, fingerprint="of others")
    next(one_by_one.histories(experiment, images, lambda seed: None))
    assert trained == [EXPERIMENT.trials()[0]] * 2


def test_without_a_folder_of_their_own_checkpoints_lie_in_the_cache(
    images, tmp_path, trained, monkeypatch
):
    monkeypatch.delenv("LAMB_KERAS_CHECKPOINTS")
    monkeypatch.setenv("LAMB_KERAS_CACHE", str(tmp_path / "cache"))
    next(one_by_one.histories(EXPERIMENT, images, lambda seed: None))
    assert len(list((tmp_path / "cache" / "checkpoints").iterdir())) == 1


def test_the_model_is_made_channels_last_and_in_the_trials_seed(images, trained):
    made = []

    def make(image_shape, classes, seed, form):
        made.append((image_shape, classes, seed, form))

    training.sweep(dataclasses.replace(EXPERIMENT, seeds=[4]), images, make)
    assert made == [((16, 16, 3), CLASSES, 4, CHANNELS_LAST)] * 2


@pytest.mark.parametrize(
    "changed, said",
    [
        (
            {"augmentations": ["crop"]},
            "augmentations is ['crop'], expected ['crop', 'flip'], with which imagenet "
            "is read.",
        ),
        (
            {"batch_size": 64},
            "batch_size 64 / batch_divisor 1 is 64 images a step, but imagenet has 36 "
            "to train on: raise batch_divisor.",
        ),
        (
            {"solvers": ["adamw"], "weight_decay": 0.5, "published_steps": 90},
            "weight_decay 0.5 per step, times published_steps 90 over our 9 steps, is "
            "5 of the weights, expected less than 1: train longer (a smaller "
            "epochs_divisor or a larger batch_divisor).",
        ),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_anything_is_trained(
    changed, said, images, trained
):
    experiment = dataclasses.replace(EXPERIMENT, **changed)
    with pytest.raises(ParameterError) as caught:
        one_by_one.histories(experiment, images, lambda seed: None)
    assert str(caught.value) == said and not trained
