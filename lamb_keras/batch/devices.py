"""How many runs at once suit this machine, and which accelerator each of them has.

JAX takes most of a GPU's memory for itself as soon as it uses it, so a GPU has one run.
On processors the runs share them, as many as there is memory for.
"""

import importlib.util
from pathlib import Path

from lamb_keras.cpu import processors

CHOSEN = "CUDA_VISIBLE_DEVICES"
PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
# What a run may need, with Keras, JAX and its data.
BYTES_A_RUN = 1.5 * 2**30


def gpus(environ, files=Path("/dev")):
    """The GPUs that JAX would use, as CUDA_VISIBLE_DEVICES names them; empty for none.

    Args:
        environ: the variables of the environment.
        files: where the system keeps its devices.

    Example:
        >>> gpus({"JAX_PLATFORMS": "cpu"})
        []
    """
    platforms = environ.get("JAX_PLATFORMS", "")
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        return []
    if not any(map(importlib.util.find_spec, PLUGINS)):
        return []
    if CHOSEN in environ:
        named = [name.strip() for name in environ[CHOSEN].split(",")]
        return [name for name in named if name not in ("", "-1", "NoDevFiles")]
    numbers = [path.name.removeprefix("nvidia") for path in files.glob("nvidia[0-9]*")]
    return sorted(filter(str.isdecimal, numbers), key=int)


def jobs(found):
    """How many runs at once, where nobody says how many.

    Args:
        found: what `gpus` returned.

    Example:
        >>> jobs(["0", "1"]), jobs([]) <= processors()
        (2, True)
    """
    if found:
        return len(found)
    import psutil

    fitting = int(psutil.virtual_memory().available // BYTES_A_RUN)
    return max(1, min(processors(), fitting))


def least_used(found, used):
    """The GPU for one more run, or None where there is none.

    Args:
        found: what `gpus` returned.
        used: those that runs have at this moment, one each.

    Example:
        >>> least_used(["0", "1"], ["0"]), least_used([], [])
        ('1', None)
    """
    return min(found, key=used.count, default=None)
