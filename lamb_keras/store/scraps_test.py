"""What a notebook glues comes back equal, through a real notebook and a real file."""

import io
import math

import jax.numpy as jnp
import nbformat
import numpy as np
import pytest
import scrapbook
from matplotlib.figure import Figure
from PIL import Image

from lamb_keras.results.conftest import execute
from lamb_keras.store import scraps

GLUED_BY_THE_NOTEBOOK = """
import numpy as np
from lamb_keras.store import scraps
values = {
    "nan": float("nan"),
    "infinities": [float("inf"), float("-inf"), np.float32("nan")],
    "none": None,
    "true": np.bool_(True),
    "text that looks like JSON": "[1, 2]",
    "text that says nan": "nan",
    "empty text": "",
    "numpy scalars": [np.float32(0.5), np.int64(7), np.float64(0.1), np.str_("a")],
    "array": np.arange(4).reshape(2, 2),
    "keys": {1: "one", 0.5: "half", (1, 2): "pair", None: "none", True: "yes"},
    "keys like ours": {"$float": "nan"},
    "nested": [{"seeds": (0, 1), "loss": {"last": np.inf}}, (), [], {}],
}
for name, value in values.items():
    scraps.glue(name, value)
"""


@pytest.fixture(scope="module")
def returned(tmp_path_factory):
    path = tmp_path_factory.mktemp("scraps") / "glued.ipynb"
    draw = (
        "import matplotlib.pyplot as plt\n"
        "figure, axes = plt.subplots(figsize=(2, 1))\n"
        "scraps.glue_figure('figure', figure, alt='An empty pair of axes.')"
    )
    execute(path, GLUED_BY_THE_NOTEBOOK, draw)
    return path


def test_values_survive_an_executed_notebook(returned):
    values = scraps.read(returned)
    assert math.isnan(values["nan"])
    assert values["infinities"][:2] == [math.inf, -math.inf]
    assert math.isnan(values["infinities"][2])
    assert values["none"] is None
    assert values["true"] is True
    assert values["text that looks like JSON"] == "[1, 2]"
    assert values["text that says nan"] == "nan"
    assert values["empty text"] == ""
    assert values["numpy scalars"] == [0.5, 7, 0.1, "a"]
    assert [*map(type, values["numpy scalars"])] == [float, int, float, str]
    assert values["array"] == [[0, 1], [2, 3]]
    assert values["keys like ours"] == {"$float": "nan"}
    assert values["nested"][0] == {"seeds": (0, 1), "loss": {"last": math.inf}}
    assert values["nested"][1:] == [(), [], {}]
    # True == 1 in Python, so the last of the two wins there as it does here.
    assert values["keys"] == {1: "yes", 0.5: "half", (1, 2): "pair", None: "none"}
    assert "figure" not in values


def test_scrapbooks_own_reader_finds_the_same_scraps(returned):
    theirs = scrapbook.read_notebook(str(returned)).scraps.data_dict
    assert {name: scraps.decode(data) for name, data in theirs.items()}.keys() == (
        scraps.read(returned).keys()
    )
    assert theirs["numpy scalars"] == [0.5, 7, 0.1, "a"]  # plain JSON stays plain


def test_a_figure_comes_back_as_a_picture_with_its_width_and_description(returned):
    (name, picture), *others = scraps.pictures(returned).items()
    assert name == "figure" and not others
    assert picture.png.startswith(b"\x89PNG")
    assert picture.alt == "An empty pair of axes."
    # 2 inches, less or more the margins, at 96 pixels an inch on the page.
    assert 150 < picture.width < 250
    # It is shown once: its data and its metadata.
    assert returned.read_text().count("image/png") == 2


def test_a_failed_notebook_yields_no_results(tmp_path):
    path = tmp_path / "failed.ipynb"
    error = {"ename": "RuntimeError", "evalue": "out of patience", "traceback": []}
    outputs = [nbformat.v4.new_output("error", **error)]
    cells = [nbformat.v4.new_code_cell("wait()", outputs=outputs)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with pytest.raises(scraps.FailedNotebook, match="out of patience.*run it again"):
        scraps.read(path)


def test_what_no_scrap_can_hold_is_refused_with_its_place():
    with pytest.raises(TypeError, match=r"the value\['trials'\]\[1\] is of type set"):
        scraps.encode({"trials": [1, {1, 2}]})
    with pytest.raises(TypeError, match="of type date,"):
        scraps.encode(np.datetime64("2020-01-01"))


@pytest.mark.parametrize(
    "value",
    [0, -1.5, "", None, True, [], (), {}, 10**30, (1, [2, (3,)]), {"a": {2: (None,)}}]
    + [{"$tuple": [1]}, {"$dict": []}, [math.inf, -math.inf]],
)
def test_encoding_and_decoding_are_inverse(value):
    returned = scraps.decode(scraps.encode(value))
    assert returned == value and type(returned) is type(value)


def test_scalars_and_arrays_of_jax_become_plain_numbers():
    given = [jnp.float32(0.25), jnp.int32(3), jnp.bfloat16(1.5), jnp.array([0.5, 2])]
    returned = scraps.decode(scraps.encode(given))
    assert returned == [0.25, 3, 1.5, [0.5, 2.0]]
    assert [*map(type, returned)] == [float, int, float, list]


def saved(figure):
    return Image.open(io.BytesIO(scraps.png(figure)))


def test_a_drawing_gets_a_palette_and_keeps_its_look():
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([0, 1, 4, 9], color="#D55E00")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=scraps.PIXELS_PER_INCH, bbox_inches="tight")
    before = np.asarray(Image.open(buffer).convert("RGB"), int)
    picture = saved(figure)
    after = np.asarray(picture.convert("RGB"), int)
    assert picture.mode == "P" and after.shape == before.shape
    # 16 of 256 shades, and only of some pixels along the edges of lines.
    assert np.abs(after - before).max() <= 16


def test_photographs_keep_all_their_colors_and_what_is_transparent_stays_so():
    figure = Figure(figsize=(2, 2))
    figure.subplots().imshow(np.random.default_rng(0).random((400, 400, 3)))
    assert saved(figure).mode != "P"
    assert saved(Figure(figsize=(1, 1), facecolor="none")).mode == "RGBA"
