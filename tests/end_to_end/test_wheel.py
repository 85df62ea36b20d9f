"""What a user installs: the wheel's contents, and a device's environment made of it."""

import compileall
import json
import subprocess
import sys
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
OWN = "clf_edge-0.1.0.dist-info"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = folder.glob("*.whl")
    return file


def test_its_top_level_names_are_exactly_the_three_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"clf_train", "clf_export", "clf_runtime", OWN}
    assert not [
        name for name in names if name.endswith(("ruff.toml", ".pyc")) or name.split("/")[-1].startswith("test_")
    ]


def test_it_carries_the_model_that_ships(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("clf_runtime/conv.onnx") == (ROOT / "artifacts" / "conv.onnx").read_bytes()
        assert "clf_runtime/py.typed" in archive.namelist()


def test_it_carries_the_templates_of_the_reports_and_the_files_of_the_page(wheel):
    folder = ROOT / "train" / "clf_train" / "report"
    templates = {f"clf_train/report/{file.name}" for file in folder.iterdir() if file.suffix in (".j2", ".css")}
    web = ROOT / "export" / "clf_export" / "delivery" / "web"
    templates |= {f"clf_export/delivery/web/{file.name}" for file in web.iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        assert templates
        assert templates <= set(archive.namelist())


def test_its_extras_and_base_are_the_design_s(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = BytesParser().parsebytes(archive.read(f"{OWN}/METADATA"))
        commands = archive.read(f"{OWN}/entry_points.txt").decode()
    assert set(metadata.get_all("Provides-Extra")) == {
        *("cpu", "gpu", "images", "heic", "hub", "parquet", "ray", "pretrained", "tensorboard", "train", "all")
    }
    base = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    assert sorted(r.split(">")[0].split("<")[0] for r in base) == ["numpy", "typer"]
    for command in (
        "clf-train = clf_train.commands.train:main",
        "clf-export = clf_export.commands.export:main",
        "clf-predict = clf_runtime.commands.predict:program",
        "clf-score = clf_runtime.commands.score:main",
        "clf-eval = clf_runtime.commands.eval:main",
        "clf-bench = clf_runtime.commands.bench:main",
        "clf-doctor = clf_runtime.commands.doctor:main",
    ):
        assert command in commands


def pip(folder, *arguments):
    """Run pip for the environment in a folder."""
    command = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def device(wheel, tmp_path_factory):
    """A virtual environment with the base and [cpu], as a device has it; the versions are the tested ones."""
    folder = tmp_path_factory.mktemp("device") / "venv"
    venv.create(folder)  # without a pip of its own, and with nothing compiled: these take longer than the rest
    options = ["--quiet", "--no-compile", "--constraint", ROOT / "constraints.txt"]
    done = pip(folder, "install", *options, f"{wheel}[cpu]")
    if done.returncode != 0 and any(w in done.stderr for w in ("NewConnectionError", "Name or service", "timed out")):
        pytest.skip("no package index can be reached, so no device's environment can be made")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_device_predicts_right_after_an_install(device, tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((3, 32, 32), np.uint8))
    command = [device / "bin" / "clf-predict", "image.npy", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["provider"] == "CPUExecutionProvider"
    assert 0 < answer["probability"] <= 1


def test_a_device_gets_nothing_but_numpy_onnxruntime_typer_and_what_these_need(device):
    packages = json.loads(pip(device, "list", "--format", "json").stdout)
    installed = {package["name"].lower() for package in packages} - {"clf-edge"}
    of_typer = {"typer", "annotated-doc", "rich", "shellingham", "markdown-it-py", "mdurl", "pygments"}
    of_onnxruntime = {"onnxruntime", "flatbuffers", "packaging", "protobuf"}
    assert installed <= {"numpy"} | of_typer | of_onnxruntime | {
        "coloredlogs",
        "humanfriendly",
        "sympy",
        "mpmath",
        "click",
    }
    assert "torch" not in installed


def test_clf_edge_itself_is_small(device):
    [packages] = device.glob("lib/python*/site-packages")

    def size(*names):
        files = [file for name in names for file in (packages / name).rglob("*") if file.is_file()]
        return sum(file.stat().st_size for file in files), sum(f.stat().st_size for f in files if f.suffix == ".pyc")

    whole, compiled = size("clf_runtime", "clf_train", "clf_export", OWN)
    assert whole - compiled < 7 << 18  # 1.75 MiB: training, export, the scripts of a page, the model that ships
    # What a device runs, with what Python compiles of it; it may leave the rest uncompiled (pip install --no-compile).
    assert compileall.compile_dir(packages / "clf_runtime", quiet=1)
    whole, compiled = size("clf_runtime")
    assert 0 < compiled < whole < 8 << 18  # 2 MiB


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["clf-train"], "clf-train needs"),
        (["clf-export", "run"], "clf-export needs"),
        (["clf-predict", "picture.png"], 'pip install "clf-edge[images]"'),
    ],
)
def test_what_is_not_installed_is_answered_with_the_install_line(device, tmp_path, command, says):
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = subprocess.run([device / "bin" / command[0], *command[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert says in done.stderr
    assert "clf-edge[" in done.stderr
    assert "Traceback" not in done.stderr
