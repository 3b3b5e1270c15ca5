"""A folder of pictures is listed class by class, without a look into a picture."""

import os

import pytest

from lamb_keras.data.image_folder import listing
from lamb_keras.data.images import DataError


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not a picture")


def listed(folder, *classes):
    return [
        (os.path.relpath(path, folder), label)
        for path, label in listing(folder, *classes)
    ]


def refusal(folder, *classes):
    with pytest.raises(DataError) as caught:
        listing(folder, *classes)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_classes_and_pictures_come_sorted_by_name(tmp_path):
    fill(tmp_path, "n02/b.png", "n02/a.JPEG", "n01/z.jpeg", "n10/y.Jpg")
    assert listed(tmp_path) == [
        ("n01/z.jpeg", 0),
        ("n02/a.JPEG", 1),
        ("n02/b.png", 1),
        ("n10/y.Jpg", 2),
    ]


def test_a_given_order_of_the_classes_gives_the_labels(tmp_path):
    fill(tmp_path, "ant/1.png", "bee/1.png")
    assert listed(tmp_path, ["bee", "ant"]) == [("bee/1.png", 0), ("ant/1.png", 1)]


def test_what_is_no_picture_is_passed_over(tmp_path):
    fill(
        tmp_path,
        *("ant/1.png", "ant/notes.txt", "ant/._1.png", "ant/Thumbs.db"),
        *("README", ".hidden/1.png"),
    )
    assert listed(tmp_path) == [("ant/1.png", 0)]


def test_a_missing_or_an_empty_class_is_named(tmp_path):
    fill(tmp_path, "ant/1.png", "bee/1.txt")
    for classes in (["ant", "bee"], ["ant", "bee", "cow"], ["ant", "cow", "bee"]):
        missing = classes[1]
        assert refusal(tmp_path, classes) == (
            f"{tmp_path} holds no picture (.jpg, .jpeg, .png) in the folder of the "
            f"class '{missing}'; fill it from an intact copy"
        )
    assert "of the class 'bee'" in refusal(tmp_path)


def test_a_folder_of_no_known_class_is_named(tmp_path):
    fill(tmp_path, "ant/1.png", "zebra/1.png")
    assert refusal(tmp_path, ["ant"]) == (
        f"{tmp_path} holds the folder 'zebra', expected one for each of the classes "
        "ant; take it away"
    )
    assert "c9 and 20 more;" in refusal(tmp_path, [f"c{n}" for n in range(30)])


def test_a_folder_without_classes_and_no_folder_at_all_are_named(tmp_path):
    assert refusal(tmp_path).startswith(f"{tmp_path} holds no folder, expected one for")
    assert refusal(tmp_path / "nowhere").startswith(
        f"{tmp_path}/nowhere cannot be listed (No such file or directory)"
    )
