"""ImageNet (ILSVRC 2012) as a stream of batches: it is too large to be held in memory.

The pictures are looked for in the folder `imagenet` inside the folder that the
environment variable LAMB_KERAS_DATA names, one folder a class:

    imagenet/train/n01440764/n01440764_10026.JPEG
    imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG

Where there is no such folder, and TensorFlow Datasets is installed and has prepared
`imagenet2012` in its array_record format, they are read from there.

ImageNet's test labels were never published. What papers call its validation set is the
"test" set here, and "validation" a part of the training set to choose by.
"""

import functools
import hashlib
import importlib.util
import math
import os
from typing import Any, NamedTuple

import numpy as np

from lamb_keras.data import source
from lamb_keras.data.images import pictures
from lamb_keras.data.images.dataset import Streamed, stratified
from lamb_keras.data.source import DataError

SIZE = 224
# Of red, green and blue in the training set, as every recipe for ImageNet has them.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

# What the whole of it has: classes, pictures to train on, pictures to test on.
_WHOLE = 1000, 1_281_167, 50_000

# Images that a worker hands over at once: fewer cost calls, more cost memory.
_CHUNK = 64

_FOLDERS = "imagenet/train/<class>/*.JPEG and imagenet/val/<class>/*.JPEG"


class Stored(NamedTuple):
    """The pictures that were found, none of them opened yet.

    `train` and `test` are sequences of an "image", its "label" and its "file_name".
    """

    classes: int
    train: Any
    test: Any
    # SHA-256 of all names, or TFDS's name and version: to read 150 GB is no check.
    fingerprint: str


def find() -> Stored:
    """The pictures in the folders, listed in seconds, or those of TFDS."""
    folder = source.folder("imagenet")
    if folder is not None:
        return _find_folder(folder)
    if importlib.util.find_spec("tensorflow_datasets"):
        return _find_tfds()
    raise DataError(
        f"there is no ImageNet on this machine; set {source.FOLDER_VARIABLE} to a "
        f"folder that holds {_FOLDERS}, or prepare imagenet2012 with TensorFlow "
        "Datasets as array_record"
    )


def streamed(validation_fraction: float) -> Streamed:
    """ImageNet, or what lies in its folders; the title tells which."""
    stored = find()
    places = _places(stored, validation_fraction)
    sizes = {split: len(some) for split, some in places.items()}
    if 0 in sizes.values():
        raise DataError(
            f"validation_fraction {validation_fraction} parts ImageNet's pictures into "
            f"{sizes}; choose a fraction that leaves some in each"
        )
    train, test = len(stored.train), len(stored.test)
    whole = (stored.classes, train, test) == _WHOLE
    kind = "ImageNet" if whole else "ImageNet-format pictures that are not ImageNet's"
    return Streamed(
        name="imagenet",
        title=f"{kind}, {train:,} + {test:,} cut to {SIZE}x{SIZE} pixels",
        stands_in_for=None if whole else "ImageNet",
        classes=stored.classes,
        fingerprint=stored.fingerprint,
        image_shape=(SIZE, SIZE, 3),
        sizes=sizes,
        augmentations=("crop", "flip"),
        batches=functools.partial(
            batches, validation_fraction=validation_fraction, size=SIZE
        ),
        normalize=normalize,
    )


def normalize(batch):
    """Images, NumPy's or JAX's, as the net takes them: (batch - MEAN) / STD."""
    return (batch.astype("float32") - np.float32(MEAN)) / np.float32(STD)


def batches(
    split: str,
    *,
    batch_size: int,
    validation_fraction: float,
    seed: int = 0,
    size: int = SIZE,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    start_step: int = 0,
):
    """An iterator over (images, labels): uint8 (n, size, size, 3) and int32 (n,).

    Training images come as one endless stream of epochs, each shuffled in its own way,
    and a batch may span two. They are cropped at random and one in two is mirrored, by
    numbers that belong to the seed and the place in the stream: so the batches are the
    same however many workers make them, and however many processes share them. The
    other splits come once, in order, cut out of the middle; their last batch is filled
    up with blank images labeled -1.

    The iterator is a `stream.Batches`: given the state of another, it goes on as that
    one would have. A picture that cannot be decoded raises `DataError` where it comes.

    Args:
        split: "train"; "validation", the part of the training set that is held out;
            or "test", ImageNet's validation set.
        batch_size: images of a step, of all processes together; a multiple of them.
        validation_fraction: of the training images, held out; 0 to train on all.
        seed: of the order, the crops and the mirroring. Not of what is held out.
        size: of both sides of an image.
        process_index, process_count: which part of each batch is made here.
        workers: processes that decode in the background. They import the main module:
            a script needs `if __name__ == "__main__":`. 0: threads of this process.
        start_step: the first batch, counted from 0.
    """
    import grain  # seconds
    from absl import flags  # by which Grain starts its workers

    from lamb_keras.data.images.stream import Batches

    stored = find()
    chosen = _places(stored, validation_fraction)[split]
    crop = {"stored": stored.test if split == "test" else stored.train, "size": size}
    if split == "train":
        # Grain shuffles epoch e by seed + e. Were seeds taken as they are, the second
        # epoch of seed 0 would have the order of the first of seed 1.
        order, crops = map(int, np.random.SeedSequence(seed).generate_state(2))
        stream = grain.MapDataset.source(chosen).shuffle(order).repeat()
        stream = stream.random_map(functools.partial(_random_crop, **crop), seed=crops)
        steps = 2**62 // batch_size  # Grain 0.2.18 batches nothing endless one by one
    else:
        steps = math.ceil(len(chosen) / batch_size)
        padding = np.full(steps * batch_size - len(chosen), -1)
        stream = grain.MapDataset.source(np.concatenate([chosen, padding]))
        stream = stream.map(functools.partial(_middle_crop, **crop))

    here = batch_size // process_count
    stream = stream[process_index::process_count]

    def joined(chunks):
        return tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True))

    def begin(step):
        chunk = max(n for n in range(1, _CHUNK + 1) if here % n == 0)
        # Grain's own defaults would hold hundreds of chunks in memory.
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
        some = stream[step * here : steps * here].batch(chunk).to_iter_dataset(options)
        if workers:
            if not flags.FLAGS.is_parsed():  # as outside of absl's apps
                flags.FLAGS.mark_as_parsed()
            some = some.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
        return iter(some.batch(here // chunk, batch_fn=joined))

    return Batches(begin, start_step)


def _places(stored, validation_fraction):
    """The places in `stored` of each split's pictures, the same on every machine."""
    count = round(validation_fraction * len(stored.train))
    # TFDS does not tell labels before it has read all, but stores them in a random
    # order: so a random part holds nearly its share of every class.
    alike = np.zeros(len(stored.train))
    held_out = stratified(getattr(stored.train, "labels", alike), count)
    return {
        "train": np.flatnonzero(~held_out),
        "validation": np.flatnonzero(held_out),
        "test": np.arange(len(stored.test)),
    }


def _random_crop(place, random, *, stored, size):
    mirrored = random.random() < 0.5
    choose = functools.partial(pictures.random_box, random=random)
    pixels, label = _cut(stored[int(place)], choose, size)
    return pixels[:, ::-1] if mirrored else pixels, label


def _middle_crop(place, *, stored, size):
    if place < 0:
        return np.zeros((size, size, 3), np.uint8), np.int32(-1)
    return _cut(stored[int(place)], pictures.middle_box, size)


def _cut(example, choose, size):
    where = os.fsdecode(example["file_name"])
    pixels = pictures.cut(bytes(example["image"]), where, choose, size)
    return pixels, np.int32(example["label"])


class _Folder:
    """The pictures in one folder a class, as TFDS gives its own.

    Kept as two arrays, 50 MB for ImageNet, because every worker gets a copy.
    """

    def __init__(self, folder, classes=None):
        found = pictures.labeled(source.files(folder), classes, folder)
        self._folder = folder
        self.names = np.array([os.fsencode(name) for name, _ in found])
        self.labels = np.array([label for _, label in found], np.int32)
        self.classes = list(dict.fromkeys(name.split("/")[0] for name, _ in found))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        path = os.path.join(self._folder, os.fsdecode(self.names[i].item()))
        return {"image": source.read(path), "label": self.labels[i], "file_name": path}


@functools.lru_cache(maxsize=1)  # every split asks, and a listing takes seconds
def _find_folder(folder):
    train = _Folder(os.path.join(folder, "train"))
    test = _Folder(os.path.join(folder, "val"), train.classes)
    digest = hashlib.sha256()
    for part in (train, test):
        digest.update(b"\n".join([*part.names.tolist(), b""]))
    return Stored(len(train.classes), train, test, digest.hexdigest())


def _find_tfds():
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder("imagenet2012")
        decoders = {"image": tfds.decode.SkipDecoding()}
        parts = [
            builder.as_data_source(split, decoders=decoders)
            for split in ("train", "validation")
        ]
        classes = builder.info.features["label"].num_classes
        return Stored(classes, *parts, builder.info.full_name)
    except Exception as error:  # a missing data set and a wrong format are of any kind
        why, *_ = str(error).splitlines() or [type(error).__name__]
        raise DataError(
            f"TensorFlow Datasets cannot open imagenet2012 ({why}); "
            f"prepare it as array_record, or set {source.FOLDER_VARIABLE} to a folder "
            f"that holds {_FOLDERS}"
        ) from None
