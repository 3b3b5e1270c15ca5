"""Where runs keep the programs that XLA compiled, for each other and for later batches.

In `xla` in `lamb_keras.data.cache`'s folder. It may be deleted at any time. Whoever
sets JAX_COMPILATION_CACHE_DIR, if to nothing, has their own way.
"""

import hashlib
import platform
import tempfile
import time
import zlib
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
SETTINGS = {
    # JAX keeps what took a second; a net's first weights alone are many programs.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
SECONDS_KEPT = 30 * 24 * 60 * 60
ZSTD = b"\x28\xb5\x2f\xfd"


def variables(environ):
    """The variables of the environment by which JAX finds the programs.

    None where the user has chosen a folder, or where there can be none: a run without
    the programs of others compiles its own.

    Example:
        >>> variables({"JAX_COMPILATION_CACHE_DIR": ""})
        {}
    """
    if FOLDER in environ:
        return {}
    from lamb_keras.data import cache  # NumPy, which a plan alone does not need

    # Programs are for one kind of processor, and homes are shared between machines.
    name = hashlib.sha256(_processor()).hexdigest()[:12]
    try:
        folder = Path(cache.folder(environ)).absolute() / "xla" / name
        folder.mkdir(parents=True, exist_ok=True)
        # JAX would warn, in the notebook, of each program that it can't keep.
        tempfile.TemporaryFile(dir=folder).close()
        _clear(folder)
    except OSError:
        return {}
    return {FOLDER: str(folder), **SETTINGS}


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        return platform.processor().encode() + platform.machine().encode()
    names = (b"model name", b"flags", b"Features", b"CPU part")
    return b"\n".join(sorted({line for line in lines if line.startswith(names)}))


def _clear(folder):
    """Removes what is old, or half written by a run that was ended meanwhile.

    JAX itself would never write half a program anew, but warn of it in every run.
    """
    for path in folder.glob("*-cache"):
        age = time.time() - path.stat().st_mtime
        # What is young, another batch may be writing at this moment.
        if age > SECONDS_KEPT or (age > 60 and _is_damaged(path.read_bytes())):
            path.unlink(missing_ok=True)


def _is_damaged(program):
    # JAX packs with zlib, or with zstd where there is one; that is not for us to read.
    if program.startswith(ZSTD):
        return False
    try:
        zlib.decompress(program)
    except zlib.error:
        return True
    return False
