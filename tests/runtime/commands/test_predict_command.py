import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import clf_runtime
from clf_runtime.commands.predict import main

RED = np.zeros((3, 8, 8), np.uint8)
RED[0] = 200


@pytest.fixture
def red(tmp_path):
    np.save(tmp_path / "red.npy", RED)
    return tmp_path / "red.npy"


def test_a_line_on_stdout_for_each_image_and_the_provider_on_stderr(command, tiny_file, red):
    ended = command(main, red, "--model", tiny_file)
    assert ended.code == 0
    assert ended.out == f"{red}: red 0.9992\n"
    assert ended.err == "clf-predict: tiny.onnx on CPUExecutionProvider\n"


def test_quiet_leaves_the_result(command, tiny_file, red):
    ended = command(main, red, "--model", tiny_file, "--quiet")
    assert ended.err == ""
    assert ended.out


def test_top_lists_the_likeliest_first_and_no_more_than_there_are(command, tiny_file, red):
    ended = command(main, red, "--model", tiny_file, "--top", 9)
    assert ended.out == f"{red}: red 0.9992  green 0.0004  blue 0.0004\n"


def test_a_batch_is_numbered(command, tiny_file, tmp_path):
    np.save(tmp_path / "x.npy", np.stack([RED, RED[::-1]]))
    ended = command(main, tmp_path / "x.npy", "--model", tiny_file)
    assert [line.split("npy")[1].split(" ")[:2] for line in ended.out.splitlines()] == [
        ["[0]:", "red"],
        ["[1]:", "blue"],
    ]


def test_json_is_one_object_a_line(command, tiny_file, red):
    ended = command(main, red, red, "--model", tiny_file, "--json", "--top", 2)
    first, second = map(json.loads, ended.out.splitlines())
    assert first == second
    assert first["image"] == str(red)
    assert (first["index"], first["class"], first["name"]) == (None, 0, "red")
    assert [t["name"] for t in first["top"]] == ["red", "green"]
    assert len(first["model_sha256"]) == 64
    assert first["provider"] == "CPUExecutionProvider"


def test_pictures_are_scaled_and_classified(command, tiny_file, tmp_path):
    blue = np.zeros((50, 70, 3), np.uint8)
    blue[:, :, 2] = 220
    files = [tmp_path / "b.png", tmp_path / "b.jpg"]
    for file in files:
        Image.fromarray(blue).save(file)
    ended = command(main, *files, "--model", tiny_file)
    assert [line.split(": ")[1][:4] for line in ended.out.splitlines()] == ["blue", "blue"]


def test_bad_images_get_a_line_each_and_the_others_are_done(command, tiny_file, red, tmp_path):
    np.save(tmp_path / "shape.npy", np.zeros((4, 4), np.uint8))
    np.save(tmp_path / "range.npy", RED.astype(np.float32))
    np.save(tmp_path / "nan.npy", np.full((3, 8, 8), np.nan))
    np.save(tmp_path / "pickle.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "short.npy").write_bytes(red.read_bytes()[:-1])
    (tmp_path / "text.npy").write_text("hello")
    bad = [tmp_path / f"{name}.npy" for name in ("shape", "range", "nan", "pickle", "short", "text", "missing")]
    ended = command(main, bad[0], red, *bad[1:], red, "--model", tiny_file, "--quiet")
    assert ended.code == 2
    assert ended.out == f"{red}: red 0.9992\n" * 2
    lines = ended.err.splitlines()
    assert len(lines) == len(bad)
    assert all(line.startswith(f"clf-predict: {file}") for line, file in zip(lines, bad, strict=True))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no image given"),
        (["x.npy", "--nonsense"], "No such option"),
        (["x.npy", "--top", "0"], "0 is not in the range"),
        (["x.npy", "--top", "many"], "not a valid int"),
        (["x.npy", "--device", "gpu"], "unknown device 'gpu'; the installed onnxruntime has auto"),
        (["x.npy", "--model"], "requires an argument"),
        (["x.npy", "--model", "/nowhere/m.onnx"], "cannot be read: No such file"),
        (["x.npy", "--json", "--csv"], "exclude each other"),
        (["--card", "--csv"], "not --csv"),
        (["x.npy", "--csv=yes"], "does not take a value"),
        (["x.npy", "--reject-below", "1.5"], "a probability in 0..1, not 1.5"),
        (["x.npy", "--reject-below", "nan"], "a probability in 0..1, not nan"),
        (["x.npy", "--reject-below", "half"], "not a valid float"),
        (["-", "x.npy", "-"], "only be read once"),
        (["x.npy", "--device", "cuda"], "CUDA does not work here"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(command, arguments, says):
    ended = command(main, *arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert says in ended.err


def test_a_file_that_is_no_model_is_one_line(command, red, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"nonsense")
    ended = command(main, red, "--model", tmp_path / "m.onnx")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)


def test_names_cannot_break_a_line_or_a_terminal(command, tiny_file, tmp_path):
    file = tmp_path / "two\nlines\x1b[31m.npy"
    np.save(file, RED)
    ended = command(main, file, file.with_name("no\nfile.npy"), "--model", tiny_file)
    assert ended.out.count("\n") == 1
    assert "two\\nlines\\x1b[31m.npy" in ended.out
    assert "no\\nfile.npy" in ended.err


def test_without_a_card_the_assumptions_are_said_on_stderr(command, tiny_model, red, tmp_path):
    (tmp_path / "m.onnx").write_bytes(tiny_model(card=None))
    ended = command(main, red, "--model", tmp_path / "m.onnx")
    assert ended.code == 0
    assert "has no card; assuming" in ended.err


def test_version_and_help(command):
    assert command(main, "--version").out == f"clf-edge {clf_runtime.__version__}\n"
    ended = command(main, "--help")
    assert ended.code == 0
    for option in ("--model", "--top", "--json", "--device", "--quiet"):
        assert option in ended.out


def test_a_closed_stream_and_an_ascii_terminal_are_no_tracebacks(tiny_model, red, tmp_path):
    names = ("käfer", "b", "c")
    card = clf_runtime.ModelCard("m", names, (3, 8, 8), "uint8", (0.0, 255.0))
    (tmp_path / "m.onnx").write_bytes(tiny_model(card=card))
    command = f"{sys.executable} -m clf_runtime {red} --model {tmp_path / 'm.onnx'} --json"
    for shell in (command, f"{command} >&-", f"{command} 2>&-", f"PYTHONIOENCODING=ascii {command[:-7]}"):
        done = subprocess.run(shell, shell=True, capture_output=True, text=True)
        assert done.returncode == 0, shell
        assert "Traceback" not in done.stderr
        assert all(line.startswith(("{", str(red))) for line in done.stdout.splitlines())
    assert "k\\xe4fer" in done.stdout


def test_a_pipe_is_refused_and_not_waited_for(command, tiny_file, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    ended = command(main, tmp_path / "fifo", "--model", tiny_file, "--quiet")
    assert ended.code == 2
    assert "not a file" in ended.err


@pytest.fixture
def standard_input(monkeypatch):
    def give(data):
        monkeypatch.setattr("clf_runtime.commands.answers.standard_input", lambda: io.BytesIO(data))

    return give


def test_folders_patterns_npz_and_standard_input_in_their_order(command, tiny_file, red, tmp_path, standard_input):
    np.savez(tmp_path / "set.npz", images=np.stack([RED[::-1], RED]), labels=np.array([2, 0]))
    standard_input(red.read_bytes())
    ended = command(main, tmp_path, "-", f"{tmp_path}/r*.npy", "--model", tiny_file, "--quiet")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"{red}: red 0.9992",
        f"{tmp_path}/set.npz[0]: blue 0.9992",
        f"{tmp_path}/set.npz[1]: red 0.9992",
        "-[0]: red 0.9992",
        f"{red}: red 0.9992",
    ]


def test_paths_on_standard_input(command, tiny_file, red, standard_input):
    standard_input(f"{red}\nnone.npy\n{red}".encode())
    ended = command(main, "-", "--model", tiny_file, "--quiet")
    assert (ended.code, ended.out) == (2, f"{red}: red 0.9992\n" * 2)
    assert ended.err == "clf-predict: none.npy: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_programs_get_a_record_for_each_image_and_people_a_line_for_each_error(command, tiny_file, red, form):
    ended = command(main, red, "none.npy", red, "--model", tiny_file, "--quiet", form)
    assert ended.code == 2
    assert ended.err == "clf-predict: none.npy: cannot be read: No such file or directory\n"
    if form == "--json":
        records = [json.loads(line) for line in ended.out.splitlines()]
    else:
        records = list(csv.DictReader(io.StringIO(ended.out), strict=True))
    assert [record["image"] for record in records] == [str(red), "none.npy", str(red)]
    assert [record["name"] or None for record in records] == ["red", None, "red"]
    assert [bool(record["error"]) for record in records] == [False, True, False]


def test_more_classes_than_there_are_are_those_that_there_are(command, tiny_file, red):
    most = command(main, red, "--model", tiny_file, "--quiet", "--csv", "--top", 10**15)  # columns: a hang, once
    assert most.code == 0
    assert most.out == command(main, red, "--model", tiny_file, "--quiet", "--csv", "--top", 3).out


def test_below_the_probability_that_is_asked_for_an_image_is_unknown(command, tiny_file, red):
    ended = command(main, red, "--model", tiny_file, "--reject-below", 0.9999, "--json")
    record = json.loads(ended.out)
    assert (ended.code, record["class"], record["name"], record["top"][0]["name"]) == (0, None, "unknown", "red")
    assert "not calibrated" in ended.err
    assert command(main, red, "--model", tiny_file, "--reject-below", 0.999, "-q").out == f"{red}: red 0.9992\n"


def test_a_calibrated_card_needs_no_warning(command, tiny_model, red, tmp_path):
    card = clf_runtime.ModelCard("m", ("a", "b", "c"), (3, 8, 8), "uint8", (0.0, 255.0), temperature=1.3)
    (tmp_path / "m.onnx").write_bytes(tiny_model(card=card))
    ended = command(main, red, "--model", tmp_path / "m.onnx", "--reject-below", 0.5)
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "redirection", ["> /dev/full", "2> /dev/full", "2>&-", "| true", "--json | head -1", "2> >(exec 2>&-)", "<&- -"]
)
def test_no_closed_or_full_stream_is_a_traceback_or_hides_an_error(tiny_file, red, redirection):
    shell = f"set -o pipefail; {sys.executable} -m clf_runtime {red} none.npy {red} --model {tiny_file} {redirection}"
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(["bash", "-c", shell], env=buffered, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 2
    if redirection.startswith("2"):
        assert done.stdout == f"{red}: red 0.9992\n" * 2


def test_the_program_ends_at_once_and_all_that_it_printed_is_out(tiny_file, tmp_path):
    np.save(tmp_path / "many.npy", np.zeros((20_000, 3, 8, 8), np.uint8))
    code = (
        "import atexit; atexit.register(print, 'taken down')\n"
        "from clf_runtime.commands.predict import program; program()"
    )
    command = [sys.executable, "-c", code, "--model", tiny_file, "--quiet"]
    ended = subprocess.run([*command, tmp_path / "many.npy"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 20_000)
    assert "taken down" not in ended.stdout
    assert subprocess.run([*command, tmp_path / "none.npy"], capture_output=True).returncode == 2
