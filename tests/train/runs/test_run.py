import hashlib
import json
from dataclasses import replace

import pytest
import torch

from clf_runtime.model.geometry import UNSTATED
from clf_train import find_recipe, read_run, read_source
from clf_train.errors import RunError
from clf_train.models.recipe import change
from clf_train.report.machine import describe_machine
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
    pictures = [f"{name}.png" for name in ("confused", "confusion", "curves", "explained", "reliability")]
    expected = sorted([*pictures, "metrics.csv", "report.html", "probe.safetensors", "run.json", "weights.safetensors"])
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
    assert net.state_dict()["norm2.num_batches_tracked"] == 6


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


def test_a_run_of_before_validation_parts_reads_its_images_as_it_did(copy):
    file = copy / "run.json"
    record = json.loads(file.read_text())
    for name in ("skipped", "as_before", "remarks"):
        del record["data"][name]
    for name in ("geometry", "pretrained", "init", "head", "folds", "suspects"):
        del record[name]
    for name in ("class_weights", "fit_head"):
        del record["recipe"][name]
    file.write_text(json.dumps(signed({**record, "schema": 5})))
    run = read_run(copy)
    assert (run.schema, run.data.as_before, run.geometry, run.folds) == (5, True, UNSTATED, None)
    assert (run.recipe.class_weights, run.recipe.fit_head) == ("off", False)
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
    with pytest.raises(RunError, match="no such file or folder"):
        find_runs(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no run folder"):
        find_runs(copy / "run.json")


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


def test_a_run_from_before_a_field_of_the_recipe_is_read_with_its_usual_value(copy):
    raw = json.loads((copy / "run.json").read_text())
    for field in ("whiten", "bias_share"):
        del raw["recipe"][field]
    (copy / "run.json").write_text(json.dumps(signed({**raw, "schema": 7})))
    run = read_run(copy)
    assert (run.recipe.whiten, run.recipe.bias_share) == (False, 0.1)
    assert load_net(copy, run) is not None
