"""A Keras callback that records trust ratios during `model.fit`."""

import keras


class TrustRatioLogger(keras.callbacks.Callback):
    """A callback that keeps `optimizer.trust_ratios()` while a model trains.

    Args:
        every: the number of the optimizer's steps between two records. Where Keras runs
            several batches at once (`steps_per_execution`), the record is of the last.

    Attributes:
        rows: a list of dicts, one a record and variable: `step` (of the optimizer, from
            1; under gradient accumulation a step is several batches), `variable` (its
            path), `trust_ratio`, `weight_norm` and `update_norm`;
            `pandas.DataFrame(logger.rows)` is a table.

    Raises:
        ValueError: for an `every` below 1, and when training begins, unless the model's
            optimizer is a `Lamb` or `Lars` with `track_trust_ratios=True`.

    Example:
        >>> import keras, numpy as np
        >>> from lamb_keras import Lamb
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(Lamb(track_trust_ratios=True), "mse")
        >>> logger = TrustRatioLogger()
        >>> x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
        >>> _ = model.fit(x, y, batch_size=4, verbose=0, callbacks=[logger])
        >>> [(row["step"], row["variable"].split("/")[-1]) for row in logger.rows]
        [(1, 'kernel'), (1, 'bias'), (2, 'kernel'), (2, 'bias')]
    """

    def __init__(self, every=1):
        super().__init__()
        if not isinstance(every, int) or every < 1:
            raise ValueError(
                f"every is {every!r}; expected a whole number of steps from 1."
            )
        self.every = every
        self.rows = []

    def on_train_begin(self, logs=None):
        optimizer = self._optimizer()
        if not getattr(optimizer, "track_trust_ratios", False):
            raise ValueError(
                "TrustRatioLogger has nothing to record: compile the model with "
                "Lamb(track_trust_ratios=True) or Lars(track_trust_ratios=True); "
                f"its optimizer is {optimizer!r}."
            )
        self._batches_a_step = optimizer.gradient_accumulation_steps or 1
        self._recorded = int(optimizer.iterations)

    def on_epoch_begin(self, epoch, logs=None):
        self._before = int(self._optimizer().iterations)

    def on_train_batch_end(self, batch, logs=None):
        # To ask the optimizer is to wait for the device: it is asked where a record may
        # be due. `batch` is beyond the end of an epoch that several do not divide.
        at_most = self._before + -(-(batch + 1) // self._batches_a_step)
        if at_most // self.every == self._recorded // self.every:
            return
        optimizer = self._optimizer()
        step = int(optimizer.iterations)
        if step // self.every == self._recorded // self.every:
            return
        self._recorded = step
        for path, ratio in optimizer.trust_ratios().items():
            self.rows.append({"step": step, "variable": path, **ratio._asdict()})

    def _optimizer(self):
        # `self.model` brings the state of the compiled step back to the variables.
        optimizer = self.model.optimizer
        return getattr(optimizer, "inner_optimizer", optimizer)
