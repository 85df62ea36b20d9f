"""Models on the Hugging Face Hub, fetched from a local server that stands for it."""

import errno
import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from clf_runtime import Classifier
from clf_runtime.commands.bench import main as bench
from clf_runtime.commands.doctor import main as doctor
from clf_runtime.commands.eval import main as evaluate
from clf_runtime.commands.predict import main as predict
from clf_runtime.diagnostics import bench as benching
from clf_runtime.diagnostics import doctor as doctoring
from clf_runtime.diagnostics.subprocesses import Ended
from clf_runtime.errors import ModelError
from clf_runtime.model.file import find_model


def found(address):
    notes = []
    return find_model(address, notes.append), notes


def test_telemetry_is_off_in_a_process_of_ours():
    pytest.importorskip("huggingface_hub", reason='models on the Hub need huggingface_hub: pip install "clf-edge[hub]"')
    code = (
        "from clf_runtime.model.hub import _import, parse_address; hub = _import(parse_address('hf://a/b')); "
        "print(hub.constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_only_the_model_is_fetched_once_and_nothing_is_told(hub, tmp_path):
    path, notes = found("hf://owner/name")
    assert path.read_bytes() == hub.commits[hub.first]["model.onnx"]
    assert notes == [f"hf://owner/name: model.onnx of commit {hub.first[:12]}"]
    assert found("hf://owner/name@v1/model.onnx")[0] == path
    assert found(f"hf://owner/name@{hub.first}/model.onnx") == (path, [])
    listing = "/api/models/owner/name"
    file = "/owner/name/resolve/{}/model.onnx"
    assert hub.asked == [
        *(f"GET {listing}", f"HEAD {file.format('main')}", f"GET {file.format('main')}"),
        *(f"GET {listing}/revision/v1", f"HEAD {file.format('v1')}"),
    ]
    assert [f.name for f in (tmp_path / "cache").rglob("snapshots/*/*")] == ["model.onnx"]
    assert not any(word in str(hub.agents) for word in ("torch", "agent", "numpy"))


def test_a_new_commit_is_noticed_and_an_old_one_can_be_pinned(hub, tiny_model):
    found("hf://owner/name")
    second = "2" * 40
    hub.commits[second], hub.main = {"model.onnx": tiny_model(size=(9, 9))}, second
    assert found("hf://owner/name")[0].read_bytes() == tiny_model(size=(9, 9))
    assert found("hf://owner/name@v1")[0].read_bytes() == tiny_model()


@pytest.mark.parametrize(
    ("file", "address", "message"),
    [
        (None, "hf://owner/name", "the repository has no .onnx file"),
        ("b/other.onnx", "hf://owner/name", "has 2 .onnx files: name one.*it has b/other.onnx, model.onnx"),
        ("b/other.onnx", "hf://owner/name/c.onnx", "has no such file .it has b/other.onnx, model.onnx"),
        ("../x.onnx", "hf://owner/name", "its file .* has a name that is not accepted"),
    ],
)
def test_a_repository_with_none_or_several_is_refused(hub, file, address, message):
    files = hub.commits[hub.first]
    if file is None or ".." in file:
        del files["model.onnx"]
    if file:
        files[file] = b"x"
    with pytest.raises(ModelError, match=message):
        found(address)
    assert [line for line in hub.asked if line.startswith("HEAD")] == []


@pytest.mark.parametrize("size", [0, (512 << 20) + 1, None, "12"])
def test_a_file_that_is_too_large_is_not_fetched(hub, size):
    hub.sizes["model.onnx"] = size
    with pytest.raises(ModelError, match=r"hf://owner/name/model.onnx: .* the limit for models is 512 MiB"):
        found("hf://owner/name")
    assert len(hub.asked) == 1


@pytest.mark.parametrize(
    ("address", "failing", "message"),
    [
        ("hf://owner/other", None, "no such repository on .*, or it is private.*hf auth login"),
        ("hf://owner/name@v9", None, "no such revision"),
        ("hf://owner/name", (401, ""), "no such repository on .*, or it is private|needs a login"),
        ("hf://owner/name", (403, "GatedRepo"), "access is restricted: ask for it"),
        ("hf://owner/name", (403, ""), "status 403: it needs a login"),
        ("hf://owner/name", (418, ""), "status 418$"),
        ("hf://owner/name", (503, ""), "answers with status 503, and it is not cached$"),
        ("hf://owner/name", (429, ""), "answers with status 429, and it is not cached$"),
    ],
)
def test_what_the_hub_refuses_is_one_line(hub, command, address, failing, message):
    hub.failing = failing
    ended = command(predict, "--model", address, "--card")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert re.search(message, ended.err.strip()), ended.err


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b"{}", b'{"id": "a", "siblings": [7]}', b"\xff"])
def test_an_answer_that_is_not_the_hub_s_is_one_line(hub, command, body):
    hub.body = body
    ended = command(predict, "--model", "hf://owner/name", "--card")
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert re.search("gives no proper answer|no .onnx file", ended.err)


@pytest.mark.parametrize("how", ["no network", "offline", "5xx"])
def test_without_the_hub_a_cached_revision_is_used_and_said(hub, unreachable, monkeypatch, command, how, tmp_path):
    from huggingface_hub import constants

    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    assert command(predict, tmp_path / "x.npy", "--model", "hf://owner/name@v1").code == 0
    if how == "5xx":
        hub.failing = (500, "")
    elif how == "no network":
        unreachable()
    else:
        unreachable()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for address in ("hf://owner/name@v1", "hf://owner/name@v1/model.onnx"):
        ended = command(predict, tmp_path / "x.npy", "--model", address)
        assert (ended.code, ended.out.count("\n")) == (0, 1)
        assert f"the cached model.onnx of commit {hub.first[:12]} is used" in ended.err
        why = {"no network": "cannot be reached", "offline": "HF_HUB_OFFLINE is set", "5xx": "answers with status 500"}
        assert why[how] in ended.err
    assert Classifier.load("hf://owner/name@v1").notes[0].endswith("is used")
    for address in ("hf://owner/name", "hf://owner/name@v1/other.onnx", "hf://owner/other"):
        ended = command(predict, "--model", address, "--card")
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "not cached" in ended.err


def test_another_sha256_is_refused(hub, command):
    right = sha256(hub.commits[hub.first]["model.onnx"]).hexdigest()
    assert command(predict, "--model", "hf://owner/name", "--sha256", right, "--card").code == 0
    ended = command(predict, "--model", "hf://owner/name", "--sha256", "0" * 64, "--card", "--quiet")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert f"another file than requested: its SHA-256 is {right}" in ended.err


def test_a_file_cut_short_on_its_way_is_refused(hub, tmp_path):
    whole = hub.answer

    def cut(method, path):
        status, headers, body = whole(method, path)
        return (status, headers, body[:-5]) if method == "GET" and "resolve" in path else (status, headers, body)

    hub.answer = cut
    with pytest.raises(ModelError, match=r"hf://owner/name/model\.onnx: "):
        found("hf://owner/name")
    assert list((tmp_path / "cache").rglob("*.onnx")) == []


def test_a_hub_that_lists_a_file_and_does_not_give_it_is_one_line(hub, tmp_path):
    """In a process that is new: the library sets the level of its messages, one for each attempt, when imported."""
    from huggingface_hub import constants

    whole = hub.answer
    hub.answer = lambda method, path: (503, {}, b"") if "resolve" in path else whole(method, path)
    code = "import time; time.sleep = id; from clf_runtime.commands.predict import main; main()"
    arguments = [sys.executable, "-c", code, "--model", "hf://owner/name", "--card"]
    environment = {**os.environ, "HF_ENDPOINT": constants.ENDPOINT, "HF_HOME": str(tmp_path / "home")}
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "and it is not cached" in ended.stderr


def test_a_full_disk_is_one_line(hub, command, monkeypatch):
    import huggingface_hub

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", full)
    ended = command(predict, "--model", "hf://owner/name", "--card")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "cannot be written to the cache" in ended.err
    assert "No space left on device" in ended.err


def test_every_command_takes_an_address(hub, command, tmp_path, monkeypatch):
    images = np.eye(3, dtype=np.uint8)[:, :, None, None].repeat(8, 2).repeat(8, 3) * 255
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(3), names=np.array(["red", "green", "blue"]))
    ended = command(evaluate, "hf://owner/name", tmp_path / "d.npz", "--json")
    assert (ended.code, json.loads(ended.out)["accuracy"]) == (0, 1.0), ended.err
    assert f"model.onnx of commit {hub.first[:12]}" in ended.err
    monkeypatch.setattr(benching, "COLD_STARTS", 1)
    ended = command(bench, "hf://owner/name", "--seconds", "0.1", "--quiet", "--json")
    assert (ended.code, Path(json.loads(ended.out)["model"]).name) == (0, "model.onnx"), ended.err
    monkeypatch.setattr(doctoring, "run_python", lambda arguments, seconds: Ended(1, "", "no child is started"))
    checks = json.loads(command(doctor, "hf://owner/name", "--json").out)["checks"][-2:]
    assert [(check["name"], check["text"].rpartition("; ")[2]) for check in checks] == [
        ("hub", f"hf://owner/name: model.onnx of commit {hub.first[:12]}"),
        ("model", "not tried"),
    ]
    checks = json.loads(command(doctor, "hf://owner/other", "--json").out)["checks"]
    assert checks[-1]["status"] == "problem"
    assert "no such repository" in checks[-1]["text"]
