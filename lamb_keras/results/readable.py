"""Numbers as tables for people who read a notebook: rounded, with no empty rows."""

from collections.abc import Iterable, Mapping

import pandas as pd

from lamb_keras.results import paper, wording


def settings(each: Mapping[str, Mapping]) -> pd.DataFrame:
    """A column for each of several settings by name, a row for what one of them sets.

    Example:
        >>> both = {"adam": {"beta_1": 0.9, "clipnorm": None}, "sgd": {"decay": 0}}
        >>> settings(both).to_dict()
        {'adam': {'beta_1': '0.9', 'decay': ''}, 'sgd': {'beta_1': '', 'decay': '0'}}
    """
    rows = {
        name: None
        for setting in each.values()
        for name, value in setting.items()
        if value not in (None, [], "") and value is not False and name != "name"
    }
    return pd.DataFrame(
        {
            column: [
                "" if setting.get(row) is None else wording.line(setting[row])
                for row in rows
            ]
            for column, setting in each.items()
        },
        index=list(rows),
    )


def cells(found: Iterable[Mapping]) -> pd.DataFrame:
    """Cells beside the published ones, a row each: ours is a mean over n, ± its spread.

    Those of a table of one's own have none published.

    Args:
        found: as `statistics.cells` and `pretraining.cells` return them.
    """
    published = {cell[:3]: cell.published for cell in paper.cells()}
    rows = []
    for cell in found:
        place = cell["table"], cell["row"], cell["column"]
        column = paper.table(cell["table"]).columns.get(cell["column"])
        write = column.write if column else wording.line
        known = published.get(place), cell["value"], cell.get("spread")
        theirs, ours, spread = ("" if n is None else write(n) for n in known)
        chosen = {wording.words(k): v for k, v in (cell.get("chosen") or {}).items()}
        rows.append(
            {
                **dict(zip(("table", "row", "column"), place, strict=True)),
                "published": theirs,
                "ours": ours or cell.get("status", ""),
                "±": spread,
                "n": cell.get("n", ""),
                "chosen": wording.line(chosen),
                "of settings": cell.get("settings_tried", ""),
                "trials": cell.get("trials", ""),
                "diverged": cell.get("diverged", ""),
            }
        )
    return pd.DataFrame(rows).set_index(["table", "row", "column"])
