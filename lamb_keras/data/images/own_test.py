import numpy as np
import pytest

from lamb_keras import data
from lamb_keras.data import DataError

MINE = """
import numpy as np

def _part(count, shape=(4, 4), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape), "uint8")
    return pixels, np.arange(count) % 3

def gray():
    '''Three kinds of noise.

    More of it.
    '''
    return _part(30), _part(9, seed=1)

def color():
    (images, labels), test = _part(30, (4, 4, 3)), _part(9, (4, 4, 3), 1)
    return (images, labels[:, None]), test

def floats():
    (images, labels), test = gray()
    return (images / 255, labels), test

def unlabeled():
    (images, labels), test = gray()
    return (images, labels[:-1]), test

def alone():
    return _part(30)

def unknown():
    (images, labels), test = gray()
    return (images, labels), (test[0], test[1] + 1)

def larger():
    return _part(30), _part(9, (5, 5))

def fails():
    return open("there is none")
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)


def test_gray_images_are_as_any_others():
    images = data.open("mine.py:gray", 0.2)
    assert images.describe()["name"] == "mine.py:gray"
    assert images.title == "Three kinds of noise: 30 + 9 of 4x4"
    assert (images.image_shape, images.classes) == ((4, 4, 1), 3)
    assert images.sizes == {"train": 24, "validation": 6, "test": 9}
    assert 0.99 < images.train_images.max() <= 1


def test_color_images_stay_pixels_and_labels_may_have_an_axis():
    images = data.load("mine.py:color")
    assert images.train_images.dtype == np.uint8
    assert images.train_labels.tolist()[:4] == [0, 1, 2, 0]


def test_the_fingerprint_is_of_the_content(tmp_path):
    before = data.fingerprint("mine.py:gray")
    (tmp_path / "mine.py").write_text(MINE.replace("seed=0", "seed=5"))
    assert data.fingerprint("mine.py:gray") != before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("floats", "returns images of float64 and shape (30, 4, 4), expected uint8"),
        ("unlabeled", "returns labels of int64 and shape (29,) for 30 images"),
        ("alone", "returns something else, expected (images, labels), (test_images"),
        ("larger", "images of shape (4, 4) to train on and (5, 5) to test on"),
        ("fails", "called as fails(): FileNotFoundError"),
        ("unknown", "returns labels up to 3 to test on and to 2 to train on"),
        ("nothing", "mine.py has no function nothing"),
    ],
)
def test_what_is_no_images_is_one_sentence(name, sentence):
    with pytest.raises(DataError) as caught:
        data.check(f"mine.py:{name}")
    assert sentence in str(caught.value) and "\n" not in str(caught.value)
