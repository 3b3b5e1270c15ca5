"""The processes of a run, wherever they have gone.

Each was started with the run's event file in its environment, by which it is known. A
kernel that is a fork has the environment of its server; it leads a session, in which
its own forks are, too.
"""

import os

import psutil

from lamb_keras.store import events

ROUNDS, SECONDS_TO_DIE = 5, 1


def end(folder, leader=None):
    """Kills what was started with an event file in `folder`, and all that is below it.

    Args:
        folder: of one attempt, or of a batch with all of its attempts.
        leader: the number of a kernel, to be ended with its session; this process is
            left alone.
    """
    # What is killed may have started another in the meantime, so look again; but not
    # for ever, for one that hangs in a system call goes only when that returns.
    for _ in range(ROUNDS):
        found = _members(str(folder), leader)
        for process in found:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if not found:
            return
        psutil.wait_procs(found, timeout=SECONDS_TO_DIE)


def lives(pid):
    """Whether there is such a process, and it does not only wait to be reaped."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _members(folder, leader):
    members, others = {}, {}
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                ours = _is_member(process, folder, leader)
                (members if ours else others)[process.pid] = process
        except (psutil.Error, ProcessLookupError):
            continue  # it has ended, or is none of this user's
    while born := [
        pid for pid, process in others.items() if _parent(process) in members
    ]:
        members |= {pid: others.pop(pid) for pid in born}
    members.pop(os.getpid(), None)
    return list(members.values())


def _is_member(process, folder, leader):
    if leader is not None and (
        process.pid == leader or os.getsid(process.pid) == leader
    ):
        return True
    file = process.environ().get(events.VARIABLE, "")
    return file.startswith(folder + os.sep)


def _parent(process):
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return None
