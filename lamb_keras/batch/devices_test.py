from types import SimpleNamespace

import psutil
import pytest

from lamb_keras.batch import devices


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: True)


@pytest.fixture
def files(tmp_path):
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    return tmp_path


def test_every_gpu_of_the_machine_is_found(plugin, files):
    assert devices.gpus({}, files) == ["0", "2", "10"]
    assert devices.gpus({"JAX_PLATFORMS": "cuda,cpu"}, files) == ["0", "2", "10"]


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1, GPU-ab"}, ["1", "GPU-ab"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"JAX_PLATFORMS": "cpu"}, []),
    ],
)
def test_what_the_user_chose_is_what_there_is(plugin, files, environ, found):
    assert devices.gpus(environ, files) == found


def test_a_gpu_that_jax_has_no_plugin_for_is_none(monkeypatch, files):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    assert devices.gpus({}, files) == []


@pytest.mark.parametrize(("gigabytes", "jobs"), [(100, 8), (6.1, 4), (0.1, 1)])
def test_on_processors_as_many_runs_at_once_as_there_is_memory_for(
    monkeypatch, gigabytes, jobs
):
    memory = SimpleNamespace(available=gigabytes * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(devices, "processors", lambda: 8)
    assert devices.jobs([]) == jobs
