import os

import pytest

from clf_runtime.engine import threads


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A file system of control groups, and a machine of eight processors that are all allowed."""
    root, own = tmp_path / "cgroup", tmp_path / "own"
    root.mkdir()
    monkeypatch.setattr(threads, "_GROUPS", root)
    monkeypatch.setattr(threads, "_OWN_GROUP", own)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))

    def make(lines="", **files):
        own.write_text(lines)
        for name, text in files.items():
            path = root.joinpath(*name.split("__"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(path.name.replace("cpu_", "cpu.")).write_text(text)

    return make


def test_without_limits_it_is_the_affinity(groups):
    assert threads.usable_processors() == 8
    groups("0::/a\n", a__cpu_max="max 100000\n")
    assert threads.usable_processors() == 8


@pytest.mark.parametrize(("quota", "count"), [("100000", 1), ("150000", 2), ("10000", 1), ("2000000", 8), ("0", 1)])
def test_a_bandwidth_is_rounded_up(groups, quota, count):
    groups("0::/a\n", a__cpu_max=f"{quota} 100000\n")
    assert threads.usable_processors() == count


def test_the_least_of_all_groups_above_counts(groups):
    groups("0::/a/b/c\n", a__cpu_max="300000 100000", a__b__cpu_max="max 100000", a__b__c__cpu_max="400000 100000")
    assert threads.usable_processors() == 3


def test_in_a_container_the_root_has_the_limit(groups):
    groups("0::/\n", cpu_max="200000 100000")
    assert threads.usable_processors() == 2


def test_version_1(groups):
    groups("5:cpu,cpuacct:/a\n4:memory:/z\n", cpu__a__cpu_cfs_quota_us="200000", cpu__a__cpu_cfs_period_us="100000")
    assert threads.usable_processors() == 2
    groups("5:cpu,cpuacct:/a\n", cpu__a__cpu_cfs_quota_us="-1")
    assert threads.usable_processors() == 8


@pytest.mark.parametrize("text", ["", "x", "x y", "1", "100000 0", "-1 100000"])
def test_what_cannot_be_read_is_no_limit(groups, text):
    groups("0::/a\nnonsense\n::\n", a__cpu_max=text)
    assert threads.usable_processors() == 8


def test_this_machine_has_at_least_one():
    assert 1 <= threads.usable_processors() <= (os.cpu_count() or 1)
