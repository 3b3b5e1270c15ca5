"""What the script does with its options and files, without JAX: it is imitated."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("on_gpu.sh")
# In the place of Python: sees a device, and runs what leaves some outputs.
IMITATED = """#!/usr/bin/env bash
case $* in
*devices*) echo "${DEVICE:-gpu H100}" ;;
*lamb_keras\\ run*)
    echo "$@" >asked.txt
    mkdir -p outputs/gpu/table07/.lenet_mnist.trials/key/a.checkpoints
    cd outputs/gpu/table07/.lenet_mnist.trials/key
    echo 1 >a.json
    echo 2 >a.checkpoints/weights
    head -c "${BYTES:-1}" /dev/urandom >../../../report.html
    exit "${CODE:-0}"
    ;;
esac
"""


@pytest.fixture
def root(tmp_path):
    """A project with the script and nothing else."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "python").write_text(IMITATED)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def run(root, *options, python=True, **variables):
    command = [root / "scripts" / "on_gpu.sh", *options]
    command += ["--python", root / "python"] * python
    environ = os.environ | variables
    return subprocess.run(
        command, capture_output=True, text=True, env=environ, cwd=root
    )


def test_a_slice_is_packed_and_unpacked_elsewhere_with_its_trials(root):
    done = run(root, "--tables", "6,7", "--set", "epochs=1", "--to", "p", BYTES="2")
    assert done.returncode == 0, done.stderr
    asked = (root / "asked.txt").read_text().split()
    own = ["--tables", "6,7", "--set", "epochs=1"]
    assert asked == ["-m", "lamb_keras", *"run --scale gpu --for 8m".split(), *own]
    shutil.rmtree(root / "outputs")
    assert run(root, "--unpack", "p", python=False).returncode == 0
    found = {path.name for path in root.glob("outputs/gpu/**/*") if path.is_file()}
    assert found == {"report.html", "a.json"}


def test_the_files_are_no_larger_than_may_travel(root):
    assert run(root, BYTES="17000000").returncode == 0
    packed = sorted((root / "packed").iterdir())
    assert [path.name for path in packed] == [f"gpu.tar.gz.0{n}" for n in range(2)]
    assert max(path.stat().st_size for path in packed) <= 16_000_000


def test_what_failed_is_packed_too_and_tells_by_the_exit_code(root):
    assert run(root, CODE="1").returncode == 1
    assert (root / "packed" / "gpu.tar.gz.00").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--for", "1m", "--to"], "--to needs a value"),
        (["--scale", "paper"], "--scale is this script's: the gpu scale"),
        (["--from", "none"], "/none has no gpu.tar.gz.00, expected what this"),
        (["--unpack", "none"], "/none has no gpu.tar.gz.00"),
    ],
)
def test_a_mistake_is_one_sentence(root, options, sentence):
    done = run(root, *options, python=options[-1] != "--to")
    assert done.returncode == 2 and sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_gpu_it_goes_on_only_if_asked_to(root):
    done = run(root, DEVICE="cpu cpu")
    assert done.returncode == 2 and "--any-device goes on" in done.stderr
    assert run(root, "--any-device", DEVICE="cpu cpu").returncode == 0
