"""The batch: from tables and a scale to runs, each executed in a process of its own.

`plan` says what is asked for and refuses what can't be, reading `values` and the
parameters of a `notebook`; `done` says what of it is already there, by the `key` of
each run, which holds what its code can `reach`. `executor` runs the rest on the
`devices` of this machine, `cluster` on many machines; `worker` is one of its processes,
`ends` the ways in which that ends, `trials` where its finished trials are kept until it
has succeeded, `progress` what is seen meanwhile, `record` what is kept beside each
executed notebook. Papermill executes it with our `engine`, which is `managed`; `marks`
are what that adds at its top. `log` keeps the events of the whole, of which `board`
draws where it stands. The batch knows notebooks and parameters, and of the training
code only its text: neither Keras nor JAX is imported.
"""


class BatchError(ValueError):
    """Something asked of the batch that can't be done; its text is one sentence."""
