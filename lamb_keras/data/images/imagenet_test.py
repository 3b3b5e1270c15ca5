"""ImageNet's stream: each picture once an epoch, the same batches however made."""

import contextlib
import io
import itertools
import sys
import types

import numpy as np
import pytest
from PIL import Image

from lamb_keras.data import DataError, imagenet

CLASSES, EACH, TESTS = 4, 15, 11


def write(root, train, val):
    """Pictures named by class/number, made by a function of the number."""
    for part, pictures in (("train", train), ("val", val)):
        for name, picture in pictures.items():
            path = root / "imagenet" / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, "PNG")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of one gray each, which names them: train has 60, val has 11."""
    root = tmp_path_factory.mktemp("data")
    parts = [
        {
            f"n{i % CLASSES:08}/{i}.JPEG": Image.new("L", (48 + i, 32), 4 * i)
            for i in range(count)
        }
        for count in (CLASSES * EACH, TESTS)
    ]
    write(root, *parts)
    return root


@pytest.fixture(autouse=True)
def found(monkeypatch, folder):
    monkeypatch.setenv("LAMB_KERAS_DATA", str(folder))


def stream(split="train", **changed):
    given = {"batch_size": 8, "validation_fraction": 0.2, "size": 8, **changed}
    return contextlib.closing(imagenet.batches(split, **given))


def read(split="train", count=6, **changed):
    """All batches of a split; of training so many."""
    with stream(split, **changed) as batches:
        return list(itertools.islice(batches, count if split == "train" else None))


def names(batches):
    """Which pictures: by their grays, less the padding."""
    grays = [images[labels >= 0][:, 0, 0, 0] for images, labels in batches]
    return (np.concatenate(grays) // 4).tolist()


def assert_same(one, other):
    assert len(one) == len(other)
    for (images, labels), (images_too, labels_too) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, images_too)
        np.testing.assert_array_equal(labels, labels_too)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_batches_are_bytes_and_the_places_of_the_sorted_class_folders(split):
    batches = read(split)
    for images, labels in batches:
        assert images.shape == (8, 8, 8, 3) and images.dtype == np.uint8
        assert labels.shape == (8,) and labels.dtype == np.int32
    labels = np.concatenate([labels for _, labels in batches])
    assert [n % CLASSES for n in names(batches)] == labels[labels >= 0].tolist()


def test_every_epoch_shows_every_training_picture_once_in_an_order_of_its_own():
    shown = [names(read(count=18, seed=seed)) for seed in range(3)]
    epochs = [every[i : i + 48] for every in shown for i in range(0, 144, 48)]
    assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1
    assert len(set(epochs[0])) == 48
    # Nor is the second epoch of a seed the first of the next.
    assert len({tuple(epoch) for epoch in epochs}) == 9


def test_a_batch_may_span_two_epochs():
    shown = names(read(batch_size=20, count=4))
    assert len(set(shown[:48])) == 48 and len(set(shown[48:])) == 32


def test_held_out_pictures_are_never_trained_on_and_each_class_has_its_share():
    assert imagenet.streamed(0.2).sizes == {"train": 48, "validation": 12, "test": 11}
    held_out = names(read("validation"))
    assert len(held_out) == len(set(held_out)) == 12
    assert np.bincount([n % CLASSES for n in held_out]).tolist() == [3, 3, 3, 3]
    assert not set(held_out) & set(names(read()))
    assert names(read("validation", seed=5)) == held_out


def test_the_other_splits_come_once_in_order_and_are_padded_with_blank_images():
    batches = read("test", batch_size=4)
    assert batches[-1][1].tolist() == [2, 3, 3, -1]
    assert names(batches) == [0, 4, 8, 1, 5, 9, 10, 2, 6, 3, 7]
    images, labels = batches[-1]
    assert not images[labels < 0].any()


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_processes_together_make_the_batches_of_one(split):
    whole = read(split)
    parts = [read(split, process_index=i, process_count=2) for i in range(2)]
    for images, labels in whole:
        some = [part.pop(0) for part in parts]
        for i, (images_too, labels_too) in enumerate(some):
            np.testing.assert_array_equal(images[i::2], images_too)
            np.testing.assert_array_equal(labels[i::2], labels_too)
    assert parts == [[], []]


def test_an_iterator_given_the_state_of_another_goes_on_as_that_one():
    with stream() as batches:
        for _ in range(5):
            next(batches)
        state = batches.get_state()
        following = [next(batches) for _ in range(4)]
    with stream() as batches:
        next(batches)
        batches.set_state(state)
        assert_same(following, [next(batches) for _ in range(4)])


def test_orbax_keeps_the_place_as_of_a_grain_iterator(tmp_path):
    import grain

    with stream() as batches:
        whole = [next(batches) for _ in range(4)]
    with stream() as batches:
        for _ in range(2):
            next(batches)
        grain.checkpoint.CheckpointHandler().save(tmp_path, batches)
    with stream() as batches:
        grain.checkpoint.CheckpointHandler().restore(tmp_path, batches)
        assert_same(whole[2:], [next(batches) for _ in range(2)])


@pytest.mark.parametrize("batch_size, process_count", [(1, 1), (2, 2), (67, 1)])
def test_a_batch_or_a_share_of_one_image_goes_on_without_end(batch_size, process_count):
    # Also where one is the only number of images that makes up the batch in chunks.
    given = {"batch_size": batch_size, "process_count": process_count}
    endless = read(count=4, **given)
    assert len(endless) == 4 and len(endless[0][1]) == batch_size // process_count


@pytest.mark.slow  # processes have to start
def test_any_number_of_workers_makes_the_same_batches_and_goes_on_from_a_state(
    tmp_path, monkeypatch
):
    random = np.random.RandomState(0)
    parts = [
        {
            f"{i % 10}/{i}.JPEG": Image.fromarray(
                random.randint(0, 256, (32, 40, 3)).astype("uint8")
            )
            for i in range(count)
        }
        for count in (300, 10)
    ]
    write(tmp_path, *parts)
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    given = {"batch_size": 66, "validation_fraction": 0.1, "seed": 3, "size": 40}
    alone = read(count=9, **given)
    with stream(workers=2, **given) as batches:
        assert_same(alone[:5], [next(batches) for _ in range(5)])
        state = batches.get_state()
        assert_same(alone[5:7], [next(batches) for _ in range(2)])
    with stream(**given) as batches:  # as on a machine with other processors
        batches.set_state(state)
        assert_same(alone[5:], [next(batches) for _ in range(4)])


def test_crops_of_a_picture_differ_by_epoch_and_seed_and_half_are_mirrored(
    tmp_path, monkeypatch
):
    ramp = Image.fromarray(np.tile(np.arange(200, dtype="uint8"), (100, 1)))
    write(tmp_path, {"only/ramp.png": ramp}, {"only/ramp.png": ramp})
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    given = {"batch_size": 2, "validation_fraction": 0, "size": 8}
    one, other = (
        np.concatenate([images for images, _ in read(count=200, seed=seed, **given)])
        for seed in (0, 1)
    )
    assert len(np.unique(one, axis=0)) > 250
    assert np.mean((one == other).all(axis=(1, 2, 3))) < 0.05
    rises = one[:, 4, -1, 0].astype(int) > one[:, 4, 0, 0]
    assert abs(rises.mean() - 0.5) < 0.125  # five standard deviations


@pytest.mark.slow
def test_a_damaged_picture_is_named_also_where_a_worker_found_it(tmp_path, monkeypatch):
    gray = Image.new("L", (32, 32))
    write(tmp_path, {"n/1.png": gray}, {"n/1.png": gray, "n/2.png": gray})
    (tmp_path / "imagenet/val/n/2.png").write_text("no picture")
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    with (
        stream("test", batch_size=2, validation_fraction=0, workers=1) as batches,
        pytest.raises(DataError) as caught,
    ):
        next(batches)
    told = f"{tmp_path}/imagenet/val/n/2.png cannot be decoded as a JPEG or PNG"
    assert str(caught.value).startswith(told)


def test_the_fingerprint_tells_copies_with_other_files_apart(tmp_path, monkeypatch):
    first = imagenet.find().fingerprint
    assert len(first) == 64 and imagenet.find().fingerprint == first
    gray = {"only/1.jpg": Image.new("L", (8, 8))}
    write(tmp_path, gray, gray)
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    assert imagenet.find().fingerprint != first


class FakeBuilder:
    """What is used of a TFDS builder; the pictures are PNG files of one gray."""

    info = types.SimpleNamespace(
        features={"label": types.SimpleNamespace(num_classes=1000)},
        full_name="imagenet2012/5.1.0",
    )

    def as_data_source(self, split, decoders):
        assert list(decoders) == ["image"]
        pictures = []
        for i in range({"train": 40, "validation": 6}[split]):
            content = io.BytesIO()
            Image.new("L", (32, 48), 4 * i).save(content, "PNG")
            picture = {"image": content.getvalue(), "label": i % 3, "file_name": b"x"}
            pictures.append(picture)
        return pictures


@pytest.fixture
def tfds(monkeypatch):
    """TensorFlow Datasets's module, and no folder of pictures."""
    module = types.ModuleType("tensorflow_datasets")
    module.__spec__ = types.SimpleNamespace(name="tensorflow_datasets")
    module.decode = types.SimpleNamespace(SkipDecoding=object)
    module.builder = lambda name: FakeBuilder()
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    monkeypatch.delenv("LAMB_KERAS_DATA")
    return module


def test_without_a_folder_the_pictures_come_from_tensorflow_datasets(tfds):
    opened = imagenet.streamed(0.25)
    assert opened.fingerprint == "imagenet2012/5.1.0"
    assert opened.sizes == {"train": 30, "validation": 10, "test": 6}
    given = {"batch_size": 10, "validation_fraction": 0.25}
    shown = [*read(count=3, **given), *read("validation", **given)]
    assert sorted(names(shown)) == list(range(40))
    ((images, labels),) = read("test", batch_size=7)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, -1]


def test_what_tensorflow_datasets_cannot_open_is_told_in_one_sentence(
    tfds, monkeypatch
):
    def fail(name):
        raise FileNotFoundError("no dataset_info.json\nfound")

    monkeypatch.setattr(tfds, "builder", fail)
    with pytest.raises(DataError) as caught:
        imagenet.find()
    assert str(caught.value) == (
        "TensorFlow Datasets cannot open imagenet2012 (no dataset_info.json); prepare "
        "it as array_record, or set LAMB_KERAS_DATA to a folder that holds "
        "imagenet/train/<class>/*.JPEG and imagenet/val/<class>/*.JPEG"
    )


def test_without_anything_the_error_says_what_to_put_where(monkeypatch):
    monkeypatch.delenv("LAMB_KERAS_DATA")
    with pytest.raises(DataError) as caught:
        imagenet.find()
    assert str(caught.value) == (
        "there is no ImageNet on this machine; set LAMB_KERAS_DATA to a folder that "
        "holds imagenet/train/<class>/*.JPEG and imagenet/val/<class>/*.JPEG, or "
        "prepare imagenet2012 with TensorFlow Datasets as array_record"
    )


@pytest.mark.parametrize(
    "val, sentence",
    [
        ({"dog/1.jpg": Image.new("L", (8, 8))}, "val holds pictures in the folder 'do"),
        ({}, "imagenet/val cannot be read .No such file or directory.; put an intact"),
    ],
)
def test_folders_that_are_not_imagenets_are_refused(
    tmp_path, monkeypatch, val, sentence
):
    write(tmp_path, {"cat/1.jpg": Image.new("L", (8, 8))}, val)
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    with pytest.raises(DataError, match=sentence):
        imagenet.find()
