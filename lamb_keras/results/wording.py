"""Numbers, spans and times as people write them."""

import itertools
from datetime import datetime


def moment(iso: str | None) -> str:
    """An ISO date and time as people write it: "23 November 2026, 17:40 UTC"."""
    if not iso:
        return ""
    when = datetime.fromisoformat(iso)
    return f"{when.day} {when:%B %Y, %H:%M} {when.tzname() or ''}".strip()


def duration(seconds: float | None) -> str:
    """Seconds as people say them: "0.512 s", "1 min 1 s", "1 h 2 min"."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return "{} h {} min".format(*divmod(minutes, 60))


def words(name: str) -> str:
    """The name of a parameter as people read it."""
    return name.replace("_", " ").replace("l2", "L2")


def line(value) -> str:
    """A parameter or an environment's entry as one line of text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} = {line(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(line, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def span(values) -> str:
    """A number, or "512 to 32,768" of several; a dash where there is none."""
    values = values if isinstance(values, list | tuple) else [values]
    known = sorted({value for value in values if value is not None})
    ends = [f"{v:,}" if isinstance(v, int) else f"{v:,.4g}" for v in known]
    return " to ".join(dict.fromkeys(ends[:1] + ends[1:][-1:])) or "–"


def listed(numbers: list[int]) -> str:
    """Rising numbers as people list them: "3, 5 and 9 to 11"."""
    words = []
    # Those of a run differ from their places by the same.
    for _, run in itertools.groupby(enumerate(numbers), lambda each: each[1] - each[0]):
        run = [number for _, number in run]
        words += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run)
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def percent(fractions: list[float]) -> str:
    """Fractions as a span of per cents: "10 to 11.1 %"."""
    return f"{span([round(100 * f, 1) for f in fractions])} %" if fractions else "–"


def signed(number: str) -> str:
    """A written number with its sign, a real minus."""
    return f"−{number[1:]}" if number.startswith("-") else f"+{number}"
