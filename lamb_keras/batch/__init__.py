"""The batch: from tables and a scale to runs, each executed in a process of its own.

`plan` says what will run and refuses what can't, reading `values` and the parameters
of a `notebook`; `executor` runs it, `worker` is one of its processes, `progress` what
is seen meanwhile, `record` what is kept beside each executed notebook. The batch knows
notebooks and parameters, and no training code: neither Keras nor JAX is imported.
"""


class BatchError(ValueError):
    """Something asked of the batch that can't be done; its text is one sentence."""
