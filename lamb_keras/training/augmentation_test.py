"""Augmentation changes pictures as it says, by its key alone, wherever it runs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamb_keras.experiments.image import AUGMENTATIONS
from lamb_keras.training.augmentation import augment, crop, cutout, flip

KEY = jax.random.key(7)
SUBSETS = [
    names
    for count in range(len(AUGMENTATIONS) + 1)
    for names in itertools.combinations(AUGMENTATIONS, count)
]


def pictures(count=64, height=32, width=32, seed=0):
    """Pictures without a zero and without two equal pixels worth the name."""
    random = np.random.RandomState(seed)
    return random.uniform(1, 2, (count, height, width, 3)).astype(np.float32)


def windows(picture, margin):
    """Every window of the picture padded by reflection, with where it begins."""
    height, width, _ = picture.shape
    padded = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), "reflect")
    places = itertools.product(range(2 * margin + 1), repeat=2)
    return {(y, x): padded[y : y + height, x : x + width] for y, x in places}


@pytest.mark.parametrize("height, width, margin", [(32, 32, 4), (8, 8, 1)])
def test_every_crop_is_a_window_of_the_padded_picture(height, width, margin):
    before = pictures(40, height, width)
    after = np.asarray(crop(before, KEY))
    for old, new in zip(before, after, strict=True):
        equal = [np.array_equal(each, new) for each in windows(old, margin).values()]
        assert sum(equal) == 1


def test_every_window_is_cropped_about_as_often():
    count = 9 * 900
    row, column = np.mgrid[:8, :8]
    one = np.broadcast_to((10 * row + column)[..., None], (count, 8, 8, 1))
    after = np.asarray(crop(one.astype(np.float32), KEY))
    # A window of a picture that names its pixels is told by the one in the middle.
    _, counts = np.unique(after[:, 4, 4, 0], return_counts=True)
    assert len(counts) == 9
    assert np.all(abs(counts - 900) < 150)  # five standard deviations


def test_pictures_too_small_to_move_stay_where_they_are():
    before = pictures(8, 7, 7)
    np.testing.assert_array_equal(crop(before, KEY), before)


def test_a_flip_is_the_mirror_image_about_half_of_the_time():
    before = pictures(1000, 2, 4)
    after = np.asarray(flip(before, KEY))
    mirrored = (after == before[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (after == before).all(axis=(1, 2, 3))
    assert np.all(mirrored ^ same)
    assert abs(mirrored.sum() - 500) < 80  # five standard deviations


@pytest.mark.parametrize("side", [32, 8])
def test_cutout_zeroes_one_square_of_a_quarter_and_nothing_else(side):
    before = pictures(300, side, side)
    after = np.asarray(cutout(before, KEY))
    starts = set()
    for old, new in zip(before, after, strict=True):
        zero = (new == 0).all(axis=-1)
        rows, columns = np.flatnonzero(zero.any(1)), np.flatnonzero(zero.any(0))
        assert len(rows) == len(columns) == side // 4
        assert zero.sum() == (side // 4) ** 2
        assert np.ptp(rows) == np.ptp(columns) == side // 4 - 1
        np.testing.assert_array_equal(new[~zero], old[~zero])
        starts.add((rows[0], columns[0]))
    # It reaches every edge, and rows and columns are drawn apart.
    ends = np.array(sorted(starts))
    assert ends.min(axis=0).tolist() == [0, 0]
    assert ends.max(axis=0).tolist() == [side - side // 4] * 2
    assert len(starts) > side


@pytest.mark.parametrize("names", SUBSETS[1:], ids="+".join)
def test_the_same_key_gives_the_same_pictures_and_another_key_others(names):
    images = pictures()
    first = augment(images, KEY, names)
    np.testing.assert_array_equal(augment(images, KEY, names), first)
    assert not np.array_equal(augment(images, jax.random.key(8), names), first)


def test_each_picture_of_a_batch_is_changed_in_its_own_way():
    images = np.broadcast_to(pictures(1), (16, 32, 32, 3))
    for name in ("crop", "cutout"):
        changed = np.asarray(augment(images, KEY, [name]))
        assert len({picture.tobytes() for picture in changed}) > 10


def test_one_change_does_not_depend_on_which_others_are_asked_for():
    images = pictures()
    both = augment(images, KEY, ["crop", "cutout"])
    cropped = augment(images, KEY, ["crop"])
    holes = np.asarray(augment(images, KEY, ["cutout"])) == 0
    np.testing.assert_array_equal(both, np.where(holes, 0, cropped))


def test_the_order_of_the_names_does_not_matter_and_none_change_nothing():
    images = pictures()
    for names in itertools.permutations(AUGMENTATIONS):
        np.testing.assert_array_equal(
            augment(images, KEY, names), augment(images, KEY, AUGMENTATIONS)
        )
    np.testing.assert_array_equal(augment(images, KEY, []), images)


@pytest.mark.parametrize("names", SUBSETS[1:], ids="+".join)
def test_compiled_scanned_or_beside_others_every_row_is_that_of_a_call_alone(names):
    trials = jnp.stack([pictures(seed=seed) for seed in range(3)])
    keys = jax.random.split(KEY, 3)
    alone = [augment(*pair, names) for pair in zip(trials, keys, strict=True)]

    def change(images, key):
        return augment(images, key, names)

    _, scanned = jax.lax.scan(
        lambda _, pair: (None, change(*pair)), None, (trials, keys)
    )
    for together in (
        jax.vmap(change)(trials, keys),
        jax.jit(jax.vmap(change))(trials, keys),
        scanned,
        [jax.jit(change)(*pair) for pair in zip(trials, keys, strict=True)],
    ):
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shape_and_type_stay(dtype):
    images = jnp.asarray(pictures(4, 16, 24), dtype)
    changed = augment(images, KEY, AUGMENTATIONS)
    assert changed.shape == images.shape and changed.dtype == images.dtype
