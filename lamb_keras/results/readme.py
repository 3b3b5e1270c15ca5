"""The claims on the README's first screen, made of committed trials and nothing else.

Scales that fit everyone's machine have their verdicts there. The figure is of the last
of them: the one whose data are of the paper's kind, where that has been run.
"""

import re
from pathlib import Path

import pandas as pd

from lamb_keras.results import claims, html, sections
from lamb_keras.results.archive import ReportError
from lamb_keras.store import atomic, scraps

SCALES = ("laptop", "evening")
BLOCK = re.compile(
    r"(?<=<!-- claims: start -->\n).*?(?=<!-- claims: end -->)", re.DOTALL
)
FIGURE = "claims.png"


def update(path: Path, outputs: Path) -> bool:
    """Puts the claims between their marks in a README; whether anything changed.

    The figure, which the text tells in words, is drawn again when the text changes.
    """
    from lamb_keras.results.figures import batches

    text = path.read_text(encoding="utf-8")
    if not BLOCK.search(text):
        raise ReportError(
            f"{path.name} has no lines <!-- claims: start --> and "
            "<!-- claims: end --> to put the claims between; add them."
        )
    found = trials(outputs)
    changed = BLOCK.sub(lambda _: block(found), text)
    renew = changed != text
    for scale, of_scale in [*found.items()][-1:]:
        drawn, figure = batches.points(of_scale), outputs / scale / FIGURE
        if drawn and (renew or not figure.exists()):
            atomic.write_bytes(figure, scraps.png(batches.over_batches(drawn)))
            renew = True
    if renew:
        atomic.write(path, changed)
    return renew


def block(found: dict[str, pd.DataFrame]) -> str:
    """The text between the marks, of the trials of each scale."""
    from lamb_keras.results.figures import batches

    if not found:
        return "No claim has been tested yet.\n"
    scales = []
    for name, of_scale in found.items():
        verdicts = sections.by_claim(claims.verdicts(of_scale), name)
        about = {"name": name, "data": of_scale.dataset.dropna().unique()}
        about |= {"verdicts": verdicts, "counts": sections.counts(verdicts)}
        scales.append(about)
    drawn = batches.points(of_scale)
    return html.render(
        "readme.md",
        scales=scales,
        claims=claims.claims(),
        figure=drawn and f"outputs/{name}/{FIGURE}",
        alt=batches.in_words(drawn),
    )


def trials(outputs: Path) -> dict[str, pd.DataFrame]:
    """The committed trials of each scale that the README shows."""
    files = {scale: outputs / scale / "trials.csv" for scale in SCALES}
    return {name: pd.read_csv(file) for name, file in files.items() if file.exists()}
