"""How many processors this process may use, by its affinity and by the limits of its control groups."""

import os
from pathlib import Path

_GROUPS, _OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_processors() -> int:
    """The number of processors that this process may keep busy, 1 or more.

    The least of: the processors of the machine, those of the process's affinity (taskset), and the bandwidth of its
    control groups and of all above them, rounded up (`docker run --cpus`, systemd's CPUQuota; version 2 and version 1:
    https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/scheduler/sched-bwc.html).
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affinity, *_limits()]))


def _limits() -> list[int]:
    limits = []
    for folder in _folders():
        quota = _read(folder / "cpu.max")  # "max 100000" or "150000 100000"
        if not quota:
            quota = [*_read(folder / "cpu.cfs_quota_us"), *_read(folder / "cpu.cfs_period_us")]  # -1 is no limit
        if len(quota) == 2 and quota[0].isdecimal() and quota[1].isdecimal() and int(quota[1]):
            limits.append(-(-int(quota[0]) // int(quota[1])))
    return limits


def _folders() -> list[Path]:
    """The folders of the process's own control groups and of all above, as the file system shows them."""
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


def _read(file: Path) -> list[str]:
    try:
        return file.read_text("ascii", "replace").split()
    except OSError:
        return []
