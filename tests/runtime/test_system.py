"""Another system's Python: what Linux has and Windows or macOS lacks is hidden, and everything still answers."""

import ast
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from clf_runtime import system
from clf_runtime.commands.predict import main as predict
from clf_runtime.engine.threads import usable_processors
from clf_runtime.whole_file import whole_file

ROOT = Path(__file__).parents[2]
ONLY_THERE = {"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGKILL", "sched_getaffinity", "sysconf", "fork"}


@pytest.fixture
def windows(monkeypatch):
    """As Python on Windows: these names and modules are not there, nor is /proc."""
    for name in ("sched_getaffinity", "sysconf", "memfd_create", "posix_fallocate", "O_NONBLOCK"):
        monkeypatch.delattr(os, name, raising=False)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM"):
        monkeypatch.delattr(signal, name, raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(system, "_STATUS", Path("/no/such/status"))
    monkeypatch.setattr("clf_runtime.engine.threads._OWN_GROUP", Path("/no/such/group"))
    monkeypatch.setattr(system, "_PAUSES", (0.0,))


def test_only_one_module_asks_for_what_a_system_may_lack():
    found = []
    for file in (file for package in ("runtime", "train", "export") for file in (ROOT / package).rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & ONLY_THERE
        imports = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names} & {"resource", "fcntl"}
        found += [(file.name, name) for name in names | imports]
    assert {file for file, _ in found} == {"system.py"}


@pytest.mark.usefixtures("windows")
def test_what_is_missing_has_an_answer():
    assert system.processors() == usable_processors() == os.cpu_count()
    assert system.physical_memory() == system.UNKNOWN_MEMORY
    assert system.peak_memory() is None
    assert system.signal_named("SIGUSR1") is None
    assert system.signal_named("SIGTERM") == signal.SIGTERM


@pytest.mark.usefixtures("windows")
def test_a_prediction_needs_none_of_it(command, tiny_file, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    ended = command(predict, tmp_path / "x.npy", "--model", tiny_file, "--threads", 0, "--drift-every", 1)
    assert (ended.code, "red" in ended.out) == (0, True)


def test_without_proc_the_memory_is_getrusage_s_in_the_platform_s_unit(monkeypatch):
    exact = system.peak_memory()
    monkeypatch.setattr(system, "_STATUS", Path("/no/such/status"))
    assert system.peak_memory() >= exact // 2
    kib = system.peak_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert system.peak_memory() == kib >> 10


def test_a_process_of_32_bits_cannot_address_more_than_its_pointers(monkeypatch):
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert system.physical_memory() <= 2**31 - 1


def test_a_file_that_is_held_open_is_replaced_when_it_is_let_go(monkeypatch, tmp_path):
    """On Windows the renaming fails as long as another program has the file open."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(system, "_PAUSES", (0.0, 0.0))
    replace, tries = Path.replace, []

    def held(times):
        def instead(self, target):
            tries.append(target)
            if len(tries) <= times:
                raise PermissionError(13, "it is being used by another process", str(self))
            return replace(self, target)

        return instead

    file = tmp_path / "a.txt"
    monkeypatch.setattr(Path, "replace", held(2))
    with whole_file(file) as partial:
        partial.write_text("new")
    assert file.read_text() == "new"
    tries.clear()
    monkeypatch.setattr(Path, "replace", held(9))
    with pytest.raises(PermissionError) as refused, whole_file(file) as partial:
        partial.write_text("newer")
    assert (refused.value.filename, file.read_text(), len(list(tmp_path.iterdir()))) == (str(file), "new", 1)


def test_a_lock_that_is_held_stays_on_windows(monkeypatch, tmp_path):
    def refuse(self, missing_ok=False):
        raise PermissionError(13, "it is being used by another process", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(PermissionError):
        system.remove_file(tmp_path / "lock")
    monkeypatch.setattr(sys, "platform", "win32")
    system.remove_file(tmp_path / "lock")
