"""Images of a user's own, from a function that returns them as Keras's data sets are.

That is `(images, labels), (test_images, test_labels)`, in arrays of NumPy: images are
uint8 of shape (n, height, width) or (n, height, width, channels), labels 0, 1, 2, ...
"""

import numpy as np

from lamb_keras.data.images.dataset import Images
from lamb_keras.data.source import DataError, of_user

_EXPECTED = "expected (images, labels), (test_images, test_labels)"


def find(place: str) -> Images:
    """The images that the function at a place returns; its first line is their title.

    Raises:
        DataError: for what cannot be loaded, or is no such images.
    """
    title, found = of_user(place)
    try:
        parts = [tuple(map(np.asarray, (images, labels))) for images, labels in found]
        train, test = (_part(place, *part) for part in parts)
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{place} returns something else, {_EXPECTED}") from None
    if train[0].shape[1:] != test[0].shape[1:]:
        raise DataError(
            f"{place} returns images of shape {train[0].shape[1:]} to train on and "
            f"{test[0].shape[1:]} to test on, expected one shape"
        )
    classes = int(train[1].max()) + 1
    if test[1].max() >= classes:
        raise DataError(
            f"{place} returns labels up to {test[1].max()} to test on and to "
            f"{classes - 1} to train on, expected no class that is not trained on"
        )
    size = "x".join(map(str, train[0].shape[1:3]))
    return Images.from_pixels(
        train,
        test,
        name=place,  # for its function may be called mnist
        title=f"{title}: {len(train[1]):,} + {len(test[1]):,} of {size}",
        stands_in_for=None,
        classes=classes,
    )


def _part(place, images, labels):
    labels = labels.reshape(-1) if labels.ndim == 2 else labels
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not images.size:
        raise DataError(
            f"{place} returns images of {images.dtype} and shape {images.shape}, "
            "expected uint8 of (n, height, width) or (n, height, width, channels)"
        )
    whole = np.issubdtype(labels.dtype, np.integer)
    if labels.shape != images.shape[:1] or not whole or labels.min() < 0:
        raise DataError(
            f"{place} returns labels of {labels.dtype} and shape {labels.shape} for "
            f"{len(images):,} images, expected a whole number from 0 for each"
        )
    gray = images.ndim == 4 and images.shape[-1] == 1
    return images[..., 0] if gray else images, labels
