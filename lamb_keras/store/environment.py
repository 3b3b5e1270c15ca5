"""What a run ran on: device, versions, commit. Every number shown carries it."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from lamb_keras.cpu import processors

# How many runs a batch has at once at most, which share the machine: set by the batch.
RUNS_VARIABLE = "LAMB_KERAS_RUNS_AT_ONCE"
PACKAGES = ("jax", "jaxlib", "keras", "numpy", "scikit-learn", "papermill", "scrapbook")


def describe() -> dict:
    """The environment of this process, as a run records it.

    The devices are JAX's if this process has imported JAX; asking for them here must
    not start an accelerator that the process does not use.
    """
    from lamb_keras import __version__

    devices = sys.modules["jax"].devices() if "jax" in sys.modules else None
    return {
        "device": devices and devices[0].device_kind,
        "device_count": devices and len(devices),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": processors(),
        "runs_at_once": int(os.environ.get(RUNS_VARIABLE, 1)),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "lamb_keras": __version__,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit(folder: Path = Path(__file__).parent) -> str | None:
    """The git commit of the code in `folder`, "-dirty" if it has changed since.

    None where the code is not a git checkout.
    """

    def git(*arguments):
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        # Results are no code: a report just renewed does not make the tree dirty.
        changed = git("status", "--porcelain", "--", ":/", ":/!outputs")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}-dirty" if changed else head


def _processor():
    # platform.processor() is empty or "x86_64" on Linux; the kernel knows the model.
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        known = ""
    model = re.search(r"^model name\s*: (.+)$", known, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()
