"""How far a sweep is: a bar in a notebook or a terminal, or events for a batch."""

import os
import threading

import jax

from lamb_keras.store import events

# Jupyter's server names it to its kernels. Where nobody watches, a widget would be kept
# as the text of its first moment.
_WATCHED = "JPY_SESSION_NAME" in os.environ
if _WATCHED:
    from tqdm.auto import tqdm
else:
    from tqdm import tqdm

_FORM = "{percentage:3.0f}%|{bar}| {n:.1f} of {total} trials [{elapsed}<{remaining}"


class ProgressBar:
    """A bar of trials, in which those in training count as far as they are; a context.

    A widget vanishes at the end. In a batch, which shows a status of its own, and in
    all processes but the first, there is none.

    Args:
        total: how many trials there are.
        finished: those known from earlier sessions.
    """

    def __init__(self, total: int, finished: int = 0):
        device = jax.devices()[0].device_kind
        events.emit("trials planned", total=total, done=finished, device=device)
        self._total, self._finished, self._parts = total, finished, {}
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=total,
            initial=finished,
            bar_format=_FORM + "{postfix}]",
            leave=not _WATCHED,
            mininterval=0.5,
            miniters=0,
            disable=events.VARIABLE in os.environ or jax.process_index() > 0,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def steps(self, trials: list, done: int, total: int):
        """Tells the step of trials that train at once."""
        with self._lock:
            self._parts[trials[0]] = len(trials) * done / total
            self._show(f"{trials[0]}: step {done:,} of {total:,}")

    def finish(self, history):
        """Tells the end of a trial."""
        with self._lock:
            self._parts.pop(history.trial, None)
            self._finished += 1
            self._show(f"{history.trial}: {history.outcome}")
            events.emit(
                "trial finished",
                done=self._finished,
                total=self._total,
                label=str(history.trial),
                outcome=history.outcome,
                seconds=history.seconds,
            )

    def _show(self, text):
        # Not added up, for a sum of parts may be a bit less than a whole.
        self._bar.n = self._finished + sum(self._parts.values())
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(0)
