import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clf_train import training
from clf_train.commands.train import main

pytestmark = pytest.mark.usefixtures("no_drawing")


@pytest.fixture
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_both_models_are_trained_compared_and_reported(command, inside):
    ended = command(main, "--epochs", 1)
    assert ended.code == 0
    for text in (
        "simple: test accuracy",
        "conv: test accuracy",
        "recall by class",
        "confusion matrix",
        "most confused",
        "predicted class",
        "the first 10 test images",
        "parameters",
        "828,490",
        "23,998",
    ):
        assert text in ended.out
    assert "359 of 1,797 images are held out" in ended.err
    assert "training conv with recipe fast, changed on cpu" in ended.err
    folder = Path(ended.out.splitlines()[-1].removeprefix("run folder: "))
    assert folder.parent == Path("artifacts")
    assert (folder / "comparison.html").is_file()


def test_out_and_one_model_and_overwrite(command, inside):
    arguments = ("--model", "conv", "--epochs", 1, "--out", "run", "--quiet")
    first = command(main, *arguments)
    assert (first.code, first.err) == (0, "")
    before = (inside / "run" / "run.json").read_text()
    second = command(main, *arguments)
    assert (second.code, second.out, second.err.count("\n")) == (2, "", 1)
    assert "--overwrite" in second.err
    assert (inside / "run" / "run.json").read_text() == before
    assert command(main, *arguments, "--overwrite", "--seed", 7).code == 0
    assert json.loads((inside / "run" / "run.json").read_text())["seed"] == 7


def test_tensorboard_s_events_are_in_the_run_folder(command, inside):
    pytest.importorskip("tensorboard")
    assert command(main, "--model", "conv", "--epochs", 1, "--out", "run", "--tensorboard").code == 0
    assert [p.name.split(".")[0] for p in (inside / "run" / "tensorboard").iterdir()] == ["events"]


def test_flags_of_the_recipe_are_on_or_off(command, inside):
    options = ("--optimizer", "sgd", "--nesterov", "off", "--flip", "on", "--epochs", 1)
    assert command(main, "--model", "conv", *options, "--out", "run").code == 0
    recipe = json.loads((inside / "run" / "run.json").read_text())["recipe"]
    assert (recipe["nesterov"], recipe["flip"], recipe["momentum"]) == (False, True, 0.9)


def test_options_change_the_recipe(command, inside):
    options = {"--optimizer": "adam", "--schedule": "multistep", "--learning-rate": 0.001, "--batch-size": 100}
    command(main, "--model", "simple", "--epochs", 2, "--out", "run", *(x for pair in options.items() for x in pair))
    recipe = json.loads((inside / "run" / "run.json").read_text())["recipe"]
    assert recipe["name"] == "fast, changed"
    assert (recipe["optimizer"], recipe["schedule"], recipe["momentum"]) == ("adam", "multistep", 0)
    assert (recipe["learning_rate"], recipe["batch_size"], recipe["epochs"]) == (0.001, 100, 2)


def test_show_describes_the_source_and_draws_a_sheet_and_trains_nothing(command, inside):
    ended = command(main, "--show")
    assert ended.code == 0
    for text in (
        "scikit-learn's digits",
        "uint8 1438x3x32x32",
        "uint8 359x3x32x32",
        "0..255",
        "fingerprint  3d20283f538b",
    ):
        assert text in ended.out
    assert "    3  3       146        37" in ended.out
    assert [p.name for p in inside.iterdir()] == ["digits-samples.png"]


def test_a_sheet_goes_into_a_folder_or_a_new_file_and_over_no_other(command, inside):
    (inside / "sheets").mkdir()
    assert "sheets/digits-samples.png" in command(main, "--show", "--out", "sheets").out
    (inside / "mine.png").write_text("precious")
    ended = command(main, "--show", "--out", "mine.png")
    assert (ended.code, ended.out) == (2, "")
    assert (inside / "mine.png").read_text() == "precious"
    assert command(main, "--show", "--out", "mine.png", "--overwrite").code == 0


def test_a_source_can_be_used_from_inside_its_folder_again_and_again(command, inside):
    np.savez("train.npz", images=np.zeros((40, 3, 16, 16), np.uint8), labels=np.arange(40) % 2)
    for _ in range(2):
        assert command(main, "--data", ".", "--show").code == 0
        assert command(main, "--data", ".", "--model", "conv", "--epochs", 1).code == 0
    assert sorted(p.name for p in inside.iterdir()) == ["artifacts", f"{inside.name}-samples.png", "train.npz"]


def test_a_net_that_does_not_fit_into_memory_is_one_line_and_leaves_no_folder(command, inside, monkeypatch):
    monkeypatch.setattr(training, "start_net", lambda *_: torch.empty(1 << 50))
    ended = command(main, "--model", "simple", "--out", "run", "--quiet")
    assert (ended.code, ended.err.count("\n"), "not enough memory; smaller images" in ended.err) == (2, 1, True)
    assert list(inside.iterdir()) == []


def test_names_are_taken_and_must_fit(command, inside):
    names = ",".join(f"digit {i}" for i in range(10))
    assert "digit 7" in command(main, "--show", "--names", names).out
    ended = command(main, "--show", "--names", "a,b,c")
    assert ended.code == 2
    assert "labels go up to 9, but there are 3 class names" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nowhere"], "no such file or folder"),
        (["--recipe", "quick"], "seed, fast, best"),
        (["--epochs", "0"], "epochs must be 1"),
        (["--epochs", "many"], "not a valid int"),
        (["--optimizer", "adam", "--momentum", "0.5"], "only sgd and muon have it"),
        (["--show", "--out", "/dev/null"], "exists already"),
        (["--learning-rate", "-1"], "learning rate must be"),
        (["--momentum", "2"], "momentum must be"),
        (["--model", "resnet"], "unknown model 'resnet'"),
        (["--device", "cuda"], "CUDA does not work here"),
        (["--nonsense"], "No such option"),
        (["--model", "conv,conv"], "has a model twice"),
        (["--model", "resnet8", "--recipe", "seed"], "is for simple and conv only"),
        (["--model", "nowhere.nets:tiny"], "nowhere.nets cannot be imported"),
        (["--nesterov", "maybe"], "is not one of"),
        (["--resume", "nowhere"], "no training was stopped there"),
        (["--like", "nowhere"], "no such file or folder"),
        (["--like", "nowhere", "--epochs", "3"], "--epochs cannot be combined with --like"),
        (["--resume", "nowhere", "--out", "x"], "--out cannot be combined with --resume"),
        (["extra"], "unexpected extra argument"),
        (["--out", "/proc/nowhere/run"], "/proc/nowhere/run: cannot be written"),
        (["--out", "/proc/run"], "/proc/run: cannot be written: No such file or directory; choose another --out"),
        (["--out", "/dev/null/run"], "cannot be written: /dev/null is a file, not a folder; choose another --out"),
        (["--out", "/dev/null", "--overwrite"], "is not a run folder"),
        (["--out", "run.partial"], "names in .partial are for running trainings"),
        (["--out", ""], "the argument after --out is empty"),
        (["--data="], "--data is empty"),
        (["--model", ","], "has an empty name"),
        (["--model", "conv,"], "has an empty name"),
        (["--model", "nets.py:tiny"], "write it as nets:tiny"),
        (["--model", ":tiny"], "unknown model"),
        (["--model", "nets:"], "unknown model"),
        (["--shift", "17", "--out", "run"], "shift 17 is more than half the size of the images, 32x32"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(command, inside, arguments, says):
    ended = command(main, *arguments, "--quiet")
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert says in ended.err
    assert list(inside.iterdir()) == []


def test_bfloat16_is_refused_where_nothing_computes_in_it(command, inside, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False}, raising=False)
    ended = command(main, "--precision", "bf16", "--quiet")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "precision bf16 needs CUDA or a processor with AVX512-BF16 or AMX" in ended.err
    assert list(inside.iterdir()) == []


def test_bfloat16_trains_on_a_processor_that_computes_in_it(command, inside, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert command(main, "--precision", "bf16", "--epochs", 1, "--model", "resnet8", "--out", "run").code == 0
    assert json.loads((inside / "run" / "run.json").read_text())["recipe"]["precision"] == "bf16"


def test_a_loss_that_is_lost_leaves_the_last_good_state_or_nothing(command, inside):
    ended = command(main, "--model", "simple", "--learning-rate", 100, "--out", "run", "--quiet")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "choose a lower learning rate" in ended.err
    if "the last good state in" in ended.err:
        assert [p.name for p in inside.iterdir()] == ["run.partial"]
    else:
        assert list(inside.iterdir()) == []


def test_floats_are_trained_as_they_stand_by_the_recipe_seed(command, inside):
    rng = np.random.default_rng(0)
    np.savez("x.npz", images=rng.random((40, 3, 16, 16), dtype=np.float32), labels=np.arange(40) % 2)
    assert (
        command(main, "--data", "x.npz", "--recipe", "seed", "--epochs", 1, "--model", "conv", "--out", "run").code == 0
    )
    run = json.loads((inside / "run" / "run.json").read_text())
    assert run["normalisation"] == {"mean": [0, 0, 0], "std": [1, 1, 1]}
    assert (run["dtype"], run["value_range"], run["names"]) == ("float32", [0, 1], ["0", "1"])


def test_a_run_folder_among_the_images_is_refused_before_anything_is_read(command, inside, write_pictures):
    write_pictures(inside / "data", *(f"{name}/{i}.png" for name in ("red", "blue") for i in range(8)))
    before = sorted(inside.rglob("*"))
    for out in ("data/run", "data", "data/red/run"):
        ended = command(main, "--data", "data", "--model", "simple", "--epochs", 1, "--out", out)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert "choose an --out outside of it" in ended.err
    for out in ("data/red", "data/red/x.png", "data/x.png"):
        assert command(main, "--data", "data", "--show", "--out", out, "--quiet").code == 2
    assert sorted(inside.rglob("*")) == before


def test_a_sheet_s_name_says_whether_it_is_a_file_or_a_folder(command, inside):
    assert "samples      new/digits-samples.png" in command(main, "--show", "--out", "new").out
    (inside / "mine.txt").write_text("precious")
    assert command(main, "--show", "--out", "mine.txt", "--overwrite").code == 2
    assert (inside / "mine.txt").read_text() == "precious"


def test_without_a_terminal_there_is_a_line_an_epoch_unless_quiet(command, inside):
    options = ("--model", "conv", "--epochs", 2, "--overwrite", "--out", "run")
    lines = command(main, *options).err.splitlines()
    assert [line.partition(": loss")[0] for line in lines[-2:]] == [f"clf-train: conv, epoch {n}/2" for n in (1, 2)]
    assert "validation accuracy" in lines[-1]
    assert command(main, *options, "--quiet").err == ""


def test_it_is_said_where_no_image_can_be_held_out(command, inside):
    images = np.zeros((41, 3, 16, 16), np.uint8)
    np.savez("train.npz", images=images, labels=[2] + [0, 1] * 20)
    np.savez("test.npz", images=images, labels=[2] + [0, 1] * 20)
    ended = command(main, "--data", ".", "--model", "conv", "--epochs", 1)
    assert ended.code == 0
    assert "a class has only one training image, so nothing is held out" in ended.err


def test_broken_pictures_are_refused_or_left_out_and_recorded(command, inside, write_pictures):
    write_pictures(inside / "set", *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(8)))
    (inside / "set" / "cat" / "3.png").write_bytes(b"no picture")
    arguments = ("--data", "set", "--model", "simple", "--epochs", 1, "--out", "run")
    ended = command(main, *arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 2)  # what is read, and what is wrong
    assert "cat/3.png" in ended.err
    assert "pass --skip-bad to skip it" in ended.err
    ended = command(main, *arguments, "--skip-bad")
    assert ended.code == 0
    assert "skipped, since it cannot be decoded: 1 picture" in ended.err
    data = json.loads((inside / "run" / "run.json").read_text())["data"]
    assert data["skipped"] == ["set/cat/3.png"]
    assert command(main, "--data", "set", "--like", "run", "--out", "again", "--quiet").code == 0


def test_what_is_doubtful_about_the_images_is_shown(command, inside):
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6), dtype=np.uint8)
    np.savez(inside / "x.npz", x_train=images, y_train=np.arange(40) % 2, x_test=images[:4], y_test=[1, 1, 0, 0])
    ended = command(main, "--data", "x.npz", "--show")
    assert ended.code == 0
    notes = [line for line in ended.out.splitlines() if line.startswith("note  ")]
    assert "4 of 4 test images are also in the training part" in notes[0]
    assert "2 pictures have several labels" in notes[1]
    assert "4 of 4 test images are also in the training part" in ended.err
