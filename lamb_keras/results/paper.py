"""The paper's 25 tables as it published them, cell by cell, in its own order.

The values live in `tables.yaml`, with the source of every table, and are typed nowhere
else; `layout.yaml` says which columns name a row and which hold results.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import yaml

HERE = Path(__file__).parent


class Cell(NamedTuple):
    """One published value: a number, or text where the paper printed text.

    `extra` marks the rows of Tables 13-20 that version 3 of the paper alone prints.
    """

    table: int
    row: str
    column: str
    published: float | str
    extra: bool = False


class Column(NamedTuple):
    """A column: how people read it, and what it is to a trial (see `layout.yaml`)."""

    name: str
    label: str
    decimals: int | None = None
    field: str | None = None
    words: Mapping = {}
    metric: str | None = None
    suffix: str = ""
    holds: Mapping = {}

    def write(self, value) -> str:
        """`value` as this column shows it; text stays text."""
        if isinstance(value, float) and self.decimals is not None:
            return f"{value:.{self.decimals}f}"
        return str(value)

    def number(self, value):
        """A key's value in a trial: the number behind the paper's words, if any."""
        return next((n for n, word in self.words.items() if word == value), value)


class Experiment(NamedTuple):
    """One of the paper's four experiments, and its data set."""

    title: str
    data: str = ""
    classes: int | None = None
    images: int | None = None
    width: int | None = None
    sizes: Mapping = {}
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the paper: its values, its layout, and where they were read.

    The fields are those of `tables.yaml` and `layout.yaml`, which explain them. A row
    is a dict by column name, with None where the paper prints nothing; `best_of` goes
    from (row, column) to tables.
    """

    number: int
    title: str
    experiment: str
    columns: dict[str, Column]
    keys: list[str]
    results: list[str]
    rows: list[dict] = field(default_factory=list)
    extra_rows: list[dict] = field(default_factory=list)
    columns_printed: list[str] = field(default_factory=list)
    rows_printed: list[list[str]] = field(default_factory=list)
    provenance: list[str] = field(default_factory=list)
    confidence: str = ""
    best_of: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    v3_table_number: int | None = None
    settings: list[str] = field(default_factory=list)
    extra_rows_printed: list[list[str]] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    fills: list[int] = field(default_factory=list)
    solver_rows: dict[str, str] = field(default_factory=dict)
    solver: str | None = None
    notes: str = ""

    def label(self, row: Mapping) -> str:
        """The name of a row: its keys, joined, "0.0001, 1e-05, default (0.01)"."""
        return ", ".join(str(row[key]) for key in self.keys)

    def labeled_rows(self) -> dict[str, dict]:
        """Every row by its label, the extra ones last."""
        return {self.label(row): row for row in (*self.rows, *self.extra_rows)}

    def setting(self, row: Mapping) -> dict:
        """The numbers that name a row, as a trial calls them."""
        keys = [self.columns[name] for name in self.keys]
        return {k.field: k.number(row[k.name]) for k in keys if k.field and row}

    def label_of(self, trial: Mapping) -> str:
        """The name of the row that a trial belongs to, or would if the paper had it."""
        keys = [self.columns[name] for name in self.keys]
        numbers = [trial[key.field] for key in keys]
        for label, row in self.labeled_rows().items():
            # By number, for YAML and people may write 1 for the paper's 1.0.
            if [*self.setting(row).values()] == numbers:
                return label
        shown = (k.words.get(n, n) for k, n in zip(keys, numbers, strict=True))
        return ", ".join(map(str, shown))

    def numbers_of(self, row: str, column: str) -> dict:
        """The numbers of a cell's trials: its solver's, its row's, its column's.

        A row that the paper lacks is a user's solver, in a table of settings after the
        name of one: "512, lion".
        """
        if row not in (known := self.labeled_rows()):
            label, _, solver = row.rpartition(", ")
            return {"solver": solver} | self.setting(known.get(label, {}))
        called = {name: solver for solver, name in self.solver_rows.items()}
        solver = self.solver or called.get(row, self.entry(row, column))
        of_row = self.setting(known[row])
        return {"solver": solver} | of_row | self.columns[column].holds

    def entry(self, row: str, column: str) -> str:
        """The solver of a cell in a table of solvers: Goyal's recipe adds a "+"."""
        return row + self.columns[column].suffix

    def cells(self) -> list[Cell]:
        """Every published result, row by row as the paper has them."""
        return [
            Cell(self.number, self.label(row), column, row[column], extra)
            for rows, extra in ((self.rows, False), (self.extra_rows, True))
            for row in rows
            for column in self.results
            if row[column] is not None
        ]


@functools.cache
def tables() -> dict[int, Table]:
    """The 25 tables by number, in the paper's order."""
    layout = read("layout.yaml")
    found = {known["number"]: known for known in read("tables.yaml")}
    return {n: _table(found[n] | layout["tables"][n], layout["columns"]) for n in found}


def table(number: int, columns: Iterable[str] = ("test_accuracy",)) -> Table:
    """The table of that number; of a project's own, one of no published rows."""
    if number in tables():
        return tables()[number]
    label = {name: name.replace("_", " ") for name in columns}
    return Table(
        number=number,
        title="A table of this project's own.",
        experiment="",
        columns={n: Column(n, label[n], decimals=4, metric=n) for n in label}
        | {"row": Column("row", "")},
        keys=["row"],
        results=[*label],
    )


def cells() -> list[Cell]:
    """Every published cell of every table, in the paper's order."""
    return [cell for table in tables().values() for cell in table.cells()]


@functools.cache
def experiments() -> dict[str, Experiment]:
    """The four experiments behind the tables, by the name of their notebook."""
    known = read("layout.yaml")["experiments"]
    return {name: Experiment(**about) for name, about in known.items()}


def _table(known, columns):
    """One table, from its entries in both files."""
    names = known["columns"]
    for which in ("rows", "extra_rows"):
        rows = known.get(which, ())
        known[which] = [dict(zip(names, row, strict=True)) for row in rows]
    known["columns"] = {
        name: Column(**{"name": name, "label": name} | columns.get(name, {}))
        for name in names
    }
    known["best_of"] = {
        (row, column): numbers
        for row, of_row in known.get("best_of", {}).items()
        for column, numbers in of_row.items()
    }
    # Besides, `tables.yaml` says where each group of rows was first copied from.
    return Table(**{f.name: known[f.name] for f in fields(Table) if f.name in known})


@functools.cache
def read(name: str):
    """What a YAML file beside this module says."""
    # The C loader takes 10 ms instead of 100; not every build of PyYAML has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((HERE / name).read_text(encoding="utf-8"), Loader=loader)
