"""A batch on several hosts, which all run the same command and train each run together.

Host 0 is the batch: it plans, locks, writes and reports. The others ask it twice a
second what is to be done, and say how they are; they execute what it names into folders
of their own. Whoever says nothing for a while is gone.
"""

import contextlib
import json
import os
import re
import signal
import socket
import socketserver
import sys
import threading
import time
import uuid

import lamb_keras
from lamb_keras import hosts as joining
from lamb_keras.batch import BatchError, cache, machine, outcome
from lamb_keras.batch.attempt import SECONDS_BETWEEN_POLLS
from lamb_keras.batch.outcome import Outcome
from lamb_keras.store import environment

SECONDS_BETWEEN_WORDS = 0.5
SECONDS_TO_ANSWER = 5
AGAIN = "start the same line on every host again"
# By what a host may say that ends: it ends the others' batch, too.
_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
# How a kernel ends whose partner is gone, in JAX's words.
_CONSEQUENCE = re.compile(
    r"\b(gloo|nccl)|coordination ?(service|agent)|heartbeat|killed by signal 6\b"
    r"|did not (meet|answer) at"
    r"|(Jax|Xla)RuntimeError: (UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|CANCELLED)",
    re.IGNORECASE,
)


def _about(runs, project) -> dict:
    """What hosts must have in common to train these runs."""
    keys = cache.Keys(project)
    found = [keys.of(run) for run in runs]
    parts = [name for name in found[0] if name != "sha256"]
    return {
        "version": lamb_keras.__version__,
        "commit": environment.commit(),
        "tables": cache.digest([run.name for run in runs]),
        **{part: cache.digest([key[part] for key in found]) for part in parts},
    }


class _Server(socketserver.ThreadingTCPServer):
    """Answers each connection's one line by `answer`; both are JSON."""

    allow_reuse_address, request_queue_size, daemon_threads = True, 128, True

    def __init__(self, address, answer):
        self.answer = answer
        try:  # at no other address of this machine, if it is one of it
            named = {"type": socket.SOCK_STREAM, "flags": socket.AI_NUMERICHOST}
            [(self.address_family, *_, own), *_] = socket.getaddrinfo(*address, **named)
            super().__init__(own, _Line)
        except OSError:  # a name, or an address that others reach it by
            dual = socket.has_dualstack_ipv6()
            self.address_family = socket.AF_INET6 if dual else socket.AF_INET
            super().__init__(("", address[1]), _Line)

    def handle_error(self, *_):
        """Whoever looks for open ports is told nothing, and so is nobody of it."""


class _Line(socketserver.StreamRequestHandler):
    timeout = SECONDS_TO_ANSWER

    def handle(self):
        told = json.loads(self.rfile.readline(1 << 20))
        self.wfile.write(json.dumps(self.server.answer(told)).encode())


class Leader:
    """Host 0, as the others see it: a context, entered when all have come and agree.

    Attributes:
        hosts: the `Hosts`.
        code: with which the batch ends on all of them.
    """

    def __init__(self, hosts, runs, project):
        self.hosts, self.code, self._about = hosts, 1, _about(runs, project)
        # What all are told: the attempt in progress, whether it is over; at the end
        # the code, or why one was refused.
        self._word = {"batch": uuid.uuid4().hex, "attempt": 0, "job": {}, "over": True}
        # By host: what it said last, and when; how it failed in this attempt.
        self._others, self._heard, self._failures = {}, {}, {}
        self._parted, self._lock = set(), threading.RLock()

    def __enter__(self):
        try:
            self._server = _Server(self.hosts.address, self._answer)
        except OSError as error:
            raise BatchError(
                f"{self.hosts.coordinator} cannot be listened at here, on host 0: "
                f"{error.strerror}"
            ) from None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            self._meet()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, error, _):
        if kind is KeyboardInterrupt:
            self.code = 128 + (error.args or (signal.SIGINT,))[0]
        elif kind:
            self.code = 2
        self._say(over=True, code=self.code)
        until = time.monotonic() + SECONDS_TO_ANSWER
        while {*self._others} - self._parted and time.monotonic() < until:
            time.sleep(SECONDS_BETWEEN_POLLS)
        time.sleep(SECONDS_BETWEEN_POLLS)  # the last answer is on its way
        self._server.shutdown()
        self._server.server_close()

    def _meet(self):
        until = time.monotonic() + joining.SECONDS_TO_MEET
        expected = {*range(1, self.hosts.count)}
        while missing := expected - {*self._others}:
            if refusal := self._word.get("refused"):
                raise BatchError(refusal)
            if time.monotonic() > until:
                missing = ", ".join(map(str, sorted(missing)))
                raise BatchError(
                    f"host {missing} did not come within {joining.SECONDS_TO_MEET} s: "
                    "start the same line on every host"
                )
            time.sleep(SECONDS_BETWEEN_POLLS)

    def _say(self, **words):
        with self._lock:
            self._word = {**self._word, **words}

    def _answer(self, told):
        with self._lock:
            number, batch = told["host"], self._word["batch"]
            if told["batch"] not in (None, batch):
                return {"batch": batch}  # it is of an earlier one, and will see that
            if refusal := self._refusal(told):
                if len(self._others) == self.hosts.count - 1:
                    # All are there, and a newcomer ends nothing.
                    return {**self._word, "refused": refusal}
                self._say(refused=refusal)
            else:
                left = self._others.get(number, told)["leaving"]
                self._others[number], self._heard[number] = told, time.monotonic()
                going = told["leaving"] in _SIGNALS and not left
                if going and "code" not in self._word:
                    # All save, by JAX's word, and this batch ends as that host does.
                    os.kill(os.getpid(), told["leaving"])
            if {"code", "refused"} & {*self._word}:
                self._parted.add(number)
            return self._word

    def _refusal(self, told):
        number = told["host"]
        if told["hosts"] != self.hosts.count:
            return (
                f"host {number} was told of {told['hosts']} hosts and host 0 of "
                f"{self.hosts.count}, expected the same line on every host"
            )
        if self._others.get(number, told)["id"] != told["id"]:
            return f"two hosts are number {number}, expected another --host on each"
        for name, own in self._about.items():
            if told["about"].get(name) != own:
                both = f" ({told['about'].get(name)} and {own})"
                both = both if name in ("version", "commit") else ""
                return (
                    f"host {number} and host 0 differ in {name}{both}, expected the "
                    "same line, code, data and versions on every host"
                )
        return None

    def begin(self, job):
        """The others execute this, too."""
        self._failures = {}
        self._say(job=job, attempt=self._word["attempt"] + 1, over=False)
        for number, failure in self._failed().items():
            raise BatchError(f"host {number}: {failure.reason}; {AGAIN}")

    def is_over(self, ended: Outcome | None) -> bool:
        """Whether the attempt is, that ended so here, or has not: None."""
        if self._failed() or (ended and not ended.is_well):
            return True
        return bool(ended) and not self._missing()

    def end(self, ended: Outcome | None) -> Outcome | None:
        """Ends the attempt on all hosts; returns how, where it ended so here.

        A failure is the one that others followed from, with the name of its host.
        Their kernels have ended then, for they have the devices and the port.
        """
        self._say(over=True)
        if ended is None or ended.how == outcome.TIMED_OUT:
            return ended
        if ended.is_well and not self._failures:
            return ended
        # In the order in which they were heard of.
        found = self._failures | ({0: ended} if ended.reason else {})
        until = time.monotonic() + joining.SECONDS_OF_SILENCE
        while time.monotonic() < until:
            leaving = {n for n, told in self._others.items() if told["leaving"]}
            if not self._missing() - leaving - {*self._failed()}:
                break
            time.sleep(SECONDS_BETWEEN_POLLS)
        found |= self._failed()
        causes = {
            number: failure
            for number, failure in sorted(found.items())
            if failure.reason and not _CONSEQUENCE.search(failure.reason)
        }
        number, (how, reason) = next(iter((causes or found).items()))
        return Outcome(how, f"host {number}: {reason}")

    def _missing(self):
        """The hosts on which the attempt goes on."""
        now = self._word["attempt"]
        return {n for n, told in self._others.items() if told["ended"][0] != now}

    def _failed(self):
        """How others failed in this attempt, by host."""
        for number, told in sorted(self._others.items()):
            attempt, *ended = told["ended"]
            silence = time.monotonic() - self._heard[number]
            if attempt == self._word["attempt"] and not Outcome(*ended).is_well:
                self._failures.setdefault(number, Outcome(*ended))
            elif silence > joining.SECONDS_OF_SILENCE and not told["leaving"]:
                gone = Outcome(outcome.FAILED, "it is gone, or the way to it")
                self._failures.setdefault(number, gone)
        return self._failures


class _Host(machine.Machine):
    """One of the hosts, whose runs are those of all: one at a time."""

    def __init__(self, hosts, runs, project, grace):
        super().__init__(1, runs, project, grace=grace)
        self._variables[joining.VARIABLE] = str(hosts.of_kernels)
        # JAX itself says which devices are a process's.
        self._leases = []


class Pod(_Host):
    """All hosts, seen from the first."""

    def __init__(self, leader, runs, project, grace):
        super().__init__(leader.hosts, runs, project, grace)
        self._leader = leader

    def submit(self, job):
        self._leader.begin(job)
        return super().submit(job)

    def _attempt(self, job, device):
        ended = None
        try:
            result = super()._attempt(job, device, over=self._leader.is_over)
            ended = result.outcome
        finally:
            ended = self._leader.end(ended)
        return result._replace(outcome=ended)


class Follower(_Host):
    """A host that does what the first one says, a context in which it is told."""

    def __init__(self, hosts, runs, project, grace):
        super().__init__(hosts, runs, project, grace)
        self._hosts, self._project = hosts, project
        self._told = {
            "host": hosts.index,
            "hosts": hosts.count,
            "id": uuid.uuid4().hex,
            "batch": None,
            "about": _about(runs, project),
            "ended": [0, outcome.SUCCEEDED, None],
            "leaving": None,
        }
        self._word, self._heard = {"batch": None, "attempt": 0}, time.monotonic()
        self._closed, self._lock = threading.Event(), threading.Lock()

    def follow(self) -> int:
        """Does what host 0 says until its batch ends; returns the exit code of that."""
        self._hosts.wait_for_first()
        with self:
            while "code" not in (word := self._word):
                if "refused" in word:
                    raise BatchError(word["refused"])
                if time.monotonic() - self._heard > joining.SECONDS_OF_SILENCE:
                    raise BatchError(
                        f"host 0 is gone, or the way to {self._hosts.coordinator}; "
                        f"{AGAIN}"
                    )
                if word["attempt"] > self._attempted:
                    self._attempted = word["attempt"]
                    self.submit({**word["job"], "attempt": word["attempt"]})
                time.sleep(SECONDS_BETWEEN_POLLS)
            return word["code"]

    def _say(self, **words):
        with self._lock:
            self._told = {**self._told, **words}

    def __enter__(self):
        self._attempted = 0
        threading.Thread(target=self._talk, daemon=True).start()
        return super().__enter__()

    def __exit__(self, kind, error, traceback):
        if kind is KeyboardInterrupt:
            self._say(leaving=(error.args or (signal.SIGINT,))[0])
            self._talk(once=True)
        super().__exit__(kind, error, traceback)
        self._closed.set()

    def _talk(self, once=False):
        while not self._closed.is_set():
            with contextlib.suppress(OSError, ValueError):
                word = _asked(self._hosts.address, self._told)
                if self._told["batch"] in (None, word["batch"]):
                    self._say(batch=word["batch"])
                    self._word, self._heard = word, time.monotonic()
            if once or self._closed.wait(SECONDS_BETWEEN_WORDS):
                return

    def _attempt(self, job, device):
        number, published = job["attempt"], self.folder / "run.ipynb"
        about = f"attempt {job['number']} at {job['run']}"
        print(f"host {self._hosts.index}: {about}", file=sys.stderr)
        # Of what is kept, host 0 tells the others.
        job = {**job, "root": str(self._root), "trials": None, "seconds": None}
        job["published"] = os.path.relpath(published, self._root)

        def is_over(ended):
            if ended:
                self._say(ended=[number, *ended])
            word = self._word
            return word["attempt"] != number or word["over"]

        try:
            result = super()._attempt(job, device, over=is_over)
        except Exception as error:
            if not self._stopped.is_set():
                reason = outcome.one_line(f"{type(error).__name__}: {error}", 300)
                is_over(Outcome(outcome.FAILED, reason))
            raise
        is_over(result.outcome)
        return result


def _asked(address, told):
    """What the first host answers."""
    with socket.create_connection(address, SECONDS_TO_ANSWER) as connection:
        connection.sendall(f"{json.dumps(told)}\n".encode())
        return json.loads(connection.makefile("rb").read())
