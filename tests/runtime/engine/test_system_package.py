"""Where no wheel of onnxruntime exists: what to do there, and Debian's build, which is noisy."""

import os
import platform
import re
import sys
from types import SimpleNamespace

import pytest

from clf_runtime.engine import system_package
from clf_runtime.engine.system_package import has_wheel, how_to_install, without_schema_errors

NOISE = b"Schema error: Trying to register schema with name Abs, but it is already registered\n\n"


@pytest.fixture
def debian(monkeypatch, tmp_path):
    """A system's packages with an onnxruntime, of which no session has been opened yet."""
    packages = tmp_path / "lib" / "python3" / "dist-packages"
    monkeypatch.setattr(system_package, "_PACKAGES", packages)
    monkeypatch.setattr(system_package, "_opened", False)
    (packages / "onnxruntime").mkdir(parents=True)
    return SimpleNamespace(__file__=str(packages / "onnxruntime" / "__init__.py"))


@pytest.mark.parametrize(
    ("machine", "largest", "expected"),
    [("x86_64", 2**63, True), ("arm64", 2**63, True), ("aarch64", 2**31, False), ("riscv64", 2**63, False)],
)
def test_wheels_are_for_64_bit_x86_and_arm(monkeypatch, machine, largest, expected):
    """A 32-bit system on a 64-bit kernel calls its machine aarch64 too."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(sys, "maxsize", largest - 1)
    assert has_wheel() is expected
    assert ("pip install" in how_to_install()) is expected


def test_without_a_wheel_the_system_says_what_to_do(monkeypatch, debian):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert how_to_install().startswith("this system's python3-onnxruntime is only seen by its own Python")
    (system_package._PACKAGES / "onnxruntime").rmdir()
    assert re.search(r"no wheel for riscv64( \(32-bit\))?, but Debian 13", how_to_install())
    assert "--system-site-packages" in how_to_install()


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Debian's Python has it")
def test_only_the_noise_of_the_first_session_is_dropped(debian, capfd):
    with without_schema_errors(debian):
        os.write(2, b"before\n\n" + 2 * NOISE + b"real trouble\n")
    with without_schema_errors(debian):
        os.write(2, NOISE)
    assert capfd.readouterr().err.encode() == b"before\n\nreal trouble\n" + NOISE


def test_other_builds_are_left_alone(debian, capfd):
    with without_schema_errors(
        SimpleNamespace(__file__="/usr/local/lib/python3.13/dist-packages/onnxruntime/__init__.py")
    ):
        os.write(2, NOISE)
    assert capfd.readouterr().err.encode() == NOISE
