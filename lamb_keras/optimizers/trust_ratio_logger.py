"""A Keras callback that records trust ratios during `model.fit`."""

import keras


class TrustRatioLogger(keras.callbacks.Callback):
    """Records `optimizer.trust_ratios()` while a model trains.

    Args:
        every: the number of batches between two records.

    Attributes:
        rows: a list of dicts, one a record and variable: `step` (batches since the
            beginning of training, from 1), `variable` (its path), `trust_ratio`,
            `weight_norm` and `update_norm`; `pandas.DataFrame(logger.rows)` is a table.

    Raises:
        ValueError: when training begins, unless the model's optimizer is a `Lamb` or
            `Lars` with `track_trust_ratios=True`.

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
                f"every is {every!r}; expected a whole number of batches from 1."
            )
        self.every = every
        self.rows = []
        self._step = 0

    def on_train_begin(self, logs=None):
        if not getattr(self._optimizer(), "track_trust_ratios", False):
            raise ValueError(
                "TrustRatioLogger has nothing to record: compile the model with "
                "Lamb(track_trust_ratios=True) or Lars(track_trust_ratios=True); "
                f"its optimizer is {self._optimizer()!r}."
            )

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._step % self.every:
            return
        for path, ratio in self._optimizer().trust_ratios().items():
            self.rows.append({"step": self._step, "variable": path, **ratio._asdict()})

    def _optimizer(self):
        # `self.model` brings the state of the compiled step back to the variables.
        optimizer = self.model.optimizer
        return getattr(optimizer, "inner_optimizer", optimizer)
