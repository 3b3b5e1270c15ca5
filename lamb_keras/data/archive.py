"""Reads files out of a tar archive, and refuses a damaged one."""

import os
import tarfile

from lamb_keras.data.images import DataError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")

_BLOCK = 512  # bytes; a tar file is made of these, and ends in two of zeros
_XZ, _GZIP = b"\xfd7zXZ\0", b"\x1f\x8b"  # how these begin


def check(path: str) -> None:
    """Raises `DataError` unless the file begins and ends as a tar archive does.

    So a file of another kind is found, and one that is cut off, without unpacking
    it: an archive of sixty thousand pictures takes seconds to unpack.
    """
    with _open(path) as archive:
        _next(archive, path)
    with open(path, "rb") as file:
        begin = file.read(len(_XZ))
        file.seek(-min(2 * _BLOCK, os.path.getsize(path)), os.SEEK_END)
        end = file.read()
    if begin == _XZ:
        whole = end.rstrip(b"\0").endswith(b"YZ")
    elif begin.startswith(_GZIP):
        # The last four bytes are the number of those that are packed.
        whole = int.from_bytes(end[-4:], "little") % _BLOCK == 0
    else:
        whole = end == bytes(2 * _BLOCK)
    if not whole:
        raise _fault(path, "it does not end as an archive does")


def read(path: str, wanted) -> dict[str, bytes]:
    """The content of the files in the archive, by their names.

    Args:
        path: of the archive.
        wanted: tells of a name whether that file is.

    Example:
        >>> import io, tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        ...     with tarfile.open(file.name, "w") as archive:
        ...         member = tarfile.TarInfo("a/b.txt")
        ...         member.size = 2
        ...         archive.addfile(member, io.BytesIO(b"hi"))
        ...     read(file.name, lambda name: name.endswith(".txt"))
        {'a/b.txt': b'hi'}
    """
    found = {}
    with _open(path) as archive:
        while member := _next(archive, path):
            if member.isreg() and wanted(member.name):
                found[member.name] = _content(archive, member, path)
            archive.members = []  # it would keep all of them
        try:
            # A damaged header also ends the listing.
            archive.fileobj.seek(archive.offset)
            whole = archive.fileobj.read(2 * _BLOCK) == bytes(2 * _BLOCK)
            while archive.fileobj.read(2**20):
                pass  # gzip's checksum of everything comes at the end
        except Exception as error:
            raise _fault(path, error) from None
    if not whole:
        raise _fault(path, "it does not end as an archive does")
    return found


# Damage shows itself in every kind of exception of tarfile, gzip, lzma and zlib.


def _open(path):
    try:
        return tarfile.open(path)
    except Exception as error:
        raise _fault(path, error) from None


def _next(archive, path):
    try:
        return archive.next()
    except Exception as error:
        raise _fault(path, error) from None


def _content(archive, member, path):
    try:
        return archive.extractfile(member).read()
    except Exception as error:
        raise _fault(path, error) from None


def _fault(path, reason):
    reason = str(reason).splitlines()[0].rstrip(".")
    return DataError(
        f"{path} is no intact tar archive ({reason}); replace it by an intact copy"
    )
