import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clf_train import find_recipe, read_run, read_source
from clf_train.errors import RunError
from clf_train.models.recipe import change
from clf_train.report.machine import describe_machine
from clf_train.runs.folder import free_name, new_folder, refuse_early
from clf_train.runs.plan import plan_like
from clf_train.runs.records import write_record
from clf_train.runs.run import find_runs, load_net
from clf_train.training import train


@pytest.fixture(scope="module")
def dataset():
    return read_source("digits")


@pytest.fixture(scope="module")
def made(dataset, no_drawing, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "both"
    recipes = {model: change(find_recipe("fast", model), {"epochs": 1}) for model in ("simple", "conv")}
    return folder, train(dataset, recipes, folder, seed=3)


def test_a_run_comes_back_from_its_folder_as_it_was(made):
    folder, runs = made
    assert find_runs(folder) == [folder / "simple", folder / "conv"]
    assert [read_run(f) for f in find_runs(folder)] == runs
    assert find_runs(folder / "conv") == [folder / "conv"]


def test_a_run_folder_holds_what_the_design_says_and_no_more(made):
    folder, _ = made
    expected = ["confused.png", "confusion.png", "curves.png", "metrics.csv", "reliability.png", "report.html"]
    expected = sorted([*expected, "probe.safetensors", "run.json", "weights.safetensors"])
    assert sorted(p.name for p in (folder / "conv").iterdir()) == expected
    assert sorted(p.name for p in folder.iterdir()) == ["comparison.html", "conv", "simple"]
    assert [p.name for p in folder.parent.iterdir()] == ["both"]


def test_a_run_says_how_it_was_made(made, dataset):
    _, (run, _) = made
    assert (run.model, run.seed, run.recipe.epochs, run.parameters) == ("simple", 3, 1, 828_490)
    assert (run.data.source, run.data.fingerprint) == ("digits", dataset.fingerprint)
    assert (run.data.train_images, run.data.validation_images, run.data.test_images) == (1366, 72, 359)
    assert run.versions["torch"] == torch.__version__
    assert run.machine == describe_machine()
    assert run.test.images == 359
    assert len(run.history) == 1


def test_metrics_csv_has_a_line_an_epoch(made):
    folder, _ = made
    heading, line = (folder / "conv" / "metrics.csv").read_text().splitlines()
    assert heading == "epoch,loss,accuracy,learning_rate,seconds,images_per_second,validation_loss,validation_accuracy"
    assert line.startswith("1,")


def test_the_net_comes_back_with_its_weights(made):
    folder, (_, run) = made
    net = load_net(folder / "conv", run)
    assert not net.training
    assert net.state_dict()["norm2.num_batches_tracked"] == 11


def signed(raw):
    """A record with the checksum of what it now holds."""
    if not isinstance(raw, dict):
        return raw
    content = {name: value for name, value in raw.items() if name != "sha256"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return {**content, "sha256": hashlib.sha256(text.encode()).hexdigest()}


@pytest.fixture
def copy(made, tmp_path):
    source = made[0] / "conv"
    for name in ("run.json", "weights.safetensors", "probe.safetensors"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: [],
        lambda raw: {**raw, "schema": 2},
        lambda raw: {**raw, "machine": {"cores": 2}},
        lambda raw: {**raw, "extra": 1},
        lambda raw: {k: v for k, v in raw.items() if k != "names"},
        lambda raw: {**raw, "model": "resnet"},
        lambda raw: {**raw, "names": [1, 2]},
        lambda raw: {**raw, "image_shape": [3, 32]},
        lambda raw: {**raw, "temperature": "warm"},
        lambda raw: {**raw, "recipe": None},
        lambda raw: {**raw, "recipe": {**raw["recipe"], "epochs": 0}},
        lambda raw: {**raw, "seconds": int("9" * 400)},
        lambda raw: {**raw, "temperature": 0},
        lambda raw: {**raw, "normalisation": {"mean": [0, 0], "std": [1, 1]}},
        lambda raw: {**raw, "normalisation": {"mean": [0, 0, 0], "std": [1, 0, 1]}},
    ],
)
def test_a_damaged_run_json_is_one_clear_error(copy, damage):
    file = copy / "run.json"
    file.write_text(json.dumps(signed(damage(json.loads(file.read_text())))))
    with pytest.raises(RunError, match=r"run\.json: damaged") as error:
        read_run(copy)
    assert "\n" not in str(error.value)
    assert "checksum" not in str(error.value)


def test_a_run_json_that_was_edited_is_refused(copy):
    file = copy / "run.json"
    text = file.read_text()
    for old, new in (('"seed": 3', '"seed": 1'), ('"0",', '"6",'), ('"temperature": 1.0', '"temperature": 1.5')):
        assert text.count(old) >= 1
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(RunError, match=r"run\.json: .*it was modified"):
            read_run(copy)
    record = json.loads(text)
    del record["sha256"]
    file.write_text(json.dumps(record))
    with pytest.raises(RunError, match="checksum"):
        read_run(copy)


def test_a_run_of_before_the_probe_is_read(copy):
    file = copy / "run.json"
    record = json.loads(file.read_text())
    for name in ("sha256", "weights_sha256", "probe_sha256"):
        del record[name]
    for name in ("skipped", "as_before"):
        del record["data"][name]
    file.write_text(json.dumps({**record, "schema": 4}))
    run = read_run(copy)
    assert (run.schema, run.weights_sha256, run.probe_sha256) == (4, None, None)
    assert (run.data.as_before, run.data.skipped) == (True, ())
    (copy / "probe.safetensors").unlink()
    load_net(copy, run)


def test_a_run_of_before_class_weights_had_none(copy):
    file = copy / "run.json"
    record = json.loads(file.read_text())
    del record["recipe"]["class_weights"]
    file.write_text(json.dumps(signed({**record, "schema": 6})))
    assert read_run(copy).recipe.class_weights == "off"


def test_a_run_of_before_validation_parts_reads_its_images_as_it_did(copy):
    file = copy / "run.json"
    record = json.loads(file.read_text())
    for name in ("skipped", "as_before"):
        del record["data"][name]
    file.write_text(json.dumps(signed({**record, "schema": 5})))
    run = read_run(copy)
    assert (run.schema, run.data.as_before) == (5, True)
    assert plan_like([run]).as_before
    file.write_text(json.dumps(signed({**record, "schema": 5, "data": None})))
    with pytest.raises(RunError, match=r"run\.json: damaged.*it names no data"):
        read_run(copy)


def test_the_net_is_held_to_its_weights_and_its_probe(copy, monkeypatch):
    run = read_run(copy)
    for name in ("weights.safetensors", "probe.safetensors"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[:-1] + bytes([data[-1] ^ 0x80]))
        with pytest.raises(RunError, match=rf"{name}: not what the training wrote"):
            load_net(copy, run)
        (copy / name).write_bytes(data)
    load_net(copy, run)
    monkeypatch.setattr("torch.nn.functional.max_pool2d", torch.nn.functional.avg_pool2d)
    with pytest.raises(RunError, match="the weights are those of the training, but conv gives other outputs now"):
        load_net(copy, run)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seconds": float("inf")}, "run.seconds is 'inf'"),
        (
            {"machine": {"processor": "x" * (65 << 20)}},
            "it would be larger than the limit of 64 MiB",
        ),
    ],
)
def test_what_its_own_reader_refuses_is_not_written(made, tmp_path, change, says):
    _, (_, run) = made
    with pytest.raises(RunError, match=r"run\.json: cannot be written: ") as error:
        write_record(tmp_path / "run.json", replace(run, **change))
    assert says in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_no_json_and_a_missing_file_are_clear_errors(copy, tmp_path):
    (copy / "run.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        read_run(copy)
    with pytest.raises(RunError, match=r"is .* a run folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no run folder"):
        find_runs(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"", lambda b: b"\xff" * 100, lambda b: None])
def test_damaged_or_missing_weights_are_a_clear_error(copy, damage):
    run = read_run(copy)
    file = copy / "weights.safetensors"
    data = damage(file.read_bytes())
    file.unlink() if data is None else file.write_bytes(data)
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        load_net(copy, run)


def test_weights_of_another_model_are_refused(copy):
    run = replace(read_run(copy), model="simple")
    with pytest.raises(RunError, match="not the weights of this run"):
        load_net(copy, run)


def interrupted(folder, name):
    """Leave a partial folder that holds a file."""
    work = new_folder(folder)
    file = work.__enter__() / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert not work.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


class TestNewFolder:
    def test_it_appears_whole_or_not_at_all(self, tmp_path):
        folder = tmp_path / "run"
        with new_folder(folder) as partial:
            (partial / "x").write_text("1")
            assert partial == tmp_path / "run.partial"
            assert not folder.exists()
        assert [p.name for p in folder.iterdir()] == ["x"]
        assert [p.name for p in tmp_path.iterdir()] == ["run"]

    def test_nothing_is_left_when_the_work_fails(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "run"):
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []

    def test_an_existing_run_is_kept_unless_asked(self, copy):
        with pytest.raises(RunError, match="--overwrite"), new_folder(copy):
            pass
        assert (copy / "run.json").exists()
        with new_folder(copy, overwrite=True) as partial:
            (partial / "new").write_text("")
        assert [p.name for p in copy.iterdir()] == ["new"]
        assert [p for p in copy.parent.iterdir() if p.suffix in (".old", ".partial")] == []

    def test_the_old_run_is_kept_when_overwriting_fails(self, copy):
        with pytest.raises(RuntimeError), new_folder(copy, overwrite=True):
            raise RuntimeError
        assert (copy / "run.json").exists()

    def test_a_folder_that_is_no_run_is_never_overwritten(self, tmp_path):
        (tmp_path / "home" / "photos").mkdir(parents=True)
        with pytest.raises(RunError, match="not a run folder"), new_folder(tmp_path / "home", overwrite=True):
            pass
        assert (tmp_path / "home" / "photos").exists()

    def test_a_folder_that_holds_runs_and_other_things_is_never_overwritten(self, tmp_path):
        (tmp_path / "home" / "run1").mkdir(parents=True)
        (tmp_path / "home" / "run1" / "run.json").touch()
        for extra in ("thesis.txt", "comparison.html"):
            (tmp_path / "home" / extra).touch()
            with pytest.raises(RunError, match="not a run folder"), new_folder(tmp_path / "home", overwrite=True):
                pass
        (tmp_path / "home" / "thesis.txt").rename(tmp_path / "home" / "run1.onnx")
        with new_folder(tmp_path / "home", overwrite=True):
            pass
        assert list((tmp_path / "home").iterdir()) == []

    def test_a_second_training_is_refused_while_the_first_works(self, tmp_path):
        with new_folder(tmp_path / "run") as partial:
            (partial / "x").write_text("1")
            with pytest.raises(RunError, match="another training is using it"), new_folder(tmp_path / "run"):
                pass
            assert (partial / "x").exists()

    def test_what_a_killed_training_left_is_cleared(self, tmp_path):
        code = (
            "import os; from pathlib import Path; from clf_train.runs.folder import new_folder\n"
            "with new_folder(Path('run')) as p: (p / 'x').mkdir(); os._exit(9)"
        )
        killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
        assert killed.returncode == 9
        assert (tmp_path / "run.partial" / "x").is_dir()
        with new_folder(tmp_path / "run"):
            pass
        assert list((tmp_path / "run").iterdir()) == []
        assert [p.name for p in tmp_path.iterdir()] == ["run"]

    def test_a_state_is_kept_when_the_work_fails_and_not_lost_to_the_next_one(self, tmp_path):
        interrupted(tmp_path / "run", "state.pt")
        (tmp_path / "run.partial" / ".state.pt.7.partial").touch()  # a kill while it was written
        assert (tmp_path / "run.partial" / "state.pt").exists()
        with pytest.raises(RunError, match=r"pass --overwrite, since its plan\.json cannot be read"):
            new_folder(tmp_path / "run").__enter__()
        with new_folder(tmp_path / "run", resume=True) as again:
            assert (again / "state.pt").exists()
        assert [p.name for p in (tmp_path / "run").iterdir()] == ["state.pt"]

    def test_overwrite_gives_a_stopped_training_up(self, tmp_path):
        interrupted(tmp_path / "run", "conv/run.json")
        with new_folder(tmp_path / "run", overwrite=True) as again:
            assert not (again / "conv").exists()

    def test_there_must_be_something_to_go_on_with(self, tmp_path, copy):
        with pytest.raises(RunError, match="no training was stopped there"):
            new_folder(tmp_path / "nowhere", resume=True).__enter__()
        with pytest.raises(RunError, match="is finished"):
            new_folder(copy, resume=True).__enter__()

    def test_a_partial_folder_that_no_training_made_is_never_cleared(self, tmp_path):
        (tmp_path / "run.partial").mkdir()
        (tmp_path / "run.partial" / "precious").touch()
        with pytest.raises(RunError, match="not of a training"), new_folder(tmp_path / "run"):
            pass
        assert (tmp_path / "run.partial" / "precious").exists()

    def test_nobody_else_s_folder_is_touched(self, tmp_path):
        (tmp_path / "run.old").mkdir()
        for overwrite in (False, True):
            with new_folder(tmp_path / "run", overwrite=overwrite) as partial:
                (partial / "run.json").touch()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run.old"]

    def test_a_folder_that_appears_meanwhile_is_kept_and_so_is_the_run(self, tmp_path):
        work = new_folder(tmp_path / "run")
        partial = work.__enter__()
        (partial / "x").touch()
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "precious").touch()
        with pytest.raises(RunError, match=r"the finished run is in .*run\.partial"):
            work.__exit__(None, None, None)
        assert (tmp_path / "run" / "precious").exists()
        assert (tmp_path / "run.partial" / "x").exists()

    def test_the_folder_one_stands_in_can_be_replaced(self, copy, monkeypatch):
        monkeypatch.chdir(copy)
        with new_folder(Path(), overwrite=True) as partial:
            (partial / "new").touch()
        assert [p.name for p in copy.iterdir()] == ["new"]

    def test_a_free_name_is_one_that_nothing_has(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a-2.partial").mkdir()
        assert free_name(tmp_path, "a").name == "a-3"
        assert free_name(tmp_path, "b").name == "b"


@pytest.mark.parametrize("name", ["x.partial", "a\nb", "n" * 248])
def test_a_name_that_no_training_s_folder_can_have_is_refused_at_once(tmp_path, name):
    with pytest.raises(RunError, match="choose a"):
        refuse_early(tmp_path / name, False)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_is_not_too_long_in_the_end(tmp_path):
    with new_folder(tmp_path / ("n" * 247)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 247]
