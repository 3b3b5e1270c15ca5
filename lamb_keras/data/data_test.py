"""A data set is had by its name, and a wrong name is answered with the right one."""

import subprocess
import sys

import pytest
from PIL import Image

from lamb_keras import cli, data


def test_every_name_leads_to_images_of_that_name():
    assert set(data.DATASETS) == {"digits", "mnist", "cifar10", "imagenet"}
    assert data.load("digits").name == "digits"
    assert data.check("digits") is None


@pytest.mark.parametrize("ask", [data.load, data.check, data.fingerprint])
def test_an_unknown_name_is_answered_with_all_there_are(ask):
    with pytest.raises(data.DataError) as caught:
        ask("svhn")
    assert str(caught.value) == (
        "there is no data set 'svhn'; there are: digits, mnist, cifar10, imagenet"
    )


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """Three classes of four pictures, and a test picture of each."""
    for part, count in (("train", 4), ("val", 1)):
        for label, name in enumerate(("ant", "bee", "cat")):
            place = tmp_path / "imagenet" / part / name
            place.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (70, 64), (0, 0, 80 * label)).save(place / f"{i}.JPEG")
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    monkeypatch.setattr(data.DATASETS["imagenet"], "SIZE", 16)


def test_either_kind_of_data_is_opened_and_described_alike(imagenet):
    held, streamed = data.open("digits", 0.25), data.open("imagenet", 0.25)
    assert isinstance(held, data.Images) and isinstance(streamed, data.Streamed)
    assert held.describe().keys() == streamed.describe().keys()
    assert streamed.describe() == {
        "name": "imagenet",
        "title": "ImageNet-format pictures that are not ImageNet's, 12 + 3 cut to "
        "16x16 pixels",
        "stands_in_for": "ImageNet",
        "classes": 3,
        "fingerprint": data.fingerprint("imagenet"),
        "duplicates": None,
        "train": 9,
        "validation": 3,
        "test": 3,
    }
    for images in (held, streamed):
        pictures, labels = images.examples(5)
        assert pictures.shape == (5, *images.image_shape) and labels.shape == (5,)
        assert images.normalize(pictures).dtype == "float32"
    pictures, labels = streamed.examples(20)  # of which there are nine
    assert (pictures[:, 8, 8, 2] // 70).tolist() == labels.tolist() and len(labels) == 9


def test_what_holds_out_nothing_is_refused(imagenet):
    with pytest.raises(data.DataError, match="0.01 parts ImageNet's .*'validation': 0"):
        data.open("imagenet", 0.01)


def test_what_is_too_large_is_not_loaded():
    with pytest.raises(data.DataError, match="imagenet is too large .* use data.open"):
        data.load("imagenet")


def test_to_plan_to_check_and_to_read_takes_no_slow_imports(imagenet):
    code = (
        "import sys; from lamb_keras import data, experiments; import lamb_keras.data."
        "squad, lamb_keras.results.runs; from lamb_keras.store import environment;"
        "data.split(data.load('digits'), 0.1); import lamb_keras.store.scraps;"
        "[(data.check(name), data.fingerprint(name)) for name in data.DATASETS];"
        "assert environment.describe()['device'] is None;"
        "slow = 'jax keras tensorflow grain sklearn PIL tokenizers scrapbook pandas';"
        "print({*slow.split(), 'papermill'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_a_batch_whose_data_are_missing_is_refused_in_a_sentence(
    options, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("LAMB_KERAS_DATA", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    output = tmp_path / "outputs"
    command = ["run", "--scale", "paper", "--tables", "11", "--output", str(output)]
    assert cli.main(command + options) == 2
    said = capsys.readouterr()
    assert said.out == "" and not output.exists()
    assert said.err.startswith("lamb-keras: there is no ImageNet on this machine; set ")
    assert said.err.count("\n") == 1
