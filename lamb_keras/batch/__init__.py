"""The batch: from tables and a scale to runs, each executed in a process of its own.

`plan` says what is asked for, laying `yaml_files` over the defaults of a `notebook`.
`cache` says what of it is done, by a key that holds the code a run reaches (`imports`).
`executor` has the rest executed, here or by Dask, in the order of `scheduling`.
`attempt` is one execution: Papermill has the notebook executed by our engine
(`papermill`) and a `kernel` of its own; `outcome` says how it ended. `status` keeps the
log and shows where the batch stands, `remote` keeps outputs at an address. Neither
Keras nor JAX is imported here.
"""


class BatchError(ValueError):
    """Something asked of the batch that can't be done; its text is one sentence."""
