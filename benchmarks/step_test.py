import json
from concurrent.futures import Executor, Future

import pytest

from benchmarks import step
from benchmarks.rows import ROWS, Row, Size

TINY = {
    "lenet": Row("lenet", {"classes": 3}, (8, 8, 1), Size(9, 9), Size(4, 2)),
    "bert-large": ROWS["bert-large"],
}


class Here(Executor):
    """A worker that is this process."""

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except RuntimeError as error:
            future.set_exception(error)
        return future


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(step, "_process", Here)
    monkeypatch.setattr(step, "ROWS", TINY)


def test_a_step_is_measured_for_ours_for_model_fit_and_where_it_is_for_pytorch(
    tiny, capsys
):
    assert step.main(["--rounds", "2", "--rows", "lenet", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["row"], told["size"]) == ("lenet", {"batch": 4, "steps": 2})
    assert told["environment"]["device"] == "cpu"
    assert list(told["results"]) == step.contenders()
    for found in told["results"].values():
        assert len(found["samples_per_second"]) == 2
        assert found["flops_per_second"] == found["median"] * told["flops_per_sample"]
        assert found["compile_seconds"] > 0
        assert found["share"] is None
    assert told["results"]["lamb-keras"]["to_ours"] == 1


@pytest.fixture
def timed(tiny, monkeypatch):
    """Ours takes 1, 2, 2 and 4 s for a round, and model.fit twice that."""
    seconds = {
        step.OURS: iter([9, 1, 2, 4]),
        step.FIT: iter([18, 2, 4, 8]),
    }
    monkeypatch.setattr(step, "contenders", lambda: list(seconds))
    monkeypatch.setattr(step, "_first", lambda name, *_: next(seconds[name]))
    monkeypatch.setattr(step, "_round", lambda name: next(seconds[name]))
    monkeypatch.setattr(step, "_peak", lambda name: 5e6)
    return seconds


def test_ratios_are_medians_of_rounds_and_compiling_is_what_the_first_took_more(timed):
    found = step.measure(TINY["lenet"], Size(4, 2), 3)
    assert found[step.OURS]["samples_per_second"] == [8, 4, 2]
    assert found[step.OURS]["median"] == 4
    assert found[step.FIT]["to_ours"] == 2
    assert found[step.FIT]["compile_seconds"] == 18 - 4
    assert found[step.FIT]["peak_megabytes"] == 5


def test_who_has_not_enough_memory_leaves_the_others_alone(timed, monkeypatch):
    def too_large(name, *_):
        if name == step.OURS:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")
        return next(timed[name])

    monkeypatch.setattr(step, "_first", too_large)
    found = step.measure(TINY["lenet"], Size(4, 2), 3)
    assert found[step.OURS] == {"error": "there was not enough memory for it"}
    assert found[step.FIT]["median"] == 2
    assert "to_ours" not in found[step.FIT]


def test_a_processor_skips_what_it_has_no_patience_for_and_says_so(timed, capsys):
    assert step.main(["--rounds", "3", "--batch", "6"]) == 0
    header, columns, ours, fit, skipped = capsys.readouterr().out.splitlines()
    assert header.endswith(", medians of 3 rounds (slowest to fastest)")
    assert ours.split()[:7] == "lenet, 6 lamb-keras 6.0 (3.0 to 12.0)".split()
    assert fit.endswith("2.00")
    assert skipped == "A processor skips bert-large; --rows ROW measures them."


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--rounds", "0"], "--rounds is 0, expected at least 1"),
        (["--batch", "0"], "--batch is 0, expected at least 1"),
        (["--rows", "lent"], "there is no row 'lent'; did you mean lenet?"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_sentence(
    tiny, arguments, sentence, capsys
):
    assert step.main(arguments) == 2
    said = capsys.readouterr().err
    assert said == f"python -m benchmarks step: {sentence}\n"


def test_every_row_states_its_flops():
    for row in ROWS.values():
        assert row.flops() > 1e5
