"""The first screen of the README is made of the trials and of nothing else."""

import pandas as pd
import pytest

from lamb_keras.results import claims, readme
from lamb_keras.results.archive import ReportError

MARKS = "<!-- claims: start -->\nstale\n<!-- claims: end -->"


def trials(scale, accuracies=(0.97, 0.975, 0.98, 0.97, 0.975), batches=(512, 1024)):
    """Table 5 at a scale."""
    return pd.DataFrame(
        {"scale": scale, "table": 5, "dataset": "digits", "solver": "lamb"}
        | {"batch_size": batch, "learning_rate": 0.04, "seed": seed, "classes": 10}
        | {"outcome": "finished", "validation_accuracy": 0.9, "test_accuracy": right}
        for batch in batches
        for seed, right in enumerate(accuracies)
    )


@pytest.fixture
def outputs(tmp_path):
    (tmp_path / "outputs" / "laptop").mkdir(parents=True)
    trials("laptop").to_csv(tmp_path / "outputs/laptop/trials.csv", index=False)
    return tmp_path / "outputs"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"# Before\n\n{MARKS}\n\nAfter \\1.\n")
    return path


def test_only_what_is_between_the_marks_changes_and_only_once(outputs, page):
    assert readme.update(page, outputs) is True
    text = page.read_text()
    assert text.startswith("# Before\n\n<!-- claims: start -->\n**Laptop** scale")
    assert text.endswith("<!-- claims: end -->\n\nAfter \\1.\n") and "stale" not in text
    assert "| 6 | The same rules hold ResNet-50's accuracy" in text
    assert "claims 1 is supported and" in text and "✓&nbsp;supported |" in text
    figure = outputs / "laptop" / readme.FIGURE
    written = figure.stat().st_mtime_ns
    assert readme.update(page, outputs) is False
    assert figure.stat().st_mtime_ns == written


def test_every_scale_has_a_column_and_the_figure_is_of_the_last(outputs, page):
    (outputs / "evening").mkdir()
    trials("evening", (0.1, 0.5, 0.9)).to_csv(outputs / "evening/trials.csv")
    readme.update(page, outputs)
    text = page.read_text()
    assert "| laptop | evening |" in text and "](outputs/evening/claims.png)" in text
    assert (outputs / "evening" / readme.FIGURE).exists()
    (line,) = [line for line in text.splitlines() if line.startswith("| 6 |")]
    assert line.split(" | ")[2] == "✓&nbsp;supported"
    assert all(f"| {number} |" in text for number in claims.claims())


def test_the_figure_changes_with_its_points_and_is_told_in_words(outputs, page):
    readme.update(page, outputs)
    figure = outputs / "laptop" / readme.FIGURE
    before = figure.read_bytes()
    assert "lamb at 512 0.974 (0.969 to 0.979), lamb at 1,024" in page.read_text()
    trials("laptop", (0.1, 0.1, 0.1)).to_csv(outputs / "laptop/trials.csv", index=False)
    assert readme.update(page, outputs) is True
    assert figure.read_bytes() != before
    assert "lamb at 512 did not train" in page.read_text()


def test_what_has_no_place_or_no_trials_says_so(outputs, page, tmp_path):
    readme.update(page, tmp_path / "elsewhere")
    assert "No claim has been tested yet." in page.read_text()
    page.write_text("# Nothing to replace\n")
    with pytest.raises(ReportError, match="README.md has no lines"):
        readme.update(page, outputs)
    assert page.read_text() == "# Nothing to replace\n"
