"""Images cannot be changed, color waits to be normalized, held-out parts are fair."""

import dataclasses

import numpy as np
import pytest

from lamb_keras.data import DataError, Images, split
from lamb_keras.data.images.dataset import fingerprint, mean_and_std, stratified


def images_of(labels, pixels=None, classes=10):
    """A data set in which every image is its own number, unless there are pixels."""
    labels = np.array(labels, np.uint8)
    if pixels is None:
        pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None]
    return Images.from_pixels(
        (pixels, labels),
        (pixels, labels),
        name="numbers",
        title="numbers",
        stands_in_for="MNIST",
        classes=classes,
    )


HUNDRED = images_of(np.arange(100) % 10)
NOISE = np.random.RandomState(0).randint(256, size=(20, 4, 4, 3)).astype(np.uint8)
COLOR = images_of(np.arange(20) % 2, NOISE, classes=2)


def numbers(images):
    return np.round(images.ravel() * 255).astype(int).tolist()


def test_gray_bytes_are_divided_exactly_and_ready_as_they_are():
    images = images_of(np.zeros(256), classes=1)
    assert images.train_images.shape == (256, 1, 1, 1)
    assert images.train_images.dtype == np.float32
    assert images.train_labels.dtype == images.test_labels.dtype == np.int32
    np.testing.assert_array_equal(
        images.test_images.ravel(), (np.arange(256) / 255).astype(np.float32)
    )
    assert images.normalize(images.train_images) is images.train_images


def test_trials_cannot_change_the_images_they_share():
    for holder in (HUNDRED, split(HUNDRED, 0.1)):
        for each in dataclasses.fields(holder):
            value = getattr(holder, each.name)
            if isinstance(value, np.ndarray):
                assert not value.flags.writeable


def test_the_fingerprint_sees_every_array_and_how_it_is_cut_but_not_its_layout():
    pixels, labels = np.zeros((4, 2, 2), np.uint8), np.zeros(4, np.uint8)
    prints = {
        fingerprint(pixels, labels),
        fingerprint(labels, pixels),
        fingerprint(pixels.reshape(2, 2, 4), labels),
        fingerprint(pixels.view(np.int8), labels),
        fingerprint(pixels, labels + 1),
        fingerprint(pixels[:2], labels),
    }
    assert len(prints) == 6
    assert fingerprint(np.asfortranarray(NOISE)) == fingerprint(NOISE)


# Held-out parts


def test_a_split_parts_the_training_set_without_loss_or_overlap():
    parts = split(HUNDRED, 0.2)
    train, held_out = numbers(parts.train_images), numbers(parts.validation_images)
    assert len(held_out) == 20
    assert sorted(train + held_out) == list(range(100))
    # Both ends of the training set give up some: an end holds 1 of 10 writers.
    assert min(held_out) < 30 and max(held_out) >= 70
    assert [n % 10 for n in train] == parts.train_labels.tolist()
    assert [n % 10 for n in held_out] == parts.validation_labels.tolist()


def test_a_split_leaves_the_test_set_and_the_description_alone():
    parts = split(HUNDRED, 0.2)
    assert parts.test_images is HUNDRED.test_images
    assert parts.describe() == {
        "name": "numbers",
        "title": "numbers",
        "stands_in_for": "MNIST",
        "classes": HUNDRED.classes,
        "fingerprint": HUNDRED.fingerprint,
        "duplicates": {"validation": 0, "test": 80},  # it has all 100 in both
        "train": 80,
        "validation": 20,
        "test": 100,
    }
    assert parts.training_set == HUNDRED.training_set == 100


@pytest.mark.parametrize("channels", [(), (3,)])
def test_images_that_are_also_trained_on_are_counted_in_each_other_part(channels):
    pixels = np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, *[1 for _ in channels])
    pixels = np.broadcast_to(pixels, (40, 1, 2, *channels)).copy()
    labels = np.arange(40, dtype=np.uint8) % 2
    train, test = pixels[:30], pixels[30:].copy()
    train[[3, 7]] = train[20]  # three of one: at least one is held out or trained on
    test[0], test[1] = train[5], train[20]
    test[2, 0, 1] += 100  # of two pixels, one is another
    of = {"name": "", "title": "", "stands_in_for": None, "classes": 2}
    images = Images.from_pixels((train, labels[:30]), (test, labels[30:]), **of)
    assert images.duplicates == {"validation": 0, "test": 2}
    parts = split(images, 0.5)
    trained = {each.tobytes() for each in parts.train_images}
    assert parts.describe()["duplicates"] == {
        "validation": sum(x.tobytes() in trained for x in parts.validation_images),
        "test": sum(x.tobytes() in trained for x in parts.test_images),
    }
    assert parts.duplicates["validation"] > 0


def test_every_class_has_its_share_in_the_held_out_part():
    parts = split(images_of([0] * 60 + [1] * 30 + [2] * 10, classes=3), 0.2)
    assert np.bincount(parts.validation_labels).tolist() == [12, 6, 2]


def test_a_split_is_the_same_every_time():
    np.random.seed(1)
    first = numbers(split(HUNDRED, 0.2).validation_images)
    np.random.seed(2)
    assert numbers(split(HUNDRED, 0.2).validation_images) == first


@pytest.mark.parametrize("count", [0, 1, 5, 11, 17])
def test_as_many_are_drawn_as_asked_for(count):
    labels = np.array([0] * 7 + [1] * 6 + [4] * 4)
    mask = stratified(labels, count)
    assert mask.sum() == count
    exact = count * np.array([7, 6, 4]) / 17
    assert np.all(abs(np.bincount(labels[mask], minlength=5)[[0, 1, 4]] - exact) < 1)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(DataError, match="expected a number between 0 and 1") as caught:
        split(HUNDRED, fraction)
    assert f"validation_fraction is {fraction!r};" in str(caught.value)


@pytest.mark.parametrize(
    "labels, fraction, words",
    [
        (np.arange(100) % 10, 0.001, "the validation set without an image of class 0"),
        (np.arange(100) % 10, 0.05, "the validation set without an image of class 5"),
        (np.arange(100) % 10, 0.99, "the training set without an image of class 0"),
        (np.arange(90) % 9, 0.1, "the validation set without an image of class 9"),
    ],
)
def test_a_fraction_that_leaves_a_class_empty_is_refused(labels, fraction, words):
    with pytest.raises(DataError, match=f"of {len(labels)} images leaves {words}"):
        split(images_of(labels), fraction)


# Color


def test_color_pictures_stay_as_they_were_stored():
    for part in (COLOR.train_images, split(COLOR, 0.5).validation_images):
        assert part.dtype == np.uint8
    np.testing.assert_array_equal(COLOR.test_images, NOISE)


def test_normalized_training_pictures_have_mean_zero_and_deviation_one():
    mean, std = mean_and_std(NOISE)
    np.testing.assert_allclose(mean, NOISE.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, NOISE.std((0, 1, 2)), rtol=1e-12)
    normalized = split(COLOR, 0.5).normalize(COLOR.train_images)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(normalized.std((0, 1, 2)), 1, rtol=1e-6)


def test_the_device_normalizes_as_numpy_does_to_the_last_bit():
    jax = pytest.importorskip("jax")
    expected = COLOR.normalize(NOISE)
    for normalized in (
        COLOR.normalize(jax.numpy.asarray(NOISE)),
        jax.jit(COLOR.normalize)(NOISE),
    ):
        assert isinstance(normalized, jax.Array) and normalized.dtype == np.float32
        np.testing.assert_array_equal(normalized, expected)
