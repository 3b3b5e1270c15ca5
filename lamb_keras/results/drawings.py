"""The figures that a report draws anew, of what the archive keeps of every run.

They are vector graphics whose words are text: sharp on any screen and on paper, found
by a search, and a third of a picture's size. Curves are kept by the notebooks and their
pages alone, so that figures of these are shown as the pages have them.
"""

import io
import re
from typing import NamedTuple

import matplotlib as mpl
import pandas as pd
from markupsafe import Markup

from lamb_keras.results import figures, paper, statistics
from lamb_keras.results.figures import batches
from lamb_keras.results.runs import Run

# What is drawn here of a table of the paper's, and not shown with its run again.
NAMES = {"sweep", "f1_by_batch", "weight_decay_forms", "accuracy_by_learning_rate"}


class Drawing(NamedTuple):
    """A figure as SVG, and what it shows in words."""

    svg: Markup
    alt: str


def of_run(run: Run) -> dict[str, Drawing]:
    """The figures of a run's trials, by the names that its notebook gives them.

    Tables of a project's own have none: what their trials are, their notebook knows.
    """
    table, trials, made = paper.tables().get(run.table), run.trials, {}
    if table is None or not trials or "validation_accuracy" not in trials[0]:
        return {}
    if table.experiment == "bert_squad":
        made["f1_by_batch"] = figures.f1_by_batch(trials, run.table)
    elif table.experiment == "resnet50_imagenet" and "classes" in run.dataset:
        made["sweep"] = figures.sweep(trials, run.table, run.dataset["classes"])
        if table.solver and len(statistics.by_form(trials)) > 1:
            made["weight_decay_forms"] = figures.forms(trials, run.table)
    else:
        about = {"metric": "validation_accuracy", "chosen": statistics.chosen(trials)}
        drawn = figures.accuracy_by_learning_rate(trials, **about)
        made["accuracy_by_learning_rate"] = drawn
    return {
        name: _drawing(figure, _in_words(figure), f"{run.name}/{name}")
        for name, figure in made.items()
    }


def over_batches(trials: pd.DataFrame) -> Drawing | None:
    """What LAMB and others reach over batches, if any trial tells."""
    if trials.empty or not (points := batches.points(trials)):
        return None
    drawn = figures.over_batches(points)
    return _drawing(drawn, batches.in_words(points), "over_batches")


def _in_words(figure):
    first, *others = figure.axes
    over = first.get_xlabel().partition("\n")[0]
    if not first.get_ylabel():  # solvers stand on it
        return f"{over[:1].upper()}{over[1:]} of each solver, ours and the paper's."
    titles = [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")]
    panels = ", ".join(filter(None, titles))
    what = first.get_ylabel()
    return f"{what[:1].upper()}{what[1:]} by {over}: {panels}."


def _drawing(figure, alt, name):
    """A Matplotlib figure as SVG; `name` tells its elements from other figures'."""
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("xlink:href", "href")
    for superfluous in (
        r"(?s)<metadata>.*?</metadata>",
        r"(?s)<style.*?</style>",  # which would hold for the whole page
        r' id="[\w.]*_\d+"',  # of groups; what is referred to has a hash
        r" font-family: [^;]*;",  # the page's own will do
        r"(?<=\.\d\d)\d+(?=[^<>]*>)",  # of places, less than a hundredth of a point
        r"(?<=>)\s+(?=<)",
        r"(?s)^<svg.*?(?=viewBox)",
    ):
        svg = re.sub(superfluous, "", svg)
    # On a narrow screen the figure is scrolled rather than made too small to read.
    width = f"min({96 * figure.get_figwidth():.0f}px, max(100%, 56rem))"
    head = '<svg role="img" aria-label="{}" style="width: {}" '
    return Drawing(Markup(head).format(alt, width) + Markup(svg.strip()), alt)
