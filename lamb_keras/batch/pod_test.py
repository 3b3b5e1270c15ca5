"""Two hosts of two devices each train as one of four does; what ends them is named."""

import contextlib
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from PIL import Image

from lamb_keras import cli, hosts
from lamb_keras.batch import BatchError, outcome, pod, status
from lamb_keras.batch.attempt import PREFIX
from lamb_keras.batch.outcome import Outcome
from lamb_keras.hosts import Hosts, HostsError
from lamb_keras.results import runs
from testing.small_batch import GLUE, NOTEBOOK, PARAMETERS, RUN, numbers
from testing.tiny_project import cell, make_project

# They train on pictures that are streamed, slowly. In table 10 host 1 meets with an
# error, in 11 it starts from other weights, and 12 is table 9 that is ended.
TABLES = (9, 10, 11, 12)
STREAMED = """
import dataclasses, time
import grain, jax, keras  # before a kernel is forked
from lamb_keras import data, training
from lamb_keras.data import imagenet
from lamb_keras.experiments.image import ImageExperiment

imagenet.SIZE = 16
if table == 10 and jax.process_index() == 1:
    raise ValueError("a broken host")
images = data.open(dataset, validation_fraction)

def slow(split, **options):
    for batch in images.batches(split, **options):
        time.sleep(0.03)
        yield batch

def net(image_shape, classes, seed, form):
    keras.utils.set_random_seed(seed + (jax.process_index() if table == 11 else 0))
    layers = [keras.Input(image_shape), keras.layers.Flatten(name="flat")]
    layers += [keras.layers.Dense(8, "relu", name="hidden")]
    return keras.Sequential([*layers, keras.layers.Dense(classes, name="logits")])

experiment = ImageExperiment.of(globals())
sweep = training.sweep(experiment, dataclasses.replace(images, batches=slow), net)
assert sweep.late_compilations == 0
"""
SETTINGS = {
    "notebook": NOTEBOOK,
    "dataset": "imagenet",
    "solvers": ["lamb"],
    "augmentations": ["crop", "flip"],
    "learning_rates": [0.01],
    "batch_size": 16,
    "epochs": 20,
    "seeds": [3],
    "validation_fraction": 0.25,
}
# The same without a notebook.
ALONE = f"""
{PARAMETERS}
globals().update({SETTINGS})
{STREAMED}
import json
print(len(jax.devices()), json.dumps(sweep.trials, default=float))
"""
DISTURBED = f"table12/{NOTEBOOK}"
SECONDS = 240
# What may happen to a batch: a signal to a kernel or to the command on some host.
KILLS = {
    "kernel 0": ("kernel", [0], signal.SIGKILL),
    "kernel 1": ("kernel", [1], signal.SIGKILL),
    "both": ("command", [0, 1], signal.SIGTERM),
    "command 0": ("command", [0], signal.SIGKILL),
    "command 1": ("command", [1], signal.SIGKILL),
}
# Those of the suite, by starts of the batch; half a minute goes by before hosts
# are sure that another one is gone.
IN_SUITE = [["kernel 1", "both"], []]


def free_port():
    """Of which the next one is free, too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                socket.create_server(("127.0.0.1", port + 1)).close()
                return port


class Batch:
    """A batch on two hosts, which may be started several times."""

    def __init__(self, root, name):
        self.root, self.output = root, root / name
        self.temporary, self.kept = Path(tempfile.mkdtemp(prefix="p")), False

    def environ(self, devices):
        flags = f"--xla_force_host_platform_device_count={devices}"
        return os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": flags,
            "LAMB_KERAS_DATA": str(self.root / "data"),
            "LAMB_KERAS_CHECKPOINTS": str(self.output / "checkpoints"),
            "TMPDIR": str(self.temporary),
        }

    def start(self, *options):
        port = free_port()
        self.commands = []
        for host in (0, 1):
            output = self.output if host == 0 else self.output / f"host{host}"
            command = [sys.executable, "-c", RUN, "--project", str(self.root)]
            command += ["--output", str(output), *options]
            command += ["--hosts", "2", "--host", str(host)]
            command += ["--coordinator", f"127.0.0.1:{port}"]
            self.commands.append(
                subprocess.Popen(
                    command,
                    env=self.environ(2),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
            )

    def wait(self):
        """Until all commands have ended; what they said, and their codes."""
        said = [each.communicate(timeout=SECONDS)[0] for each in self.commands]
        until = time.monotonic() + 15
        while self.strays():
            assert time.monotonic() < until, f"orphans: {self.strays()}"
            time.sleep(0.1)
        # Neither half a file, nor a folder of an attempt. What host 0 was writing when
        # it was killed has a name of its own, and goes away with the next start.
        for path in self.output.rglob("*.json"):
            json.loads(path.read_bytes())
        if self.commands[0].returncode != -signal.SIGKILL:
            assert not list(self.output.rglob(".*.ipynb"))
        assert not list(self.temporary.glob(f"{PREFIX}*"))
        return said, [each.returncode for each in self.commands]

    def strays(self):
        """Processes of ours that still are."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("TMPDIR") == str(self.temporary)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def kernels(self):
        """The process ids of kernels, by host."""
        found = {}
        for host, command in enumerate(self.commands):
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(command.pid).children(recursive=True):
                    below_server = process.parent().pid != command.pid
                    if below_server:
                        found[host] = process.pid
        return found

    def kill(self, kind):
        """Whether there was what is to be ended."""
        what, on, number = KILLS[kind]
        pids = {host: each.pid for host, each in enumerate(self.commands)}
        pids = self.kernels() if what == "kernel" else pids
        for host in on:
            if host not in pids or self.commands[host].poll() is not None:
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[host], number)
        return True

    def started_and_ended(self, kinds, moment, *options):
        """One start, with what the first of `kinds` say at such moments of the run.

        Returns what the commands said and their exit codes.
        """
        self.start(*options)
        before, killed, ended = set(), [], math.inf
        while any(each.poll() is None for each in self.commands):
            kernels = self.kernels()
            begun = [e for e in self.events() if e["event"] == "working"]
            here = begun and begun[-1]["pid"] == kernels.get(0)
            fresh = here and len(kernels) == 2 and not {*kernels.values()} & before
            if kinds and fresh and moment() and self.kill(kinds[0]):
                killed.append(kinds.pop(0))
                before, ended = {*kernels.values()}, time.monotonic()
            time.sleep(0.2)
        said, codes = self.wait()
        took = time.monotonic() - ended
        print(f"{killed}, over {took:.0f} s after the last, {codes}", flush=True)
        told = str([each.get("reason") for each in self.events()]) + str(said)
        for kind in killed:
            what, host = kind.split() if " " in kind else (kind, None)
            named = f"host {host}: it is gone, or the way to it"
            if host == "0":
                named = "host 0 is gone, or the way to"
            if what == "kernel":  # which "died" where it had not begun yet
                named = f"host {host}: the kernel "
            if what == "both":
                assert codes in ([143, 143], [0, 0]), said
            else:
                assert named in told or codes == [0, 0], said
        assert took < 60 or not killed or "command" not in killed[-1]
        return said, codes

    def numbers(self, name):
        found = {run.name: run for run in runs.read(self.output / "laptop")}
        return numbers(found[name])

    def events(self):
        """Of the run that is ended, in all starts of the batch."""
        found = status.read(self.output / "laptop")
        return [each for each in found if each.get("run") == DISTURBED]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("p") / "project"
    with pytest.MonkeyPatch.context() as patch:
        made = make_project(root, patch)
    cells = [cell(PARAMETERS + "\naugmentations = []", "parameters")]
    cells += [cell(STREAMED), cell(GLUE)]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    made.project.notebook(NOTEBOOK).write_text(json.dumps(notebook))
    made.project.scale_file("laptop", NOTEBOOK).write_text("scale: laptop\n")
    lines = [f"{name}: {json.dumps(value)}" for name, value in SETTINGS.items()]
    for table in TABLES:
        settings = "\n".join([*lines, f"table: {table}", ""])
        made.project.table_file(table).write_text(settings)
    random_state = np.random.RandomState(0)
    for part, count in (("train", 72), ("val", 21)):
        for i in range(count):
            place = root / "data" / "imagenet" / part / f"n{i % 4}"
            place.mkdir(parents=True, exist_ok=True)
            noise = random_state.randint(0, 250, (20, 24, 3))
            Image.fromarray(noise.astype("uint8")).save(place / f"{i}.JPEG")
    return root


@pytest.fixture(scope="module")
def together(root):
    """All tables, of which one was ended in the midst of its training and resumed."""
    batch, told = Batch(root, "together"), []

    def trains():
        # There is an evaluation in this attempt.
        steps = [e["event"] for e in batch.events()][::-1]
        return "steps done" in steps[: steps.index("started")]

    for kinds, options in zip(IN_SUITE, ([], ["--tables", "12"]), strict=True):
        told.append(batch.started_and_ended([*kinds], trains, *options))
        batch.kept = batch.kept or bool(list(batch.output.rglob("*.checkpoints/*")))
    batch.told, batch.codes = zip(*told, strict=True)
    return batch


@pytest.mark.slow
def test_two_hosts_train_as_one_does_and_the_first_alone_tells(root, together):
    alone = Batch(root, "alone")
    command = [sys.executable, "-c", ALONE]
    options = {"capture_output": True, "text": True, "env": alone.environ(4)}
    result = subprocess.run(command, **options)
    assert result.stdout.startswith("4 "), result.stderr
    [its] = json.loads(result.stdout[2:])
    [[ours], _] = json.loads(together.numbers(f"table09/{NOTEBOOK}"))
    # Not to the last bit: a sum over hosts is taken in another order.
    for name in ("train_loss", "validation_accuracy", "test_accuracy"):
        assert ours[name] == pytest.approx(its[name], rel=1e-5)
    assert ours["steps"] > 50
    left = {path.name for path in (together.output / "laptop/table09").iterdir()}
    assert left == {f"{NOTEBOOK}.ipynb", f"{NOTEBOOK}.json"}
    assert not (together.output / "host1").exists()


@pytest.mark.slow
def test_what_goes_wrong_on_one_host_ends_the_run_on_all_and_is_named(together):
    reasons = {
        10: "host 1: ValueError: a broken host",
        11: "host 0: ParameterError: what lamb 0.01, batch 16, decay 0, seed 3 starts "
        "from on process 1 is another than on process 0, expected the same on all: "
        "give every host the same parameters, data and versions.",
    }
    for table, reason in reasons.items():
        record = together.output / f"laptop/table{table}/{NOTEBOOK}.failed.json"
        assert json.loads(record.read_bytes())["reason"] == reason
    said = str(together.told)
    assert "Traceback" not in said and "Warning" not in said
    assert f"host 1: attempt 2 at {DISTURBED}" in together.told[0][1]


@pytest.mark.slow
def test_a_kill_on_any_host_is_named_and_what_was_ended_goes_on_to_the_last_bit(
    together,
):
    reasons = [e["reason"] for e in together.events() if e["event"] == "retried"]
    assert reasons == ["host 1: the kernel was killed by signal 9"]
    assert together.codes == ([143, 143], [0, 0]) and together.kept
    undisturbed = together.numbers(f"table09/{NOTEBOOK}")
    assert together.numbers(DISTURBED) == undisturbed


def test_ended_at_random_moments_it_ends_as_if_nothing_had_been(request):
    """By hand: `pytest lamb_keras/batch/pod_test.py --kills 10`, of each kind."""
    if not (wanted := request.config.getoption("--kills", default=None)):
        pytest.skip("by --kills alone")
    root, together = map(request.getfixturevalue, ("root", "together"))
    choose = random.Random(request.config.getoption("--kill-seed") or 0)
    kinds, number, code = [*KILLS] * wanted, 0, 0

    def comes():
        time.sleep(choose.uniform(0, 6))
        return True

    while kinds or code:
        if not code:
            number += 1
            batch = Batch(root, f"ended{number}")
        _, (code, _) = batch.started_and_ended(kinds, comes, "--tables", "12")
        undisturbed = together.numbers(f"table09/{NOTEBOOK}")
        assert code or batch.numbers(DISTURBED) == undisturbed


ABOUT = {"version": "1", "commit": "abc", "tables": "1", "code": "2"}


def leading(monkeypatch, count=3):
    monkeypatch.setattr(pod, "_about", lambda *_: ABOUT)
    return pod.Leader(Hosts(count, f"127.0.0.1:{free_port()}", 0), [], None)


def hello(host, **changes):
    told = {"host": host, "hosts": 3, "id": str(host), "batch": None, "leaving": None}
    about = ABOUT | {name: each for name, each in changes.items() if name in ABOUT}
    return {**told, "about": about, "ended": [0, outcome.SUCCEEDED, None], **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"commit": "def"}, "host 1 and host 0 differ in commit (def and abc), expect"),
        ({"code": "3"}, "host 1 and host 0 differ in code, expected the same line"),
        ({"hosts": 2}, "host 1 was told of 2 hosts and host 0 of 3, expected the same"),
        ({"host": 2}, "two hosts are number 2, expected another --host on each"),
    ],
)
def test_hosts_that_do_not_agree_are_refused_on_all(monkeypatch, changes, sentence):
    first = leading(monkeypatch)
    assert "refused" not in first._answer(hello(2))
    told = first._answer(hello(**{"host": 1, "id": "1"} | changes))
    assert told["refused"].startswith(sentence)
    assert first._answer(hello(2))["refused"] == told["refused"]
    monkeypatch.setattr(pod, "SECONDS_TO_ANSWER", 0)
    with pytest.raises(BatchError, match=sentence[:20]), first:
        pass


def test_the_host_is_named_that_the_others_followed(monkeypatch):
    first = leading(monkeypatch)
    for host in (1, 2):
        first._answer(hello(host))
    first.begin({"run": "x"})
    aborted = [1, outcome.KILLED, "the kernel was killed by signal 6"]
    killed = [1, outcome.KILLED, "the kernel was killed by signal 9"]
    first._answer({**hello(1), "ended": aborted})
    own = Outcome(outcome.FAILED, "JaxRuntimeError: Gloo: connection reset")
    assert first.is_over(own)
    first._answer({**hello(2), "ended": killed})
    assert first.end(own) == Outcome(outcome.KILLED, f"host 2: {killed[2]}")


def test_a_host_whose_kernel_does_not_end_is_not_waited_for_for_ever(monkeypatch):
    first = leading(monkeypatch)
    for host in (1, 2):
        first._answer(hello(host))
    first.begin({"run": "x"})
    monkeypatch.setattr(hosts, "SECONDS_OF_SILENCE", 0.1)
    first._heard = {1: math.inf, 2: math.inf}  # they speak all the time
    own, aborted = (
        "JaxRuntimeError: UNAVAILABLE: x",
        "the kernel was killed by signal 6",
    )
    first._answer({**hello(2), "ended": [1, outcome.KILLED, aborted]})
    assert first.is_over(None)
    # Where there are but consequences, the first is named.
    told = first.end(Outcome(outcome.FAILED, own))
    assert told == Outcome(outcome.KILLED, f"host 2: {aborted}")


def test_of_a_kernels_own_errors_none_counts_as_what_followed():
    for own in (
        "ConnectionRefusedError: [Errno 111] Connection refused",
        "ValueError: bad coordinates",
        "RuntimeError: UNAVAILABLE",
    ):
        assert not pod._CONSEQUENCE.search(own)


def test_what_fails_on_another_host_before_its_kernel_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(pod, "_about", lambda *_: ABOUT)
    path = tmp_path / "x.ipynb"
    path.write_text('{"cells": []}')
    here = [SimpleNamespace(notebook=path)], SimpleNamespace(root=tmp_path), 0
    follower = pod.Follower(Hosts(2, "a:1", 1), *here)
    # Its folder is not there, as on a full disk.
    with pytest.raises(FileNotFoundError):
        follower._attempt({"attempt": 4, "run": "x", "number": 1}, None)
    number, how, reason = follower._told["ended"]
    assert (number, how) == (4, outcome.FAILED)
    assert reason.startswith("FileNotFoundError: ")


def test_whoever_comes_to_a_batch_that_goes_on_ends_nothing(monkeypatch):
    first, killed = leading(monkeypatch), []
    monkeypatch.setattr(os, "kill", lambda _, number: killed.append(number))
    batch = [first._answer(hello(host)) for host in (1, 2)][0]["batch"]
    told = first._answer(hello(1, id="another"))
    assert told["refused"].startswith("two hosts are number 1, expected another")
    assert first._answer(hello(1, batch="earlier")) == {"batch": batch}
    assert "refused" not in first._answer(hello(1))
    first._answer(hello(1, leaving=signal.SIGKILL))
    first._answer(hello(1))
    assert killed == []
    first._answer(hello(1, leaving=signal.SIGTERM))
    assert killed == [signal.SIGTERM]


def test_the_first_listens_at_the_address_that_is_named(monkeypatch):
    for address in ("127.0.0.1", "::1")[: 1 + socket.has_dualstack_ipv6()]:
        with pod._Server((address, 0), None) as server:
            assert server.server_address[0] == address
    with pod._Server(("nowhere.invalid", 0), None) as server:
        assert server.server_address[0] in ("::", "0.0.0.0")


@pytest.mark.parametrize(
    ("port", "its"), [(8576, 8577), (61440, 57344), (65535, 61439)]
)
def test_kernels_meet_at_a_port_that_is_no_batchs(port, its):
    assert Hosts(2, f"[::1]:{port}", 0).of_kernels.address == ("::1", its)


@pytest.mark.parametrize(("nodes", "method"), [("2", "deactivate"), ("1", None)])
def test_one_task_a_node_has_all_its_gpus(monkeypatch, nodes, method):
    import jax

    told = []
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", nodes)
    monkeypatch.setenv(hosts.VARIABLE, "2,a,0")
    monkeypatch.setattr(jax, "devices", list)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **o: told.append(o))
    hosts.join()
    assert [each["cluster_detection_method"] for each in told] == [method]


def test_a_host_that_says_nothing_any_more_is_named(monkeypatch):
    first = leading(monkeypatch, 2)
    first._answer({**hello(1), "hosts": 2})
    first.begin({"run": "x"})
    assert not first.is_over(None)
    monkeypatch.setattr(hosts, "SECONDS_OF_SILENCE", -1)
    assert first.is_over(None)
    gone = Outcome(outcome.FAILED, "host 1: it is gone, or the way to it")
    assert first.end(Outcome(outcome.INTERRUPTED)) == gone
    with pytest.raises(BatchError, match="host 1: it is gone, .*; start the same line"):
        first.begin({"run": "y"})


def test_a_first_host_that_does_not_answer_is_told_in_bounded_time(monkeypatch):
    monkeypatch.setattr(hosts, "SECONDS_TO_MEET", 0.2)
    port = free_port()
    with pytest.raises(HostsError, match=f"did not answer at 127.0.0.1:{port} within"):
        Hosts(2, f"127.0.0.1:{port}", 1).wait_for_first()


def test_other_hosts_that_do_not_come_are_told_in_bounded_time(monkeypatch):
    monkeypatch.setattr(hosts, "SECONDS_TO_MEET", 0.2)
    first = leading(monkeypatch)
    with pytest.raises(BatchError, match="host 1, 2 did not come within"), first:
        pass


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--hosts", "2"], "expected --hosts auto alone, or --hosts N --coordinator"),
        (["--host", "0"], "expected --hosts auto alone, or --hosts N --coordinator"),
        (["--hosts", "auto"], "auto finds neither a Cloud TPU's environment nor"),
        (
            ["--hosts", "2", "--coordinator", "a", "--host", "2"],
            "the number of this host is 2, expected 0 to 1, of 2 hosts",
        ),
        (
            ["--hosts", "2", "--coordinator", "a", "--host", "1", "--jobs", "2"],
            "--hosts with --jobs, --dask or --gpus-a-run: expected none of these",
        ),
        (["--grace", "-1"], "--grace is -1, expected seconds, at least 0"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, sentence, capsys):
    assert cli.main(["run", "--tables", "7", *options]) == 2
    assert f"lamb-keras: {sentence}" in capsys.readouterr().err


def test_a_batch_that_the_devices_of_all_hosts_cannot_share_is_refused(
    monkeypatch, capsys
):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "5")
    options = ["--hosts", "2", "--coordinator", "a", "--host", "1"]
    assert cli.main(["run", "--tables", "7", *options]) == 2
    assert "which 10 devices cannot share alike" in capsys.readouterr().err


def test_slurms_environment_is_found(monkeypatch):
    for name, value in {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "gpu[003-004]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
    }.items():
        monkeypatch.setenv(name, value)
    assert Hosts.of("auto") == Hosts(2, "gpu003:61447", 1)
