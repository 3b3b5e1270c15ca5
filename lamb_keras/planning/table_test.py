"""`lamb-keras plan`, and what `lamb-keras run` asks before it spends days."""

import re

import pytest

from lamb_keras import cli, commands
from lamb_keras.batch import cache, executor
from lamb_keras.planning import estimates
from lamb_keras.results import paper, report
from testing.tiny_project import FINISH, PARAMETERS, make_project, snapshot

MORE = """
solvers = ["lamb"]
learning_rates = [0.1]
batch_size = 16
dataset = "digits"
validation_fraction = 0.1
"""
LONG = ["--set", "epochs=100000000000"]


def told(capsys, *options):
    assert cli.main(["plan", *options]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_plan_tells_of_every_stage_within_a_hundred_columns(capsys):
    lines = told(capsys, "--scale", "paper", "--on", "v5e-256")
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("v5e-256: 256 chips (16x16) of 197 TFLOP/s, hosts: 64")
    assert len([line for line in lines if "parameters, a checkpoint of" in line]) == 25
    pattern = r" *32768 +128 tokens +1 +14,063 +1.1e\+20 +256 +16x8 .* yes .*"
    assert [line for line in lines if re.fullmatch(pattern, line)]
    fitting = [line.split()[-1] for line in lines if "  yes  " in line]
    hours = sum(float(each.replace(",", "")) for each in fitting if each[0] != "<")
    [total] = [line for line in lines if line.startswith("all: ")]
    assert total.startswith("all: 7.5e+21 FLOP, 229 days of an H100; ")
    assert float(total.split("; ")[1].split()[0]) == pytest.approx(hours, rel=0.01)


def test_a_plan_on_the_papers_machine_tells_of_table_1_beside_the_fit(capsys):
    options = ["--scale", "paper", "--tables", "4", "--on", "v3-2048"]
    lines = told(capsys, *options)
    assert max(map(len, lines)) <= 100
    for row in paper.tables()[1].rows:
        size, minutes = row["batch_size"], f"{row['time_minutes']:.1f}"
        [line] = [each for each in lines if f" {size} " in each and minutes in each]
        assert line.split()[0] == row["solver"] and line.count("%") == 2
    assert "both fitted to these rows;" in lines[-2]
    told_of = "batch 1024: 2,048 devices can't share 1,024 examples alike; the nearest"
    assert [line for line in lines if line.startswith(told_of)]


def test_half_the_utilization_takes_twice_the_hours(capsys):
    options = ["--scale", "paper", "--tables", "4", "--on", "h100-1"]
    fast, slow = (
        [
            line.split()[-1].replace(",", "")
            for line in told(capsys, *options, "--utilization", part)
            if " tokens " in line
        ]
        for part in ("0.5", "0.25")
    )
    assert [float(hours) * 2 for hours in fast] == pytest.approx(
        [float(hours) for hours in slow], rel=0.01
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--on v5e-250", "there is no slice v5e-250; the nearest is v5e-256"),
        ("--on v5e-8 --utilization 40", "--utilization is 40, expected a part of 1"),
        ("--on v5e-8 --tables 26", "the paper has tables 1 to 25"),
        ("--on v5e-8 --scale papr", "did you mean paper?"),
        ("--scale paper", "required: --on"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, options, sentence):
    assert cli.main(["plan", *options.split()]) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and not said.out


@pytest.fixture
def project(tmp_path, monkeypatch):
    cells = [PARAMETERS + MORE, FINISH]
    project = make_project(tmp_path / "project", monkeypatch, lenet_mnist=cells)
    monkeypatch.chdir(project.root)
    return project


def test_days_of_a_gpu_are_not_spent_unasked(project, capsys, monkeypatch):
    before = snapshot(project.root)
    assert cli.main(["run", "--project", ".", *LONG]) == 2
    said = capsys.readouterr().err
    pattern = (
        r"lamb-keras: what is to be run takes .+ FLOP, .+ days of an H100 at 38% of "
        r"its peak; --yes runs it, lamb-keras plan tells more\n"
    )
    assert re.fullmatch(pattern, said)
    assert snapshot(project.root) == before
    executed = []

    def execute(runs, *_, **__):
        executed.extend(runs)
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "execute", execute)
    assert cli.main(["run", "--project", ".", "--yes", *LONG]) == 130
    assert "what is to be run takes" in capsys.readouterr().err
    assert cli.main(["run", "--project", "."]) == 130  # short: nobody is asked
    assert "FLOP" not in capsys.readouterr().err
    assert [run.parameters["epochs"] for run in executed] == [100_000_000_000, 2]


def test_what_is_done_does_not_count(project, capsys, monkeypatch):
    def decide(runs, *_):
        return [cache.Decision(run, reason=None) for run in runs]

    def render(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "decide", decide)
    monkeypatch.setattr(commands, "_forecast", str)
    monkeypatch.setattr(report, "render", render)
    assert cli.main(["run", "--project", ".", *LONG]) == 130
    assert "FLOP" not in capsys.readouterr().err


def test_a_day_of_a_gpu_is_of_an_h100_as_the_paper_used_its_chips():
    assert estimates.device_days(0.381 * 989e12 * 86400) == pytest.approx(1, rel=1e-3)
