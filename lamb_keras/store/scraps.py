"""What a run leaves in its notebook for others to read, and how they read it.

The only module that touches Scrapbook, which carries JSON and nothing else. What JSON
has no word for is written as an object with one key that starts with "$":
`{"$float": "nan"}`, `{"$tuple": [...]}`, `{"$dict": [[key, value], ...]}` for keys
that are not text, `{"$none": true}` for a scrap that is None as a whole.
"""

import base64
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

from lamb_keras.store.quick import import_nbformat

PIXELS_PER_INCH = 192  # twice what figures are shown at, to be crisp on any screen
_MOST_COLORS = 2**14  # a picture of more is no drawing
# How Scrapbook 0.5 marks a scrap in a notebook, followed by the encoder's name.
_PAYLOAD = "application/scrapbook.scrap."


class FailedNotebook(ValueError):
    """The notebook did not run to its end: what it glued before is no result."""


class Picture(NamedTuple):
    """A figure read back from a run: PNG data, its width on a page, what it shows."""

    png: bytes
    width: int
    alt: str


def glue(name: str, value) -> None:
    """Records `value` under `name` in the notebook that is being executed.

    Numbers of any kind, NumPy and JAX arrays, text, None, and lists, tuples and dicts
    of these come back equal from `read`; an array comes back as nested lists.
    """
    scrapbook = _scrapbook()
    value = {"$none": True} if value is None else encode(value)
    scrapbook.glue(name, value, encoder="text" if isinstance(value, str) else "json")


def glue_figure(name: str, figure, alt: str = "") -> None:
    """Shows a Matplotlib figure in the notebook and records it under `name`.

    `alt` says in a sentence what the figure shows, for those who cannot see it.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image

    scrapbook = _scrapbook()
    image = Image(png(figure), format="png", retina=True, alt=alt or None)
    scrapbook.glue(name, image, encoder="display", display=True)
    plt.close(figure)  # or the notebook shows it a second time


def read(path: Path) -> dict:
    """The scraps of the executed notebook at `path`, by name, equal to what was glued.

    Raises `FailedNotebook` if a cell of it ended in an error: Scrapbook itself reads
    the scraps of failed notebooks without complaint.
    """
    return {
        payload["name"]: decode(payload["data"])
        for output in _outputs(path)
        for kind, payload in output.get("data", {}).items()
        if kind.startswith(_PAYLOAD)
    }


def pictures(path: Path) -> dict[str, Picture]:
    """The figures of the executed notebook at `path`, by name."""
    found = {}
    for output in _outputs(path):
        about = output.get("metadata", {})
        if about.get("scrapbook", {}).get("display"):
            shown = about["image/png"]
            found[about["scrapbook"]["name"]] = Picture(
                base64.b64decode("".join(output["data"]["image/png"])),
                shown["width"],
                shown.get("alt", ""),
            )
    return found


def encode(value, where: str = "the value"):
    """`value` in plain JSON, nothing lost.

    Example:
        >>> encode((1, float("inf"), None))
        {'$tuple': [1, {'$float': 'inf'}, None]}
    """
    for kind in (bool, int, str):  # of a subclass, such as np.str_, the plain value
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, list):
        return [encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": encode(list(value), where)}
    if isinstance(value, dict):
        encoded = {k: encode(item, f"{where}[{k!r}]") for k, item in value.items()}
        if all(type(key) is str and not key.startswith("$") for key in value):
            return encoded
        # JSON's keys are text: 1 would come back as "1", a user's own "$float" as nan.
        return {"$dict": [[encode(key, where), item] for key, item in encoded.items()]}
    if hasattr(value, "__array__"):
        # NumPy's and JAX's scalars and arrays alike, without importing either.
        return encode(value.__array__().tolist(), where)
    raise TypeError(
        f"{where} is of type {type(value).__name__}, which no scrap can hold; glue "
        "numbers, text, None, arrays, or lists, tuples and dicts of these."
    )


def decode(value):
    """The Python value that `encode` made `value` from."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        match next(iter(value.items())):
            case ("$float", text):
                return float(text)
            case ("$tuple", items):
                return tuple(decode(items))
            case ("$dict", pairs):
                return {decode(key): decode(item) for key, item in pairs}
            case ("$none", True):
                return None
    return {key: decode(item) for key, item in value.items()}


def png(figure) -> bytes:
    """A figure as PNG; with a palette, a third of the size, if it is a drawing.

    Photographs, and what lets the page shine through, keep all their colors.
    """
    from PIL import Image

    buffer, smaller = io.BytesIO(), io.BytesIO()
    # A layout engine has left nothing outside, and to look for it draws all twice.
    within = None if figure.get_layout_engine() else "tight"
    figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH, bbox_inches=within)
    picture = Image.open(buffer)
    opaque = picture.mode == "RGB" or picture.getextrema()[-1] == (255, 255)
    if not opaque or picture.getcolors(_MOST_COLORS) is None:
        return buffer.getvalue()
    palette = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    palette.save(smaller, "png", optimize=True)
    return smaller.getvalue()


def _scrapbook():
    import_nbformat()
    import scrapbook

    return scrapbook


def _outputs(path):
    """Every output of the notebook at `path`, if none of them is an error."""
    # Scrapbook's own reader is not used: importing it takes 3 s on a small machine,
    # for pandas, Papermill and JSON schemas that reading needs nothing of.
    notebook = json.loads(Path(path).read_bytes())
    outputs = [o for cell in notebook["cells"] for o in cell.get("outputs", [])]
    for output in outputs:
        if output["output_type"] == "error":
            raise FailedNotebook(
                f"{path} failed with {output['ename']}: {output['evalue']}; run it "
                "again before reading its results."
            )
    return outputs
