"""How many trials are done, for who watches."""

import contextlib
import itertools
import os

import jax
from tqdm import tqdm

from lamb_keras.store import events


@contextlib.contextmanager
def progress(total: int, done: int = 0):
    """A bar of finished trials; gives the function to tell it of each one's history.

    In a batch, which shows a board of its own, they are told to its log instead.

    Args:
        total: how many trials there are.
        done: how many of these were done before.
    """
    device = jax.devices()[0].device_kind
    events.emit("trials planned", total=total, done=done, device=device)
    watched, numbers = events.VARIABLE in os.environ, itertools.count(done + 1)
    shown = {"unit": "trial", "mininterval": 1, "disable": watched}
    with tqdm(total=total, initial=done, **shown) as bar:

        def tell(history):
            bar.set_postfix_str(str(history.trial), refresh=False)
            bar.update()
            events.emit(
                "trial finished",
                done=next(numbers),
                total=total,
                label=str(history.trial),
                outcome=history.outcome,
                seconds=history.seconds,
            )

        yield tell
