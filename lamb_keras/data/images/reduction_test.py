"""Pictures are shrunk by means over blocks; the part that is drawn is a fixed one."""

import dataclasses

import numpy as np
import pytest

from lamb_keras import data
from lamb_keras.data.images.dataset import mean_and_std
from lamb_keras.data.images.dataset_test import COLOR, HUNDRED, NOISE, images_of
from lamb_keras.data.images.reduction import reduced, shrunk

GRAY = images_of([0] * 60 + [1] * 30 + [2] * 10, classes=3)


def numbers(images):
    """Which of the images of `images_of` there are: each is its own number."""
    return np.round(images.train_images.ravel() * 255).astype(int).tolist()


def test_a_pixel_is_the_mean_of_those_in_whose_place_it_is():
    picture = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1) / 16
    expected = np.float32([[2.5, 4.5], [10.5, 12.5]]) / 16
    np.testing.assert_array_equal(shrunk(picture, 2)[0, :, :, 0], expected)
    np.testing.assert_array_equal(shrunk(picture, 4), picture)
    one = shrunk(picture, 1)
    assert one.shape == (1, 1, 1, 1) and one.item() == 7.5 / 16


def test_bytes_are_rounded_halves_upwards_and_channels_kept_apart():
    picture = np.zeros((1, 2, 2, 3), np.uint8)
    picture[0, :, :, 0] = [[255, 255], [255, 255]]  # would overflow a byte
    picture[0, :, :, 1] = [[1, 0], [0, 1]]
    picture[0, :, :, 2] = [[0, 0], [0, 1]]
    small = shrunk(picture, 1)
    assert small.dtype == np.uint8 and small.ravel().tolist() == [255, 1, 0]


def test_test_pictures_are_shrunk_too_and_normalized_as_the_training_ones():
    small = reduced(COLOR, image_size=2, training_images=10)
    assert small.image_shape == (2, 2, 3)
    np.testing.assert_array_equal(small.test_images, shrunk(NOISE, 2))
    assert small.test_labels is COLOR.test_labels
    assert (small.mean, small.std) == mean_and_std(small.train_images)
    assert small.std[0] < 0.7 * COLOR.std[0]  # means of four differ half as much


def test_equally_many_of_each_class_are_drawn_as_far_as_there_are():
    def counts(n):
        return np.bincount(reduced(GRAY, training_images=n).train_labels).tolist()

    assert counts(12) == [4, 4, 4]
    assert counts(30) == [10, 10, 10]
    assert counts(50) == [20, 20, 10]
    assert counts(90) == [50, 30, 10]
    assert sorted(counts(31)) == [10, 10, 11]


def test_the_part_is_the_same_each_time_and_a_part_of_a_larger_one():
    np.random.seed(1)
    few = reduced(HUNDRED, training_images=20)
    np.random.seed(2)
    again, more = (reduced(HUNDRED, training_images=n) for n in (20, 40))
    assert numbers(few) == numbers(again) == sorted(numbers(few))
    assert set(numbers(few)) < set(numbers(more))
    assert [number % 10 for number in numbers(few)] == few.train_labels.tolist()
    # Drawn, not cut off: the files' first images may be of few writers.
    assert min(numbers(few)) < 30 and max(numbers(few)) >= 70


def test_what_is_reduced_says_so_and_stands_in_for_the_original():
    original = dataclasses.replace(
        COLOR, title="CIFAR-10, 20 + 20 pictures of 4x4 pixels", stands_in_for=None
    )
    said = {
        (2, None): "shrunk to 2x2",
        (None, 10): "10 of those to train on",
        (2, 10): "shrunk to 2x2; 10 of those to train on",
        (1, 10): "shrunk to 1x1; 10 of those to train on",
    }
    prints = {original.fingerprint}
    for (size, count), words in said.items():
        small = reduced(original, size, count)
        assert small.title == f"{original.title} ({words})"
        assert small.stands_in_for == "CIFAR-10"
        assert small.describe()["train"] == (count or 20)
        prints.add(small.describe()["fingerprint"])
    assert len(prints) == 1 + len(said)
    assert reduced(HUNDRED, training_images=20).stands_in_for == "MNIST"


@pytest.mark.parametrize("size, count", [(None, None), (4, 20), (4, None), (None, 20)])
def test_what_asks_for_all_is_the_original(size, count):
    assert reduced(COLOR, size, count) is COLOR


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"image_size": 3}, "image_size is 3, expected a divisor of 8, the height and"),
        ({"image_size": 16}, "image_size is 16, expected a divisor of 8, the height"),
        ({"image_size": 0}, "image_size is 0, expected a divisor of 8, the height and"),
        (
            {"training_images": 2000},
            "training_images is 2,000, expected at most 1,437, which is what digits ",
        ),
        ({"training_images": 0}, "training_images is 0, expected at most 1,437, which"),
        (
            {"training_images": 50},
            "validation_fraction 0.1 of 50 images leaves the validation set without an",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_a_run_starts(options, sentence, refusal):
    fraction = {"validation_fraction": 0.1}
    said = refusal(
        "digits",
        lambda name: data.open(name, **fraction, **options),
        lambda name: data.check(name, fraction | options),
    )
    assert said.startswith(sentence)


def test_the_digits_are_reduced_before_a_part_is_held_out():
    images = data.open("digits", 0.2, image_size=4, training_images=500)
    assert images.image_shape == (4, 4, 1)
    assert images.sizes == {"train": 400, "validation": 100, "test": 360}
    assert images.training_set == 500
    assert np.bincount(images.validation_labels).tolist() == [10] * 10


def test_a_stream_is_not_reduced(refusal, monkeypatch):
    monkeypatch.setattr(data.DATASETS["imagenet"], "find", lambda: None)
    for name, value in {"image_size": 8, "training_images": 100}.items():
        said = refusal(
            "imagenet",
            lambda data_set, given={name: value}: data.open(data_set, 0.1, **given),
            lambda data_set, given={name: value}: data.check(data_set, given),
        )
        assert said == (
            f"{name} is {value}, expected none with imagenet, which is read as a "
            "stream; leave it out or choose another data set"
        )
