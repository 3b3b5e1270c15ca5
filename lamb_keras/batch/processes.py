"""The processes of a run: found by session and parentage, wherever they have gone.

The worker of a run leads a session, in which its kernel is, too. What a notebook starts
may lead one of its own; as long as it has a parent it descends from the worker, and if
it loses its parent, Linux makes it a child of the worker, who has asked for that.
"""

import contextlib
import ctypes
import os
import sys

import psutil

CHILD_SUBREAPER = 36
ROUNDS, SECONDS_TO_DIE = 5, 1


def adopt_orphans():
    """Makes this process the parent of what its descendants leave behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)


def end_descendants():
    """Kills whatever descends from this process."""
    _kill(lambda: psutil.Process().children(recursive=True))


class Family:
    """A process that leads a session, its descendants, and their sessions.

    Args:
        pid: of the leader.
        before: when it was there at the latest, in seconds since the epoch; a process
            that was given the same number afterwards is another one.
    """

    def __init__(self, pid, before=None):
        # Just forked, it leads no session yet.
        self._pid, self._sessions = pid, {pid}
        with contextlib.suppress(psutil.NoSuchProcess):
            if before is not None and psutil.Process(pid).create_time() > before:
                self._pid, self._sessions = None, set()

    def watch(self):
        """Takes note of sessions that descendants lead by now; called once a second."""
        self._members()

    def end(self):
        """Kills all of them."""
        _kill(self._members)

    def _members(self):
        members, others = {}, {}
        for process in psutil.process_iter():
            pid = process.pid
            ours = pid == self._pid or _session(pid) in self._sessions
            (members if ours else others)[pid] = process
        while born := [pid for pid, p in others.items() if _parent(p) in members]:
            members |= {pid: others.pop(pid) for pid in born}
        self._sessions |= {_session(pid) for pid in members} & members.keys()
        return list(members.values())


def _parent(process):
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None


def _session(pid):
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _kill(find):
    # What is killed may have started another in the meantime, so look again; but not
    # for ever, for one that hangs in a system call goes only when that returns.
    for _ in range(ROUNDS):
        found = [process for process in find() if _is_running(process)]
        for process in found:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if not found:
            return
        psutil.wait_procs(found, timeout=SECONDS_TO_DIE)


def _is_running(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
