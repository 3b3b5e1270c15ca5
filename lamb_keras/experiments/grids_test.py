from lamb_keras.experiments import count_trials, settings
from lamb_keras.experiments.validation_test import TABLE_1, TABLE_5, TABLE_7


def of(solver, grids, *names):
    found = settings({"solvers": [solver], **grids})
    return [tuple(setting[name] for name in names) for setting in found]


def test_a_run_has_a_trial_for_every_setting_and_seed():
    assert len(settings(TABLE_7)) == 20
    assert count_trials(TABLE_7) == 100
    # LAMB: 2 batches, 2 decays; momentum: 2 batches. Of each solver and batch the
    # chosen setting is trained with two seeds more.
    assert count_trials(TABLE_5) == 6 + 4 * 2
    assert count_trials({"epochs": 3}) == 1


def test_a_setting_has_the_numbers_of_its_solver_and_none_for_what_that_does_not_use():
    assert settings(TABLE_5)[3:5] == [
        {
            "solver": "lamb",
            "batch_size": 32768,
            "weight_decay_form": None,
            "l2_regularization": 0.0,
            "weight_decay": 0.1,
            "learning_rate": 0.04,
        },
        {
            "solver": "momentum+",
            "batch_size": 512,
            "weight_decay_form": None,
            "l2_regularization": 0.0001,
            "weight_decay": None,
            "learning_rate": 6.4,
        },
    ]


def test_the_learning_rate_changes_first_and_the_batch_last():
    grids = {
        "learning_rates": [1.0, 2.0],
        "weight_decay": [3.0, 4.0],
        "l2_regularization": [5.0, 6.0],
        "weight_decay_form": ["per_step", "times_learning_rate"],
        "batch_size": [7, 8],
    }
    fastest_first = "learning_rate weight_decay l2_regularization weight_decay_form"
    found = of("adamw+", grids, *fastest_first.split(), "batch_size")
    assert len(found) == 2**5
    assert found == sorted(found, key=lambda setting: setting[::-1])


def test_what_a_solver_does_not_use_multiplies_nothing():
    forms = ["per_step", "times_learning_rate"]
    grids = {"weight_decay": [0.1, 0.2], "weight_decay_form": forms}
    assert of("adam+", grids, "weight_decay", "weight_decay_form") == [(None, None)]
    assert of("lamb+", grids, "weight_decay", "weight_decay_form") == [
        (0.1, None),
        (0.2, None),
    ]
    assert len(of("adamw+", grids)) == 4


def test_what_is_not_said_is_none_but_for_no_l2_regularization():
    [setting] = settings({"solvers": ["adamw"], "weight_decay": None})
    assert setting.pop("solver") == "adamw"
    assert setting.pop("l2_regularization") == 0.0
    assert set(setting.values()) == {None}


def test_only_a_pretraining_has_warmups_whose_grid_is_outside_that_of_the_rates():
    assert all("warmup_fraction" not in setting for setting in settings(TABLE_5))
    grids = {"warmup_fraction": [0.05, 0.1], "learning_rates": [1.0, 2.0, 3.0]}
    found = of("adamw", grids, "warmup_fraction", "learning_rate")
    assert found == [(w, r) for w in (0.05, 0.1) for r in (1.0, 2.0, 3.0)]


def test_every_fine_tuning_of_a_pretraining_is_a_trial():
    seeds = {"seeds": [0, 1], "finetuning_seeds": [0, 1, 2]}
    # AdamW's, and LAMB's with a second warm-up and without.
    assert count_trials({**TABLE_1, **seeds}) == 3 * 2 * 3
