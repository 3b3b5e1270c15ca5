import pytest

from lamb_keras import data, experiments
from lamb_keras.batch import BatchError, plan
from lamb_keras.batch.plan import Project, check_data, check_output, parse_tables
from lamb_keras.experiments import ParameterError
from testing.tiny_project import PARAMETERS, snapshot


def refusal(function, *arguments, **options):
    with pytest.raises((BatchError, ParameterError)) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_lays_defaults_paper_scale_and_settings_over_one_another(tiny):
    project = tiny(lenet_mnist=[PARAMETERS + "batch_size = 1\nbatch_divisor = 1"])
    table = project.root / "params/tables/table07.yaml"
    table.write_text(
        "notebook: lenet_mnist\ntable: 7\nepochs: 30\nbatch_size: 99\nseeds: [0, 1]\n"
    )
    scale = project.root / "params/scales/laptop/lenet_mnist.yaml"
    scale.write_text("scale: laptop\nbatch_divisor: 2\nbatch_size: 98\n")
    [run] = project.plan("seeds=[7]")
    assert run.parameters == {
        "notebook": "lenet_mnist",
        "table": 7,
        "scale": "laptop",
        "epochs": 30,
        "batch_size": 98,
        "batch_divisor": 2,
        "seeds": [7],
    }
    assert run.overrides == {"seeds": [7]}
    assert run.name == "table07/lenet_mnist"
    assert run.file("failed.json") == (
        project.outputs / "table07" / "lenet_mnist.failed.json"
    )


def test_without_tables_every_table_with_an_experiment_is_planned(tiny):
    project = tiny(lenet_mnist=[PARAMETERS], other=[PARAMETERS])
    assert [run.table for run in project.plan()] == [7, 12]
    assert [run.table for run in project.plan(tables=["12"])] == [12]


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("tables/table07.yaml", "epochs: 0", "table07.yaml: epochs is 0, expected"),
        ("tables/table07.yaml", "seeds: [1e-3]", "seeds[0] is the text '1e-3'"),
        ("tables/table07.yaml", "sedes: [1]", "sedes; did you mean seeds?"),
        ("tables/table07.yaml", "table: 8", "line 3: not valid YAML: 'table' is"),
        ("tables/table07.yaml", "learning_rate: 1e-3", "YAML reads 1e-3 as text"),
        ("scales/laptop/lenet_mnist.yaml", "epochs: -1", "epochs is -1, expected a"),
        ("scales/laptop/lenet_mnist.yaml", "epochs: [", "not valid YAML: "),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tiny, file, text, sentence):
    project = tiny(lenet_mnist=[PARAMETERS])
    path = project.root / "params" / file
    path.write_text(path.read_text().replace("epochs: 2\n", "") + text + "\n")
    said = refusal(project.plan)
    assert said.startswith(f"params/{file}")
    assert sentence in said


def test_a_table_file_that_contradicts_its_name_is_refused(tiny):
    project = tiny(lenet_mnist=[PARAMETERS])
    path = project.root / "params/tables/table07.yaml"
    path.write_text("notebook: lenet_mnist\ntable: 8\n")
    assert "expected table: 7" in refusal(project.plan)
    path.write_text("table: 7\n")
    assert "expected notebook: and the name of one" in refusal(project.plan)
    path.write_text("table: 7\nnotebook: ../../lenet_mnist\n")
    assert "notebook is the text '../../lenet_mnist'" in refusal(project.plan)


def test_a_scale_file_that_contradicts_its_folder_is_refused(tiny):
    project = tiny(lenet_mnist=[PARAMETERS])
    path = project.root / "params/scales/laptop/lenet_mnist.yaml"
    path.write_text("scale: gpu\n")
    assert "expected scale: laptop" in refusal(project.plan)
    path.unlink()
    assert refusal(project.plan) == ("params/scales/laptop/lenet_mnist.yaml is missing")


def test_a_table_may_need_something_of_its_own_at_a_scale(tiny):
    cells = [PARAMETERS + "batch_size = 64\nbatch_divisor = 1"]
    project = tiny(lenet_mnist=cells, other=cells)
    scale = project.root / "params/scales/laptop"
    (scale / "other.yaml").write_text("scale: laptop\nbatch_divisor: 2\nepochs: 3\n")
    (scale / "table12.yaml").write_text("batch_divisor: 4\n")
    [first, second] = project.plan()
    assert first.parameters["batch_divisor"] == 1
    assert (second.parameters["batch_divisor"], second.parameters["epochs"]) == (4, 3)
    [_, second] = project.plan("batch_divisor=8")
    assert second.parameters["batch_divisor"] == 8


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs: 0\n", "epochs is 0, expected a whole number"),
        ("epoch: 3\n", "unknown parameter epoch; did you mean epochs?"),
        ("seeds: [\n", "line 2: not valid YAML: "),
        ("table: 8\n", "expected table: 7, or none at all"),
        ("scale: gpu\n", "expected scale: laptop, or none at all"),
        ("notebook: other\n", "expected notebook: lenet_mnist, or none at all"),
        ("", "holds no parameters"),
    ],
)
def test_a_mistake_in_what_a_table_needs_at_a_scale_names_its_file(
    tiny, text, sentence
):
    project = tiny(lenet_mnist=[PARAMETERS])
    (project.root / "params/scales/laptop/table07.yaml").write_text(text)
    said = refusal(project.plan)
    assert said.startswith("params/scales/laptop/table07.yaml")
    assert sentence in said


GRID = 'solvers = ["adam", "lamb"]\nlearning_rates = {"adam": [0.1], "lamb": [1.0]}\n'


@pytest.mark.parametrize(
    ("setting", "trials"),
    [
        ("learning_rates=[0.001]", 2),
        ("learning_rates={adam: 1e-3, lamb: [1e-3, 0.01]}", 3),
        ("solvers=[lamb]", 1),
    ],
)
def test_a_grid_may_be_set_for_all_solvers_or_by_solver(tiny, setting, trials):
    [run] = tiny(lenet_mnist=[PARAMETERS + GRID]).plan(setting)
    assert experiments.count_trials(run.parameters) == trials


def test_a_grid_set_without_one_of_the_solvers_is_refused(tiny):
    said = refusal(tiny(lenet_mnist=[PARAMETERS + GRID]).plan, "solvers=[adam+]")
    assert said.startswith(
        "--set: learning_rates is set for adam, lamb, expected adam+"
    )


def test_an_unknown_scale_is_answered_with_those_that_exist(tiny):
    project = tiny(lenet_mnist=[PARAMETERS])
    (project.root / "params/scales/gpu").mkdir()
    for scale in ("desktop", "../laptop", ""):
        said = refusal(plan.plan, project.project, scale, project.outputs)
        assert said.startswith(f"unknown scale {scale!r}; ")
        assert said.endswith("there are: gpu, laptop")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("sede=[1]", "--set: unknown parameter sede; did you mean seeds?"),
        ("seeds=1", "--set: seeds is 1, expected a list"),
        ("epochs=1e-3", "--set: epochs is 0.001, expected a whole number"),
        ("seeds", "--set 'seeds' is not of the form name=value"),
        ("table=7", "--set table: the table is chosen by --tables"),
        ("scale=gpu", "--set scale: the scale is chosen by --scale"),
    ],
)
def test_a_mistake_on_the_command_line_says_so(tiny, setting, sentence):
    assert refusal(tiny(lenet_mnist=[PARAMETERS]).plan, setting).startswith(sentence)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["26"], "table 26: the paper has tables 1 to 25"),
        (["0"], "table 0: the paper has tables 1 to 25"),
        (["20-30"], "table 30: the paper has tables 1 to 25"),
        (["1-99999999999"], "the paper has tables 1 to 25"),
        (["seven"], "--tables 'seven' is not the number of a table"),
        (["-7"], "--tables '-7' is not the number of a table"),
        (["7-"], "--tables '7-' is not the number of a table"),
        (["7."], "--tables '7.' is not the number of a table"),
        ([""], "--tables '' is not the number of a table"),
        (["9-7"], "--tables '9-7' ends before it begins"),
    ],
)
def test_a_table_that_the_paper_does_not_have_is_refused(texts, sentence):
    assert sentence in refusal(parse_tables, texts)


def test_a_folder_that_is_no_project_is_refused(tmp_path):
    assert "no folder notebooks/" in refusal(Project.find, tmp_path)
    (tmp_path / "notebooks").mkdir()
    assert "no folder params/" in refusal(Project.find, tmp_path)


def test_each_data_set_is_checked_once(tiny, monkeypatch):
    checked = []
    monkeypatch.setattr(data, "check", lambda name, parameters: checked.append(name))
    cells = [PARAMETERS + "dataset = 'mnist'"]
    check_data(tiny(lenet_mnist=cells, other=cells, third=[PARAMETERS]).plan())
    assert checked == ["mnist"]


def test_an_output_folder_that_can_be_made_is_left_unmade(tiny, tmp_path):
    [run] = tiny(lenet_mnist=[PARAMETERS]).plan()
    before = snapshot(tmp_path)
    check_output([run.folder])
    assert snapshot(tmp_path).keys() == before.keys()


def test_outputs_below_a_link_to_nowhere_are_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "cannot be made" in refusal(check_output, [tmp_path / "link" / "below"])


# What users bring

MINE = """
def make(learning_rate):
    import optax
    return optax.sgd(learning_rate)

make.grid = {"learning_rate": [0.1]}
"""


@pytest.fixture
def brought(tiny, monkeypatch):
    """Plans a project with a file of one's own, from a folder below it."""
    project = tiny(lenet_mnist=[PARAMETERS + "own_solvers = {}\ndataset = 'digits'"])
    (project.root / "mine.py").write_text(MINE)
    monkeypatch.chdir(project.root / "params")
    folder = project.root / "outputs"

    def brought(*solvers, dataset=None, settings=()):
        return plan.plan(
            project.project, "laptop", folder, None, settings, solvers, dataset
        )

    return brought


def test_a_users_data_set_is_a_parameter(brought):
    [run] = brought(dataset="../mine.py:load")
    assert run.parameters["dataset"] == "mine.py:load"
    assert "mine.py has no function load" in refusal(check_data, [run])


@pytest.mark.parametrize(
    ("solvers", "sentence"),
    [
        (["there.py:make"], "--solver there.py:make: there is no file there.py"),
        (["../mine.py"], "expected a function's place, such as mine.py:make"),
        (["../mine.py:make", "a.b:make"], "--solver: two are called make; rename"),
    ],
)
def test_a_solver_that_is_none_is_one_sentence(brought, solvers, sentence):
    assert sentence in refusal(brought, *solvers)


def test_a_users_solver_joins_those_that_are_set_with_the_grid_that_it_states(brought):
    learn = "{function: mine.py:make, learning_rate: [0.5]}"
    [run] = brought("../mine.py:make", settings=[f"own_solvers={{learn: {learn}}}"])
    found = run.parameters["own_solvers"]
    assert [*found] == ["learn", "make"]
    assert found["make"] == {"function": "mine.py:make", "learning_rate": [0.1]}
    assert run.overrides["own_solvers"]["make"] == "mine.py:make"
