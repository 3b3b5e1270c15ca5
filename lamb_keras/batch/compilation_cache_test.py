import os
import time
import zlib
from pathlib import Path

import pytest

from lamb_keras.batch import compilation_cache


@pytest.fixture
def environ(tmp_path):
    return {"LAMB_KERAS_CACHE": str(tmp_path / "cache")}


@pytest.fixture
def folder(environ):
    return Path(compilation_cache.variables(environ)[compilation_cache.FOLDER])


def put(folder, content, age):
    path = folder / "jit_train-0123-cache"
    path.write_bytes(content)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_the_folder_is_in_the_users_cache_and_made(environ, folder, tmp_path):
    assert folder.is_dir() and folder.parent == tmp_path / "cache" / "xla"
    users = compilation_cache.variables({"XDG_CACHE_HOME": str(tmp_path)})[
        compilation_cache.FOLDER
    ]
    assert Path(users).parent == tmp_path / "lamb-keras" / "xla"


def test_another_kind_of_processor_has_another_folder(environ, folder, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_processor", lambda: b"another")
    assert compilation_cache.variables(environ)[compilation_cache.FOLDER] != str(folder)


def test_the_users_own_folder_is_left_alone(environ):
    assert (
        compilation_cache.variables({**environ, compilation_cache.FOLDER: "/mine"})
        == {}
    )


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "file").write_text("")
    assert (
        compilation_cache.variables({"LAMB_KERAS_CACHE": str(tmp_path / "file")}) == {}
    )


@pytest.mark.parametrize("age, stays", [(3600, True), (31 * 86400, False)])
def test_a_program_is_kept_for_a_month(environ, folder, age, stays):
    path = put(folder, zlib.compress(b"program"), age)
    compilation_cache.variables(environ)
    assert path.exists() is stays


@pytest.mark.parametrize("age, stays", [(1, True), (3600, False)])
def test_half_a_program_is_removed_unless_it_may_be_being_written(
    environ, folder, age, stays
):
    path = put(folder, zlib.compress(os.urandom(1000))[:-10], age)
    compilation_cache.variables(environ)
    assert path.exists() is stays


def test_a_program_packed_in_another_way_is_kept(environ, folder):
    path = put(folder, b"\x28\xb5\x2f\xfd...", 3600)
    compilation_cache.variables(environ)
    assert path.exists()
