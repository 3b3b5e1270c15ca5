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

from lamb_keras.data import crops, source
from lamb_keras.data.image_folder import listing
from lamb_keras.data.images import DataError, stratified
from lamb_keras.data.streamed import Streamed

SPLITS = ("train", "validation", "test")
SIZE = 224
# Of red, green and blue in the training set, as every recipe for ImageNet has them.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

# What the whole of it has.
_CLASSES, _TRAIN, _TEST = 1000, 1_281_167, 50_000

# Images that a worker hands over at once: fewer cost calls, more cost memory.
_CHUNK = 64


class Example(NamedTuple):
    """A picture as it is stored. Padding has no content and the label -1."""

    content: bytes
    label: int
    where: str


class Stored(NamedTuple):
    """The pictures that were found."""

    classes: int
    train: Any  # sequences of `Example`
    test: Any
    fingerprint: str


def check() -> None:
    """Raises `DataError` where there are no pictures, or not the same classes in both.

    Lists the folders, which takes seconds; opens no picture.
    """
    _find()


def fingerprint() -> str:
    """SHA-256 of the names of all files, or the name and version of TFDS's data set.

    Two copies with the same names are taken for the same: to read 150 GB is no check.
    """
    return _find().fingerprint


def streamed(validation_fraction: float) -> Streamed:
    """ImageNet, or what lies in its folders; the title tells which.

    Args:
        validation_fraction: of the training images, held out to choose by.
    """
    stored = _find()
    counted = sizes(validation_fraction)
    for name, count in counted.items():
        _refuse_nothing(count, name, stored, validation_fraction)
    whole = (stored.classes, len(stored.train), len(stored.test)) == (
        _CLASSES,
        _TRAIN,
        _TEST,
    )
    kind = "ImageNet" if whole else "ImageNet-format pictures that are not ImageNet's"
    return Streamed(
        name="imagenet",
        title=f"{kind}, {len(stored.train):,} + {len(stored.test):,} cut to "
        f"{SIZE}x{SIZE} pixels",
        stands_in_for=None if whole else "ImageNet",
        classes=stored.classes,
        fingerprint=stored.fingerprint,
        image_shape=(SIZE, SIZE, 3),
        sizes=counted,
        augmentations=("crop", "flip"),
        batches=functools.partial(
            batches, validation_fraction=validation_fraction, size=SIZE
        ),
        normalize=normalize,
    )


def sizes(validation_fraction: float) -> dict[str, int]:
    """How many images each split has, by its name.

    Args:
        validation_fraction: of the training images, held out to choose by.
    """
    stored = _find()
    held_out = _held_out_count(stored.train, validation_fraction)
    counts = len(stored.train) - held_out, held_out, len(stored.test)
    return dict(zip(SPLITS, counts, strict=True))


def normalize(batch):
    """Images as the net takes them: (batch - MEAN) / STD, in float32.

    For NumPy's arrays and JAX's, also while JAX traces.

    Example:
        >>> pixels = np.full((1, 1, 1, 3), 255, "uint8")
        >>> [round(float(x), 3) for x in normalize(pixels).ravel()]
        [2.249, 2.429, 2.64]
    """
    return (batch.astype("float32") - np.float32(MEAN)) / np.float32(STD)


def batches(
    split: str,
    *,
    batch_size: int,
    validation_fraction: float,
    seed: int = 0,
    epochs: float | None = None,
    size: int = SIZE,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    start_step: int = 0,
):
    """An iterator over (images, labels): uint8 (n, size, size, 3) and int32 (n,).

    Training images come as one stream of epochs, each shuffled in its own way, and a
    batch may span two. They are cropped at random and one in two is mirrored, by
    numbers that belong to the seed and the place in the stream: so the batches are the
    same however many workers make them, and however many processes share them. The
    other splits come once, in order, cut out of the middle; their last batch is filled
    up with blank images labeled -1.

    It has Grain's `get_state` and `set_state`: an iterator made in the same way, given
    the state of another, goes on as that one would have. `close` ends its workers.

    Args:
        split: "train"; "validation", the part of the training set that is held out;
            or "test", ImageNet's validation set.
        batch_size: images of a step, of all processes together.
        validation_fraction: of the training images, held out; 0 to train on all.
        seed: of the order, the crops and the mirroring. Not of what is held out.
        epochs: how long to train; the last batch is filled up from one more epoch.
            None: without end. Not of the other splits.
        size: of both sides of an image.
        process_index, process_count: which part of each batch is made here;
            `jax.process_index()` and `jax.process_count()`.
        workers: processes that decode in the background. They import the main module:
            a script needs `if __name__ == "__main__":`. 0: threads of this process.
        start_step: the first batch, counted from 0.

    Raises:
        lamb_keras.data.DataError: where there are no pictures or nothing in the split,
            at once; while iterating, for a picture that cannot be decoded.

    Example:
        >>> stream = batches(
        ...     "train", batch_size=32768, validation_fraction=0.01, epochs=90,
        ...     process_index=0, process_count=32, workers=16)  # doctest: +SKIP
        >>> images, labels = next(stream)  # doctest: +SKIP
        >>> images.shape, labels.shape  # doctest: +SKIP
        ((1024, 224, 224, 3), (1024,))
    """
    import grain  # seconds

    _refuse_impossible(split, batch_size, process_index, process_count)
    part = _part(_find(), split, validation_fraction)
    if split == "train":
        order_seed, crop_seed = _seeds(seed)
        stream = (
            grain.MapDataset.source(part)
            .shuffle(order_seed)
            .repeat()
            .random_map(functools.partial(_random_crop, size=size), seed=crop_seed)
        )
        steps = None if epochs is None else math.ceil(epochs * len(part) / batch_size)
    else:
        steps = math.ceil(len(part) / batch_size)
        padded = _Padded(part, steps * batch_size)
        stream = grain.MapDataset.source(padded).map(
            functools.partial(_middle_crop, size=size)
        )

    here = batch_size // process_count
    end = None if steps is None else steps * here
    stream = stream[process_index::process_count][start_step * here : end]
    chunk = max(n for n in range(1, _CHUNK + 1) if here % n == 0)
    # Grain's own defaults would hold hundreds of chunks in memory.
    reading = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)
    chunks = stream.batch(chunk).to_iter_dataset(reading)
    if workers:
        _allow_absl_flags()
        chunks = chunks.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(chunks.batch(here // chunk, batch_fn=_joined))


def _refuse_impossible(split, batch_size, process_index, process_count):
    if split not in SPLITS:
        raise DataError(
            f"ImageNet has no split {split!r}; expected one of {', '.join(SPLITS)}"
        )
    if batch_size < 1 or batch_size % process_count:
        raise DataError(
            f"a batch of {batch_size} images cannot be shared by {process_count} "
            "processes alike; choose a multiple of their number"
        )
    if not 0 <= process_index < process_count:
        raise DataError(
            f"process_index is {process_index}; expected 0 to {process_count - 1}, "
            "less than process_count"
        )


def _allow_absl_flags():
    """Lets Grain, which starts workers by them, read absl's flags outside its apps."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _part(stored, split, validation_fraction):
    if split == "test":
        part = stored.test
    else:
        held_out = _held_out(stored.train, validation_fraction)
        chosen = held_out if split == "validation" else ~held_out
        part = _Chosen(stored.train, np.flatnonzero(chosen))
    _refuse_nothing(len(part), split, stored, validation_fraction)
    return part


def _refuse_nothing(count, split, stored, validation_fraction):
    if not count:
        raise DataError(
            f"validation_fraction {validation_fraction} of {len(stored.train):,} "
            f"images leaves nothing in {split!r}; choose a fraction that leaves some"
        )


def _held_out(pictures, fraction):
    """A mask of the pictures that are not trained on, the same on every machine."""
    return stratified(pictures.labels, _held_out_count(pictures, fraction), seed=0)


def _held_out_count(pictures, fraction):
    if not 0 <= fraction < 1:
        raise DataError(
            f"validation_fraction is {fraction!r}; expected a number from 0 to less "
            "than 1, such as 0.01, the part of the training set to hold out"
        )
    return round(fraction * len(pictures))


def _seeds(seed):
    """Of the order and of the crops.

    Grain shuffles epoch e by seed + e. Were seeds taken as they are, the second epoch
    of seed 0 would have the order of the first of seed 1.
    """
    return map(int, np.random.SeedSequence(seed).generate_state(2))


def _random_crop(example, random, size):
    mirrored = random.random() < 0.5
    content, label, where = example
    pixels = crops.cut(
        content, where, functools.partial(crops.random_box, random=random), size
    )
    return pixels[:, ::-1] if mirrored else pixels, np.int32(label)


def _middle_crop(example, size):
    content, label, where = example
    if not content:
        return np.zeros((size, size, 3), np.uint8), np.int32(label)
    return crops.cut(content, where, crops.middle_box, size), np.int32(label)


def _joined(chunks):
    if len(chunks) == 1:
        return chunks[0]
    return tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True))


class _Chosen:
    """Some of the examples."""

    def __init__(self, examples, chosen):
        self._examples, self._chosen = examples, chosen

    def __len__(self):
        return len(self._chosen)

    def __getitem__(self, i):
        return self._examples[int(self._chosen[i])]


class _Padded:
    """The examples, and after them as much padding as makes `length` of them."""

    def __init__(self, examples, length):
        self._examples, self._length = examples, length

    def __len__(self):
        return self._length

    def __getitem__(self, i):
        if i < len(self._examples):
            return self._examples[i]
        return Example(b"", -1, "padding")


class _Folder:
    """The pictures in one folder a class.

    Kept as two arrays, 50 MB for ImageNet, because every worker gets a copy.
    """

    def __init__(self, folder, classes=None):
        found = listing(folder, classes)
        self._folder = os.path.join(folder, "")
        begin = len(self._folder)
        self.names = np.array([os.fsencode(path[begin:]) for path, _ in found])
        self.labels = np.array([label for _, label in found], np.int32)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        path = self._folder + os.fsdecode(self.names[i].item())
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}); replace it by an intact "
                "copy that you may read"
            ) from None
        return Example(content, int(self.labels[i]), path)

    @property
    def classes(self):
        _, first = np.unique(self.labels, return_index=True)
        return [os.fsdecode(os.path.dirname(name)) for name in self.names[first]]


class _Tfds:
    """A split of TensorFlow Datasets's `imagenet2012`, pictures left as they are.

    Labels are known only to those who read all of it. It is stored in a random order:
    so a random part holds nearly its share of every class.
    """

    def __init__(self, data_source, name):
        self._source, self._name = data_source, name

    def __len__(self):
        return len(self._source)

    def __getitem__(self, i):
        example = self._source[i]
        where = f"{self._name}, number {i},"
        return Example(bytes(example["image"]), int(example["label"]), where)

    @property
    def labels(self):
        return np.zeros(len(self), np.int32)


def _find() -> Stored:
    folder = source.folder("imagenet")
    if folder is not None:
        return _find_folder(folder)
    if importlib.util.find_spec("tensorflow_datasets"):
        return _find_tfds()
    raise DataError(
        f"there is no ImageNet on this machine; set {source.FOLDER_VARIABLE} to a "
        "folder that holds imagenet/train/<class>/*.JPEG and imagenet/val/<class>/"
        "*.JPEG, or prepare imagenet2012 with TensorFlow Datasets as array_record"
    )


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
        train, test = (
            _Tfds(builder.as_data_source(split, decoders=decoders), f"its {split} set")
            for split in ("train", "validation")
        )
        classes = builder.info.features["label"].num_classes
        return Stored(classes, train, test, builder.info.full_name)
    except Exception as error:  # a missing data set and a wrong format are of any kind
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise DataError(
        f"TensorFlow Datasets cannot open imagenet2012 ({reason}); prepare it as "
        f"array_record, or set {source.FOLDER_VARIABLE} to a folder that holds "
        "imagenet/train/<class>/*.JPEG and imagenet/val/<class>/*.JPEG"
    )
