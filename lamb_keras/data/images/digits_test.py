"""The digits are scikit-learn's, unchanged but for the scale, with a fixed test set."""

import numpy as np

from lamb_keras import data

# Of scikit-learn 1.9.1's file, split as here.
FINGERPRINT = "1454c953bc8ca7af63af949418f1b6aa7933488f5ab591c565a404f55ff11957"


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
    assert images.fingerprint == data.fingerprint("digits") == FINGERPRINT
    assert images.stands_in_for == "MNIST"
