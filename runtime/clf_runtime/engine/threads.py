"""Threads for a large batch: how many processors this process may use, and how blocks are distributed."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from clf_runtime.system import processors

_LEAST_BLOCK = 32  # images per block: smaller ones cost more than they save
_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def share(count: int, threads: int, most: int) -> int:
    """The block size, at most `most`, that divides `count` images equally among threads."""
    rounds = -(-count // (threads * most)) or 1
    return min(most, max(_LEAST_BLOCK, -(-count // (threads * rounds))))


def run_blocks(answer: Callable[[slice], np.ndarray], answers: np.ndarray, block: int, threads: int) -> None:
    """Fill `answers` [n, ...] block by block: `answer` computes those of a slice of at most `block` rows.

    Up to `threads` threads work on one block each, so that at most as many blocks are in memory. They live for this
    call only, so that the process may fork between calls. Raises the first exception of `answer`.
    """
    count = len(answers)
    starts = iter(range(0, count, block))
    helpers = min(threads, -(-count // block)) - 1
    lock, failures = threading.Lock(), list[BaseException]()

    def take() -> Iterator[int]:
        while not failures:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            yield start

    def work() -> None:
        try:
            for start in take():
                rows = slice(start, min(start + block, count))
                answers[rows] = answer(rows)
        except BaseException as error:  # KeyboardInterrupt too: it is raised in the calling thread
            failures.append(error)

    others = [threading.Thread(target=work, daemon=True) for _ in range(helpers)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]


def usable_threads(wanted: int) -> int:
    """How many threads run where so many are wanted: no more than processors, and of those all for 0."""
    if wanted == 1:
        return 1
    usable = usable_processors()
    return min(wanted or usable, usable)


def usable_processors() -> int:
    """The number of processors that this process may use, 1 or more.

    The minimum of the machine's processors, the process's affinity (taskset), and the CPU bandwidth of its cgroup and
    all parents, rounded up (`docker run --cpus`, systemd's CPUQuota; version 2 and version 1:
    https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/scheduler/sched-bwc.html).
    """
    return max(1, min([processors(), *_limits()]))


def _limits() -> list[int]:
    limits = []
    for folder in _folders():
        quota = _words(folder / "cpu.max")  # "max 100000" or "150000 100000"
        if not quota:
            quota = [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]  # -1 is no limit
        if len(quota) == 2 and quota[0].isdecimal() and quota[1].isdecimal() and int(quota[1]):
            limits.append(-(-int(quota[0]) // int(quota[1])))
    return limits


def _folders() -> list[Path]:
    """The folders of the process's own cgroups and of their parents in the file system."""
    folders = [_GROUPS, _GROUPS / "cpu"]
    try:
        lines = _OWN_GROUP.read_text("utf-8", "replace").splitlines()
    except OSError:
        return folders
    for line in lines:  # "0::/user.slice/a.scope", or in version 1 "4:cpu,cpuacct:/a"
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "/")
        if controllers == "" or "cpu" in controllers.split(","):
            base = _GROUPS if controllers == "" else _GROUPS / "cpu"
            parts = [part for part in path.split("/") if part not in ("", "..")]
            folders += [base.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    return folders


def _words(file: Path) -> list[str]:
    try:
        return file.read_text("ascii", "replace").split()
    except OSError:
        return []
