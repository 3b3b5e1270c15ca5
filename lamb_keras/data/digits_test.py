"""The digits are scikit-learn's, unchanged but for the scale, with a fixed test set."""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from lamb_keras.data import DataError, digits, split


@pytest.fixture(scope="module")
def images():
    return digits.load()


def test_they_are_what_scikit_learn_loads(images):
    from sklearn.datasets import load_digits

    theirs = load_digits()
    every = np.concatenate([images.train_images, images.test_images])
    labels = np.concatenate([images.train_labels, images.test_labels])
    ours = np.column_stack([every.reshape(-1, 64) * 16, labels])
    expected = np.column_stack([theirs.data, theirs.target])

    def ordered(rows):
        return rows[np.lexsort(rows.T)]

    np.testing.assert_array_equal(ordered(ours), ordered(expected))


def test_they_stay_at_8x8_and_reach_from_0_to_1(images):
    assert images.train_images.shape == (1437, 8, 8, 1)
    assert images.test_images.shape == (360, 8, 8, 1)
    assert images.train_images.dtype == np.float32
    assert (images.train_images.min(), images.train_images.max()) == (0, 1)


def test_both_parts_hold_every_class_in_proportion(images):
    train, test = np.bincount(images.train_labels), np.bincount(images.test_labels)
    assert np.all(abs(test - 360 / 1797 * (train + test)) < 1)


def test_the_test_set_is_the_same_every_time(images):
    np.random.seed(7)
    again = digits.load()
    np.testing.assert_array_equal(again.test_images, images.test_images)
    assert again.fingerprint == images.fingerprint == digits.FINGERPRINT


def test_they_say_what_they_stand_in_for(images):
    assert images.stands_in_for == "MNIST"
    assert "8x8" in images.title and "scikit-learn" in images.title


def test_a_tenth_can_be_held_out(images):
    parts = split(images, 0.1)
    assert len(parts.validation_labels) == 144
    assert np.bincount(parts.validation_labels).min() >= 13


def test_a_damaged_file_is_refused_by_name(tmp_path, monkeypatch):
    intact = digits._path().read_bytes()
    rows = gzip.decompress(intact)
    changed = rows.replace(b",5,", b",6,", 1)
    assert changed != rows
    path = tmp_path / "digits.csv.gz"
    monkeypatch.setattr(digits, "_path", lambda: path)
    for content, fault in (
        (None, "No such file"),
        (intact[:-100], "cannot be read"),
        (intact[:5000] + b"\0\0" + intact[5002:], "cannot be read"),
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"one,two\n"), "cannot be read"),
        (gzip.compress(b"1,2\n3,4\n"), "holds a table of 2 x 2, expected 1797 x 65"),
        (gzip.compress(changed), "is not the file scikit-learn ships"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            digits.check()
        sentence = str(caught.value)
        assert str(path) in sentence and fault in sentence and "\n" not in sentence
        assert sentence.endswith("reinstall scikit-learn from the lock file")


def test_the_fingerprint_is_that_of_what_is_loaded():
    assert digits.fingerprint() == digits.load().fingerprint


def test_a_missing_scikit_learn_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="scikit-learn, which is not installed"):
        digits.load()


def test_loading_them_imports_none_of_the_heavy_packages():
    code = (
        "import sys; from lamb_keras import data; data.check('digits');"
        "data.split(data.load('digits'), 0.1);"
        "print({'jax', 'keras', 'sklearn', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
