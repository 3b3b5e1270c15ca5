"""The signals that end a batch."""

import signal
import threading


class Stop:
    """Ctrl-C, `kill` and a closed terminal all end a batch in the same clean way."""

    def __init__(self):
        self.signal = None

    def __enter__(self):
        self._before = {}
        # Only the main thread may say how signals are handled.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._before[number] = signal.signal(number, self._interrupt)

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number, frame):
        # Once is enough: a second one would interrupt the cleaning up.
        for other in self._before:
            signal.signal(other, signal.SIG_IGN)
        self.signal = number
        raise KeyboardInterrupt
