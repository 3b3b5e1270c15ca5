"""The shape of a sweep: where it is best, its order, and what comes to nothing."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from lamb_keras.results import paper
from lamb_keras.results.finding import Finding, count, is_number, low

# At chance is what gets less than this many times what guessing does.
CHANCE_BAND = 2
# A sweep has the paper's shape from this rank correlation on.
RANK_CORRELATION = 0.5
# An accuracy that is nowhere this far below the best of its table is held.
HELD_WITHIN = 0.02


class _Setting(NamedTuple):
    """A row of a sweep: its numbers, the paper's accuracy and ours (None: diverged)."""

    numbers: dict
    published: float
    ours: float | None


def findings(table, results, classes):
    """Findings of a table whose rows are settings of one solver."""
    first = next(c for c in table.results if table.column(c).metric == "test_accuracy")
    numbers = {
        table.label(row): table.setting(row) for row in (*table.rows, *table.extra_rows)
    }
    settings = [
        _Setting(numbers[result.row], result.published, result.ours)
        for result in results
        if result.column == first
    ]
    if len(settings) < 2:
        return []
    guessed = 1 / paper.experiments()[table.experiment].classes, 1 / classes
    lost = _at_chance(settings, *guessed)
    alive = any(not _is_lost(s.published, guessed[0]) for s in settings)
    ours_alive = any(not _is_lost(s.ours, guessed[1]) for s in settings)
    shape = []
    if "batch_size" in settings[0].numbers:
        shape = _held(table, results)
    elif alive and ours_alive:
        shape = [_highest(settings, table), *_correlation(settings, *guessed)]
    return [*shape, *lost, *_diverged(settings)]


def _highest(settings, table):
    """Where the best accuracy is, and how far apart the paper's place and ours are."""
    best = max(settings, key=lambda s: s.published)
    top = max(low(s.ours) for s in settings)
    ours = [s for s in settings if low(s.ours) == top]
    varied = [n for n in best.numbers if len({s.numbers[n] for s in settings}) > 1]
    swept = varied[0] if varied else next(iter(best.numbers))
    grid = sorted({s.numbers[swept] for s in settings})

    def places(setting):
        return abs(grid.index(setting.numbers[swept]) - grid.index(best.numbers[swept]))

    nearest = min(ours, key=lambda s: (_others(s, best, swept), places(s)))
    column = table.column(table.results[0])
    tie = (
        f" and {count(len(ours) - 1, 'more setting')} as high" if len(ours) > 1 else ""
    )
    words = (
        f"Highest in the paper at {_named(best.numbers, varied)} "
        f"({column.write(best.published)}), in ours at "
        f"{_named(nearest.numbers, varied)} ({column.write(top)}{tie})"
    )
    away = places(nearest)
    if away:
        words += ", its neighbor" if away == 1 else f", {away} places away in the grid"
    agrees = away <= 1 and not _others(nearest, best, swept)
    return Finding(f"{words}.", agrees)


def _others(setting, best, swept):
    """Whether anything but the swept number differs."""
    return any(
        setting.numbers[n] != best.numbers[n] for n in best.numbers if n != swept
    )


def _correlation(settings, paper_guess, our_guess):
    """Spearman's rank correlation, all that is at chance counting as equal."""
    pairs = [
        (
            0 if _is_lost(s.published, paper_guess) else s.published,
            0 if _is_lost(s.ours, our_guess) else s.ours,
        )
        for s in settings
    ]
    value = spearman(*zip(*pairs, strict=True))
    if value is None:
        return []
    shown = f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # no minus before 0.00
    words = (
        f"Rank correlation (Spearman) of the {len(settings)} settings, those at chance "
        f"counted as equal: {shown}."
    )
    return [Finding(words, value >= RANK_CORRELATION)]


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The rank correlation of two sequences; None if one of them is constant.

    Example:
        >>> spearman([1, 2, 3], [10, 30, 20])
        0.5
    """
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    value = statistics.correlation(_ranks(first), _ranks(second))
    return round(value, 12)


def _ranks(values):
    """The place of each value in their order; equal ones share the mean place."""
    ordered = sorted(values)
    places = {
        value: ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values
    }
    return [places[value] for value in values]


def _at_chance(settings, paper_guess, our_guess):
    """Which settings come to nothing, where they do in the paper and where not."""
    dead = [s for s in settings if _is_lost(s.published, paper_guess)]
    alive = [s for s in settings if not _is_lost(s.published, paper_guess)]
    here = f"at chance (below {CHANCE_BAND * our_guess:g}) or diverged"
    findings = []
    if dead:
        too = sum(_is_lost(s.ours, our_guess) for s in dead)
        words = (
            f"At chance (below {CHANCE_BAND * paper_guess:g}) in the paper: "
            f"{_of(len(dead), settings)}; of these, ours are {here} in "
            f"{_of(too, dead)}."
        )
        findings.append(Finding(words, too == len(dead)))
    if alive:
        lost = sum(_is_lost(s.ours, our_guess) for s in alive)
        words = (
            f"Above chance in the paper: {_of(len(alive), settings)}, up to "
            f"{max(s.published for s in alive):.4f}; of these, ours are {here} in "
            f"{_of(lost, alive)}."
        )
        findings.append(Finding(words, lost <= len(alive) / 2))
    return findings


def _diverged(settings):
    lost = [s.numbers for s in settings if s.ours is None]
    if not lost:
        return []
    varied = [n for n in lost[0] if len({s.numbers[n] for s in settings}) > 1]
    where = f"Ours diverged at {_of(len(lost), settings)}"
    if len(lost) == len(settings):
        return [Finding(f"{where}.")]
    if len(varied) > 1 or len(lost) > 6:
        rates = [numbers["learning_rate"] for numbers in lost]
        reach = f"learning rates from {min(rates):g} to {max(rates):g}"
        return [Finding(f"{where}, with {reach}.")]
    places = ", ".join(f"{numbers[varied[0]]:g}" for numbers in lost)
    return [Finding(f"{where}: {_words(varied[0])} {places}.")]


def _held(table, results):
    """How far the worst row stays behind the best, a sentence a column."""
    findings = []
    for name in table.results:
        cells = [result for result in results if result.column == name]
        column = table.column(name)
        published = [result.published for result in cells]
        ours = [result.ours for result in cells]
        lost = max(published) - min(published)
        if None in ours:
            behind, held = "that of ours diverged at some", False
        else:
            behind = f"ours by {column.write(max(ours) - min(ours))}"
            held = max(ours) - min(ours) <= HELD_WITHIN
        words = (
            f"From the best batch to the worst the paper's {column.label} falls by "
            f"{column.write(lost)}, {behind}; held is within {HELD_WITHIN:g}."
        )
        findings.append(Finding(words, held == (lost <= HELD_WITHIN)))
    return findings


def _is_lost(value, guess):
    """Whether an accuracy is that of guessing, or there is none."""
    return not is_number(value) or value < CHANCE_BAND * guess


def _named(numbers, varied):
    names = varied or list(numbers)[:1]
    return ", ".join(f"{_words(name)} {numbers[name]:,g}" for name in names)


def _words(name):
    return name.replace("_", " ").replace("l2", "L2")


def _of(number, settings):
    """So many of the settings, in words."""
    every = count(len(settings), "setting")
    if number == len(settings) > 1:
        return f"all {every}"
    return f"{number or 'none'} of {every}"
