"""The digits are scikit-learn's, unchanged but for the scale, with a fixed test set."""

import gzip

import numpy as np
import pytest

from lamb_keras import data
from lamb_keras.data.images import digits


def test_they_are_what_scikit_learn_loads():
    from sklearn.datasets import load_digits

    theirs, images = load_digits(), data.load("digits")
    assert images.train_images.shape == (1437, 8, 8, 1)
    assert images.test_images.shape == (360, 8, 8, 1)
    every = np.concatenate([images.train_images, images.test_images])
    labels = np.concatenate([images.train_labels, images.test_labels])
    ours = np.column_stack([every.reshape(-1, 64) * 16, labels])
    expected = np.column_stack([theirs.data, theirs.target])

    def ordered(rows):
        return rows[np.lexsort(rows.T)]

    np.testing.assert_array_equal(ordered(ours), ordered(expected))


def test_the_test_set_holds_every_class_in_proportion_and_is_the_same_every_time():
    np.random.seed(7)
    images = data.load("digits")
    train, test = np.bincount(images.train_labels), np.bincount(images.test_labels)
    assert np.all(abs(test - 360 / 1797 * (train + test)) < 1)
    assert images.fingerprint == data.fingerprint("digits") == digits.FINGERPRINT
    assert images.stands_in_for == "MNIST"


def test_a_damaged_file_is_refused_by_name(tmp_path, monkeypatch, refusal):
    intact = digits._path().read_bytes()
    rows = gzip.decompress(intact)
    path = tmp_path / "digits.csv.gz"
    monkeypatch.setattr(digits, "_path", lambda: path)
    for content in (
        None,
        intact[:5000] + b"\0\0" + intact[5002:],
        b"not gzip",
        gzip.compress(b"1,2\n3,4\n"),
        gzip.compress(rows.replace(b",5,", b",6,", 1)),
    ):
        if content is not None:
            path.write_bytes(content)
        assert refusal("digits") == (
            f"{path} is not the table of 1,797 digits that scikit-learn ships; "
            "reinstall scikit-learn from the lock file"
        )


def test_a_missing_scikit_learn_is_said(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(data.DataError, match="scikit-learn, which is not installed"):
        data.load("digits")
