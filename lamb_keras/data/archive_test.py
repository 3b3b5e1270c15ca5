"""An archive is read in one go, and a damaged one never passes for a whole one."""

import gzip
import io
import lzma
import tarfile

import numpy as np
import pytest

from lamb_keras.data import archive
from lamb_keras.data.images import DataError

FILES = {
    f"part/{number:02}": np.random.RandomState(number).bytes(700)
    for number in range(20)
}


def tar(files=FILES):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return packed.getvalue()


PACK = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.xz": lzma.compress}


@pytest.fixture(params=PACK)
def path(request, tmp_path):
    path = tmp_path / f"some{request.param}"
    path.write_bytes(PACK[request.param](tar()))
    return path


def everything(name):
    return True


def refusal(ask, *arguments):
    with pytest.raises(DataError) as caught:
        ask(*arguments)
    assert caught.value.__cause__ is None
    sentence = str(caught.value)
    assert sentence.startswith(f"{arguments[0]} is no intact tar archive (")
    assert sentence.endswith("); replace it by an intact copy")
    assert "\n" not in sentence
    return sentence


def test_what_was_packed_is_read(path):
    archive.check(str(path))
    assert archive.read(str(path), everything) == FILES


def test_only_what_is_wanted_is_read(path):
    found = archive.read(str(path), lambda name: name.endswith("7"))
    assert list(found) == ["part/07", "part/17"]


def test_an_archive_that_is_cut_off_is_refused_by_both(path):
    whole = path.read_bytes()
    # A plain tar is padded with more zeros than it needs.
    lengths = [0, 1, 100, 512, 600, 5000, 10 * 1536, 20 * 1536]
    if path.suffix != ".tar":
        lengths += [len(whole) * 9 // 10, len(whole) - 4, len(whole) - 1]
    for length in lengths:
        path.write_bytes(whole[: min(length, len(whole) - 1)])
        refusal(archive.check, str(path))
        refusal(archive.read, str(path), everything)


def test_damage_inside_is_found_when_it_is_read(path):
    whole = path.read_bytes()
    damaged = bytearray(whole)
    # In a plain tar it is a header: of a file's content there is no checksum.
    place = 10 * 1536 + 20 if path.suffix == ".tar" else len(whole) // 2
    damaged[place] ^= 255
    path.write_bytes(damaged)
    refusal(archive.read, str(path), everything)


@pytest.mark.parametrize(
    "content",
    [b"", b"text" * 1000, gzip.compress(b"text"), lzma.compress(b"text")],
    # A gzip file holds the time: as a name it would differ between processes.
    ids=["empty", "text", "gzip", "xz"],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "some.tar"
    path.write_bytes(content)
    refusal(archive.check, str(path))
    refusal(archive.read, str(path), everything)


def test_a_missing_file_is_refused(tmp_path):
    assert "No such file" in refusal(archive.check, str(tmp_path / "some.tar"))
