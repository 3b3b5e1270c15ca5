"""The paper's 25 tables as it published them, cell by cell, in its own order.

The values live in `tables.yaml` (with the source of every table) and are typed
nowhere else; `layout.yaml` declares which columns name a row and which hold results.
"""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml

HERE = Path(__file__).parent


class Cell(NamedTuple):
    """One published value: where it stands, and what the paper says there.

    `published` is a number, or text where the paper printed text ("diverged").
    `extra` marks the rows of Tables 13-20 that version 3 of the paper alone prints.
    """

    table: int
    row: str
    column: str
    published: float | str
    extra: bool = False


class Column(NamedTuple):
    """How a column is called where people read it, and what it is to a trial.

    Attributes:
        decimals: how many of a number are shown.
        field: of a key: the number of a trial that it holds.
        words: of a key: number to what the paper prints for it.
        metric: of a result: the metric of a trial that it holds.
        holds: of a result: the numbers of the trials that it is of; empty for all.
        suffix: of a result: what tells a solver's entry here from that elsewhere.
    """

    name: str
    label: str
    decimals: int | None = None
    field: str | None = None
    words: dict = {}
    metric: str | None = None
    suffix: str = ""
    holds: dict = {}

    def write(self, value) -> str:
        """`value` as this column shows it; text stays text.

        Example:
            >>> Column("f1", "SQuAD F1", 3).write(91.5)
            '91.500'
            >>> Column("f1", "SQuAD F1", 3).write("diverged")
            'diverged'
        """
        if isinstance(value, float) and self.decimals is not None:
            return f"{value:.{self.decimals}f}"
        return str(value)

    def number(self, value):
        """What a key's value is in a trial: the number behind the paper's words.

        Example:
            >>> column = Column("L2", "L2", words={0.0: "disable"})
            >>> column.number("disable"), column.number(0.5)
            (0.0, 0.5)
        """
        return next((n for n, word in self.words.items() if word == value), value)


class Experiment(NamedTuple):
    """One of the paper's experiments, and what is to be known of its data.

    Attributes:
        classes: of the data set: guessing gets one in so many right.
        images: to train on.
        width: channels of the net's first stage, where scales change them.
        sizes: of a net with other sizes, by the names of the parameters.
        datasets: data sets of ours that are the paper's own, though called otherwise.
    """

    title: str
    data: str = ""
    classes: int | None = None
    images: int | None = None
    width: int | None = None
    sizes: dict = {}
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table of the paper: its values, its layout, and where they were read.

    Attributes:
        keys: the columns that together name a row.
        settings: the columns that state how the paper ran the row.
        results: the columns whose values are compared with ours.
        rows: the typed rows, in the paper's order; None where it prints nothing.
        extra_rows: further rows that version 3 of the paper alone prints.
        printed: the rows as printed, letter by letter, the heading first.
        extra_printed: the extra rows as printed.
        solver: the one whose settings the rows are; None where rows are something else.
        row_names: solver to row, where the paper calls it otherwise.
        best_of: (row, column) to the tables whose best setting stands there.
        fills: other tables of which some rows are the trials of this one's run.
        notes: where the paper contradicts itself about this table.
        remarks: what is to be known about how the values were read.
    """

    number: int
    title: str
    experiment: str
    experiment_title: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    settings: tuple[str, ...]
    results: tuple[str, ...]
    rows: tuple[tuple, ...]
    extra_rows: tuple[tuple, ...]
    printed: tuple[tuple[str, ...], ...]
    extra_printed: tuple[tuple[str, ...], ...]
    source: str
    provenance: tuple[str, ...]
    confidence: str
    remarks: str
    notes: tuple[str, ...]
    v3_table_number: int | None
    solver: str | None = None
    row_names: dict = field(default_factory=dict)
    best_of: dict = field(default_factory=dict)
    fills: tuple[int, ...] = ()

    def column(self, name: str) -> Column:
        """The column called `name` in the paper's table."""
        return next(column for column in self.columns if column.name == name)

    def row_as_dict(self, row: tuple) -> dict:
        """The values of one row by column name."""
        return dict(zip((c.name for c in self.columns), row, strict=True))

    def label(self, row: tuple) -> str:
        """The name of a row: its keys, joined.

        Example:
            >>> table = tables()[13]
            >>> table.label(table.rows[0])
            '0.0001, 1e-05, default (0.01)'
        """
        values = self.row_as_dict(row)
        return ", ".join(str(values[key]) for key in self.keys)

    def setting(self, row: tuple) -> dict:
        """The numbers that name a row, as a trial calls them.

        Example:
            >>> table = tables()[13]
            >>> table.setting(table.rows[0])
            {'learning_rate': 0.0001, 'weight_decay': 1e-05, 'l2_regularization': 0.01}
        """
        values = self.row_as_dict(row)
        keys = [self.column(key) for key in self.keys]
        return {key.field: key.number(values[key.name]) for key in keys if key.field}

    def label_of(self, trial: Mapping) -> str:
        """The name of the row that a trial belongs to, or would if the paper had it.

        Example:
            >>> tables()[5].label_of({"batch_size": 512}), tables()[13].label_of(
            ...     {"learning_rate": 0.5, "weight_decay": 0, "l2_regularization": 0})
            ('512', '0.5, 0, disable')
        """
        keys = [self.column(key) for key in self.keys]
        numbers = tuple(trial[key.field] for key in keys)
        for row in (*self.rows, *self.extra_rows):
            # By number, for YAML and people may write 1 for the paper's 1.0.
            if tuple(self.setting(row).values()) == numbers:
                return self.label(row)
        pairs = zip(keys, numbers, strict=True)
        return ", ".join(str(key.words.get(number, number)) for key, number in pairs)

    def columns_of(self, trial: Mapping) -> list[Column]:
        """The result columns that a trial belongs to.

        Example:
            >>> [column.name for column in tables()[2].columns_of({"batch_size": 1024})]
            ['1K']
        """
        return [
            column
            for column in map(self.column, self.results)
            if all(trial.get(name) == n for name, n in column.holds.items())
        ]

    def numbers_of(self, row: str, column: str) -> dict:
        """The numbers of the trials of a cell: its row's, its column's, its solver.

        Example:
            >>> tables()[2].numbers_of("LARS", "1K")
            {'solver': 'lars', 'batch_size': 1024}
            >>> tables()[4].numbers_of("1024", "f1")
            {'solver': 'lamb', 'batch_size': 1024}
        """
        every = (*self.rows, *self.extra_rows)
        typed = next(each for each in every if self.label(each) == row)
        solver = {"solver": self.solver} if self.solver else {}
        return solver | self.setting(typed) | self.column(column).holds

    def row_of(self, solver: str) -> str:
        """The name of a solver's row.

        Example:
            >>> tables()[3].row_of("momentum+"), tables()[3].row_of("lamb")
            ('momentum', 'lamb')
        """
        return self.row_names.get(solver, solver)

    def entry(self, row: str, column: str) -> str:
        """The name of a cell in a table of solvers: that of the solver.

        Example:
            >>> tables()[3].entry("adam", "plus (Goyal LR scheme)")
            'adam+'
        """
        return row + self.column(column).suffix

    def labeled_rows(self) -> dict[str, dict]:
        """Every row by its label, the extra ones last, each a dict by column name.

        Example:
            >>> tables()[4].labeled_rows()["512"]["warmup_ratio"]
            0.003125
        """
        every = itertools.chain(self.rows, self.extra_rows)
        return {self.label(row): self.row_as_dict(row) for row in every}

    def cells(self) -> list[Cell]:
        """Every published result, row by row as the paper has them.

        Example:
            >>> tables()[7].cells()[-1]
            Cell(table=7, row='lamb', column='mean_accuracy_5_runs', published=0.9945, \
extra=False)
        """
        return [
            Cell(self.number, self.label(row), column, values[column], extra)
            for rows, extra in ((self.rows, False), (self.extra_rows, True))
            for row in rows
            for values in [self.row_as_dict(row)]
            for column in self.results
            if values[column] is not None
        ]


@functools.cache
def tables() -> dict[int, Table]:
    """The 25 tables by number, in the paper's order.

    Example:
        >>> len(tables())
        25
        >>> tables()[7].title
        'MNIST with LeNet, 30 epochs, batch 1024, mean test accuracy over 5 runs'
    """
    layout = _load("layout.yaml")
    return {
        entry["number"]: _table(entry, layout["tables"][entry["number"]], layout)
        for entry in _load("tables.yaml")
    }


def cells() -> list[Cell]:
    """Every published cell of every table, in the paper's order.

    Example:
        >>> cells()[0]
        Cell(table=1, row='Baseline, 512', column='f1_dev', published=90.395, \
extra=False)
    """
    return [cell for table in tables().values() for cell in table.cells()]


@functools.cache
def experiments() -> dict[str, Experiment]:
    """The four experiments behind the tables, by the name of their notebook.

    Example:
        >>> experiments()["lenet_mnist"].title
        'LeNet on MNIST'
    """
    known = _load("layout.yaml")["experiments"]
    return {name: Experiment(**about) for name, about in known.items()}


def difference(ours, published) -> float | None:
    """Ours minus published; None where either is not a number.

    Example:
        >>> difference(0.75, 0.5)
        0.25
        >>> difference(0.75, "diverged") is None
        True
    """
    if isinstance(ours, float | int) and isinstance(published, float | int):
        return ours - published
    return None


def _table(entry, layout, everything):
    return Table(
        number=entry["number"],
        title=entry["title"],
        experiment=layout["experiment"],
        experiment_title=everything["experiments"][layout["experiment"]]["title"],
        columns=tuple(
            Column(name, **({"label": name} | everything["columns"].get(name, {})))
            for name in entry["columns"]
        ),
        keys=tuple(layout["keys"]),
        settings=tuple(layout.get("settings", ())),
        results=tuple(layout["results"]),
        rows=tuple(map(tuple, entry["rows"])),
        extra_rows=tuple(map(tuple, entry.get("extra_rows", ()))),
        printed=tuple(map(tuple, [entry["columns_printed"], *entry["rows_printed"]])),
        extra_printed=tuple(map(tuple, entry.get("extra_rows_printed", ()))),
        source=entry["source"],
        provenance=tuple(entry["provenance"]),
        confidence=entry["confidence"],
        remarks=entry.get("notes", ""),
        notes=tuple(layout.get("notes", ())),
        v3_table_number=entry.get("v3_table_number"),
        solver=layout.get("solver"),
        row_names=layout.get("rows", {}),
        fills=tuple(layout.get("fills", ())),
        best_of={
            (row, column): tuple(tables)
            for row, columns in layout.get("best_of", {}).items()
            for column, tables in columns.items()
        },
    )


def _load(name):
    # The C loader takes 10 ms instead of 100; not every build of PyYAML has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((HERE / name).read_text(encoding="utf-8"), Loader=loader)
