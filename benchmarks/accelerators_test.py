"""What the updates do on a GPU and a TPU, told by their compilers alone.

`make compilers` installs these beside the environment: in it they would have JAX look
for devices. Without them these tests are skipped, except where
LAMB_KERAS_COMPILERS is "required".
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import accelerators

COMPILERS = Path(sys.prefix) / "compilers"
OURS, WATCHED, PACKED = (
    "lamb_keras.Lamb",
    "same, tracking, exclusions",
    "same, packed",
)
KERAS, OPTAX = "keras.optimizers.Lamb", "optax.lamb"
PROGRAM = """
import json, sys
from benchmarks import accelerators, shapes, update
accelerators.use_no_device()
target, model, names = json.loads(sys.argv[1])
if model == "resnet50":
    shapes = shapes.model_shapes(model)
else:
    shapes = shapes.bert_shapes(model, 1024)
print(json.dumps([len(shapes), update.compiled_shapes(target, shapes, names)]))
"""


def compiled(target, model, names):
    """(number of variables, what `compiled_shapes` tells) in a process of its own.

    The model is ResNet-50 by its name, or BERT-Large with so many of its 24 layers.
    """
    return json.loads(run_with_compilers(PROGRAM, json.dumps([target, model, names])))


def run_with_compilers(program, *arguments):
    """The last line that a program prints, in a process that finds the compilers."""
    if not COMPILERS.is_dir():
        if os.environ.get("LAMB_KERAS_COMPILERS") == "required":
            pytest.fail(f"there are no compilers in {COMPILERS}: make compilers.")
        pytest.skip("the compilers for accelerators are not installed: make compilers")
    # As at a user's prompt: the process itself keeps away from devices.
    others = {k: v for k, v in os.environ.items() if k != "JAX_PLATFORMS"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**others, "PYTHONPATH": str(COMPILERS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_on_an_h200_an_update_of_bert_large_is_at_the_floor_in_160_kernels():
    variables, told = compiled("h200", 24, [OURS, PACKED])
    assert variables == 398
    assert told[OURS]["bytes_a_parameter"] <= 40.5
    assert told[OURS]["kernels"] <= 160
    assert told[PACKED]["bytes_a_parameter"] <= 43
    assert told[PACKED]["kernels"] <= 60


@pytest.mark.slow
def test_on_an_h200_an_update_of_resnet_50_with_tracking_is_100_kernels():
    _, told = compiled("h200", "resnet50", [WATCHED])
    assert told[WATCHED]["bytes_a_parameter"] <= 42
    assert told[WATCHED]["kernels"] <= 100


@pytest.mark.slow
def test_on_a_tpu_an_update_is_fewer_operations_than_others():
    _, told = compiled("v5e", 1, [OURS, WATCHED, PACKED, KERAS, OPTAX])
    kernels = {name: each["kernels"] for name, each in told.items()}
    on_arrays = {name: kernels[name] - told[name]["scalar_kernels"] for name in told}
    assert on_arrays[OURS] < on_arrays[KERAS]
    for ours in (OURS, WATCHED, PACKED):
        assert 2 * kernels[ours] <= min(kernels[KERAS], kernels[OPTAX])
        # Below the floor, since some of what a pass reads is still in fast memory.
        assert told[ours]["bytes_a_parameter"] <= 40
    # As much of it, with tracking and exclusions.
    plain = told[OURS]["bytes_a_parameter"]
    assert told[WATCHED]["bytes_a_parameter"] <= 1.01 * plain


def test_a_target_is_known_by_the_package_of_its_compiler(monkeypatch):
    monkeypatch.setitem(accelerators.TARGETS, "v5e", "json")
    assert accelerators.is_installed("v5e")
    monkeypatch.setitem(accelerators.TARGETS, "v5e", "no_such_package")
    assert not accelerators.is_installed("v5e")
