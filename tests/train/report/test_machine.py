import os
import platform

import pytest

from clf_train.report import machine
from clf_train.report.machine import describe_machine, processor_name

X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: Some  CPU @ 2.50GHz\n\nprocessor\t: 1\n"
RASPBERRY = "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd08\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [(X86, "Some CPU @ 2.50GHz"), (RASPBERRY, "Raspberry Pi 4"), ("Hardware\t: BCM2835\n", "BCM2835")],
)
def test_a_processor_is_named_as_its_kind_of_system_names_it(cpuinfo, name):
    assert processor_name(cpuinfo) == name


@pytest.mark.parametrize("cpuinfo", ["", "processor\t: 0\nmodel\t: 85\n", "model name\t:\n"])
def test_a_processor_without_a_name_gives_none(cpuinfo):
    assert processor_name(cpuinfo) == ""


def test_the_machine_is_described():
    facts = describe_machine()
    assert facts["processor"]
    assert 1 <= int(facts["cores"]) <= (os.cpu_count() or 1)
    assert platform.release() in facts["system"]
    assert all(isinstance(fact, str) and "\n" not in fact for fact in facts.values())


def test_the_machine_is_described_without_its_name(monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "secret-host")
    monkeypatch.setattr(platform, "uname", lambda: platform.uname_result("Linux", "secret-host", "6.1", "#1", "x86_64"))
    assert "secret-host" not in str(describe_machine())


def test_what_a_system_does_not_tell_is_left_out(monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "nothing")
    monkeypatch.setattr(os, "sysconf", refuse)
    monkeypatch.setattr(platform, "freedesktop_os_release", refuse)
    monkeypatch.delattr(os, "sched_getaffinity")
    facts = describe_machine()
    assert "memory" not in facts
    assert int(facts["cores"]) >= 1
    assert facts["system"].startswith(platform.system())
