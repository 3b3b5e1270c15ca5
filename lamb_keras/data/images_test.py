"""Images cannot be changed, color waits to be normalized, held-out parts are fair."""

import dataclasses

import numpy as np
import pytest

from lamb_keras.data.images import (
    DataError,
    Images,
    fingerprint,
    mean_and_std,
    split,
    stratified,
)


def images_of(labels, classes=10):
    """A data set in which every image is its own number."""
    labels = np.array(labels, np.uint8)
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None]
    return Images.from_pixels(
        (pixels, labels),
        (pixels, labels),
        white=255,
        name="numbers",
        title="numbers",
        stands_in_for="MNIST",
        classes=classes,
    )


HUNDRED = images_of(np.arange(100) % 10)


def numbers(images):
    return np.round(images.ravel() * 255).astype(int).tolist()


def test_pixels_become_float32_from_0_to_1_with_a_channel():
    pixels = np.array([[[0, 4], [8, 16]]], np.uint8)
    pair = (pixels, np.array([3], np.uint8))
    images = Images.from_pixels(
        pair, pair, white=16, name="", title="", stands_in_for=None, classes=10
    )
    assert images.train_images.shape == (1, 2, 2, 1)
    assert images.train_images.dtype == np.float32
    assert images.train_labels.dtype == np.int32
    assert images.test_images.ravel().tolist() == [0, 0.25, 0.5, 1]


def test_every_byte_is_divided_exactly():
    scaled = images_of(np.zeros(256), classes=1).train_images.ravel()
    np.testing.assert_array_equal(scaled, (np.arange(256) / 255).astype(np.float32))


def test_trials_cannot_change_the_images_they_share():
    for holder in (HUNDRED, split(HUNDRED, 0.1)):
        for each in dataclasses.fields(holder):
            value = getattr(holder, each.name)
            if isinstance(value, np.ndarray):
                with pytest.raises(ValueError, match="read-only"):
                    value[0] = 0


def test_the_fingerprint_sees_every_array_and_how_it_is_cut():
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


def test_the_fingerprint_does_not_see_the_memory_layout():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert fingerprint(np.asfortranarray(pixels)) == fingerprint(pixels)


def test_a_split_parts_the_training_set_without_loss_or_overlap():
    parts = split(HUNDRED, 0.2)
    train, held_out = numbers(parts.train_images), numbers(parts.validation_images)
    assert len(held_out) == 20
    assert sorted(train + held_out) == list(range(100))


def test_images_and_labels_stay_together_in_a_split():
    parts = split(HUNDRED, 0.2)
    for images, labels in (
        (parts.train_images, parts.train_labels),
        (parts.validation_images, parts.validation_labels),
    ):
        assert [number % 10 for number in numbers(images)] == labels.tolist()


def test_a_split_leaves_the_test_set_and_the_description_alone():
    parts = split(HUNDRED, 0.2)
    assert parts.test_images is HUNDRED.test_images
    assert parts.test_labels is HUNDRED.test_labels
    assert parts.describe() == {
        "name": "numbers",
        "title": "numbers",
        "stands_in_for": "MNIST",
        "classes": HUNDRED.classes,
        "fingerprint": HUNDRED.fingerprint,
        "train": 80,
        "validation": 20,
        "test": 100,
    }


def test_every_class_has_its_share_in_the_held_out_part():
    parts = split(images_of([0] * 60 + [1] * 30 + [2] * 10, classes=3), 0.2)
    assert np.bincount(parts.validation_labels).tolist() == [12, 6, 2]


def test_a_split_depends_on_its_seed_and_on_nothing_else():
    np.random.seed(1)
    first = numbers(split(HUNDRED, 0.2).validation_images)
    np.random.seed(2)
    assert numbers(split(HUNDRED, 0.2).validation_images) == first
    assert numbers(split(HUNDRED, 0.2, seed=1).validation_images) != first


def test_the_held_out_part_is_drawn_rather_than_cut_from_an_end():
    # Both ends of the training set give up some: an end holds 1 of 10 writers.
    held_out = numbers(split(HUNDRED, 0.2).validation_images)
    assert min(held_out) < 30 and max(held_out) >= 70


@pytest.mark.parametrize("count", range(0, 18))
def test_as_many_are_drawn_as_asked_for(count):
    labels = np.array([0] * 7 + [1] * 6 + [4] * 4)
    mask = stratified(labels, count, seed=0)
    assert mask.sum() == count
    exact = count * np.array([7, 6, 4]) / 17
    assert np.all(abs(np.bincount(labels[mask], minlength=5)[[0, 1, 4]] - exact) < 1)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), "0.1", None, True])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(DataError, match="expected a number between 0 and 1") as caught:
        split(HUNDRED, fraction)
    assert f"validation_fraction is {fraction!r};" in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "0", None])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(DataError, match="the seed of the split is .* expected a whole"):
        split(HUNDRED, 0.1, seed=seed)


@pytest.mark.parametrize(
    "fraction, part", [(0.001, "validation"), (0.05, "validation"), (0.99, "training")]
)
def test_a_fraction_that_leaves_a_class_empty_is_refused(fraction, part):
    with pytest.raises(
        DataError, match=f"of 100 images leaves the {part} set without an image of cla"
    ):
        split(HUNDRED, fraction)


def test_a_class_without_any_image_is_refused():
    with pytest.raises(DataError, match=r"image of class 9 \(there are 0\)"):
        split(images_of(np.arange(90) % 9), 0.1)


def in_color(count=20, seed=0):
    random = np.random.RandomState(seed)
    pixels = random.randint(256, size=(count, 4, 4, 3)).astype(np.uint8)
    pair = pixels, (np.arange(count) % 2).astype(np.uint8)
    return Images.from_colors(
        pair,
        pair,
        name="colors",
        title="colors",
        stands_in_for=None,
        classes=2,
        fingerprint="0f",
    )


def test_color_pictures_stay_as_they_were_stored():
    images = in_color()
    assert images.train_images.dtype == images.test_images.dtype == np.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == np.int32
    assert split(images, 0.5).validation_images.dtype == np.uint8


def test_the_mean_and_deviation_are_those_of_each_channel():
    pixels = in_color(2500).train_images  # more than are counted at once
    mean, std = mean_and_std(pixels)
    np.testing.assert_allclose(mean, pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std((0, 1, 2)), rtol=1e-12)


def test_normalized_training_pictures_have_mean_zero_and_deviation_one():
    images = in_color()
    normalized = images.normalize(images.train_images)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(normalized.std((0, 1, 2)), 1, rtol=1e-6)


def test_a_split_normalizes_as_the_whole_does():
    images = in_color()
    parts = split(images, 0.5)
    np.testing.assert_array_equal(
        parts.normalize(images.test_images), images.normalize(images.test_images)
    )


def test_the_device_normalizes_as_numpy_does_to_the_last_bit():
    jax = pytest.importorskip("jax")
    images = in_color()
    batch = images.train_images
    expected = images.normalize(batch)
    on_device = images.normalize(jax.numpy.asarray(batch))
    compiled = jax.jit(images.normalize)(batch)
    for normalized in (on_device, compiled):
        assert isinstance(normalized, jax.Array) and normalized.dtype == np.float32
        np.testing.assert_array_equal(normalized, expected)


def test_gray_pictures_are_ready_as_they_are():
    assert HUNDRED.mean is None and HUNDRED.std is None
    assert HUNDRED.normalize(HUNDRED.train_images) is HUNDRED.train_images
