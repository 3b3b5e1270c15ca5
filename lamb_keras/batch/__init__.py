"""The batch: from tables and a scale to runs, each executed in a process of its own.

`plan` says what is asked for, laying `yaml_files` over the defaults of a `notebook`.
`cache` says what of it is done, by a key that holds the code a run reaches (`imports`).
`executor` has the rest executed, here or by Dask, in the order of `scheduling`.
`attempt` is one execution: Papermill has the notebook executed by our engine
(`papermill`) and a `kernel` of its own; `outcome` says how it ended. `status` keeps the
log and shows where the batch stands, `remote` keeps outputs at an address. Neither
Keras nor JAX is imported here.
"""

import os


class BatchError(ValueError):
    """Something asked of the batch that can't be done; its text is one sentence."""


def check_system():
    """Raises `BatchError` where the batch has not what it needs: on Windows."""
    if os.name == "nt":
        raise BatchError(
            "the experiments run on Linux and macOS; on Windows, install lamb-keras in "
            "WSL (the optimizers work everywhere)"
        )
