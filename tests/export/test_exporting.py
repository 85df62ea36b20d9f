import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from torch import nn

from clf_export import exporting, quantize
from clf_export.errors import OutputError, ParityError, QuantisationError
from clf_export.exporting import export_run
from clf_export.golden import damages
from clf_export.places import find_test_images
from clf_runtime import Classifier, self_test
from clf_train import DataError, RunError, find_recipe, read_run, read_source
from clf_train.evaluate import Normalisation
from clf_train.recipe import change
from clf_train.training import train


@pytest.fixture(scope="module")
def exported(make_run, tmp_path_factory):
    folder, dataset = make_run("conv")
    file = tmp_path_factory.mktemp("out") / "conv.onnx"
    return folder, dataset, export_run(folder, dataset, file)


def test_one_file_with_its_card_and_the_figures_in_the_run(exported):
    folder, dataset, export = exported
    assert [p.name for p in export.model.path.parent.iterdir()] == ["conv.onnx"]
    assert export.proof.test.images == len(dataset.test)
    assert export.proof.test.max_difference < 1e-5
    figures = json.loads((folder / "parity.json").read_text())
    assert figures["test"]["max_difference"] == export.proof.test.max_difference
    assert figures["test"]["onnx_accuracy"] == read_run(folder).test.accuracy
    classifier = Classifier.load(export.model.path)
    assert classifier.card == export.model.card
    assert classifier.sha256 == export.model.sha256
    assert export.model.card.parity.max_difference == export.proof.test.max_difference
    assert export.model.card.parity.edge_images == 4 * (1 + 2 + 7 + 256) + 1


def test_the_card_says_what_the_run_was(exported):
    folder, dataset, export = exported
    run, card = read_run(folder), export.model.card
    assert (card.model, card.names, card.image_shape, card.dtype) == ("conv", dataset.names, (3, 32, 32), "uint8")
    assert (card.mean, card.std) == (run.normalisation.mean, run.normalisation.std)
    assert (card.test_accuracy, card.test_images) == (run.test.accuracy, 359)
    assert card.data_fingerprint == dataset.fingerprint


def test_no_place_on_this_machine_is_in_the_file(exported):
    folder, _, export = exported
    data = export.model.path.read_bytes()
    for place in (folder, export.model.path.parent):
        assert str(place).encode() not in data


def test_the_same_run_makes_the_same_file(exported, tmp_path):
    folder, dataset, export = exported
    again = export_run(folder, dataset, tmp_path / "again.onnx")
    assert again.model.sha256 == export.model.sha256


def change_graph(change):
    """Make the export build a graph that `change` has changed."""
    real = exporting.build_graph

    def build(net, normalisation, temperature, image_shape, dtype):
        arguments = {"normalisation": normalisation, "temperature": temperature}
        arguments |= change(net, normalisation) or {}
        return real(net, arguments["normalisation"], arguments["temperature"], image_shape, dtype)

    return build


def mean_off_by_one(net, n):
    return {"normalisation": Normalisation(tuple(m + 1 for m in n.mean), n.std)}


def std_forgotten(net, n):
    return {"normalisation": Normalisation(n.mean, (255.0,) * 3)}


def channels_swapped(net, n):
    net.conv1.weight.data = net.conv1.weight.data.flip(1)


def temperature_missing(net, n):
    return {"temperature": 1.0}


def batch_norm_as_in_training(net, n):
    for norm in (net.norm1, net.norm2):
        norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None


def a_bias_lost(net, n):
    net.fc2.bias.data[2] = 0


WRONG = [
    mean_off_by_one,
    std_forgotten,
    channels_swapped,
    temperature_missing,
    batch_norm_as_in_training,
    a_bias_lost,
]


@pytest.fixture(scope="module")
def coloured_run(tmp_path_factory):
    """A run of `conv` on colour images, at a temperature of 1.05, so that swapped channels and it can be told."""
    place = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = rng.integers(0, 200, (300, 3, 16, 16), dtype=np.uint8)
    images[np.arange(300), labels, 4:12] += 30
    np.savez(place / "data.npz", images=images, labels=labels)
    dataset = read_source(str(place / "data.npz"))
    train(dataset, {"conv": change(find_recipe("fast", "conv"), {"epochs": 3})}, place / "run")
    record = json.loads((place / "run" / "run.json").read_text())
    record["temperature"] = 1.05
    (place / "run" / "run.json").write_text(json.dumps(record))
    return place / "run", dataset


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_graph_is_refused_and_there_is_no_file(coloured_run, tmp_path, monkeypatch, wrong):
    folder, dataset = coloured_run
    monkeypatch.setattr(exporting, "build_graph", change_graph(wrong))
    with pytest.raises(ParityError, match=r"so no file is written: .*the largest difference") as error:
        export_run(folder, dataset, tmp_path / "x.onnx")
    assert any("FAILED" in line for line in error.value.table)
    assert list(tmp_path.iterdir()) == []


def test_the_same_run_without_a_fault_is_written(coloured_run, tmp_path):
    folder, dataset = coloured_run
    export = export_run(folder, dataset, tmp_path / "x.onnx", license="MIT")
    assert export.proof.passed
    assert (export.model.card.temperature, export.model.card.license) == (1.05, "MIT")


def change_model(change):
    real = exporting.build_graph

    def build(*arguments):
        model = real(*arguments)
        change(model)
        return model

    return build


def batch_of_one(model):
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def operator_unknown(model):
    model.graph.node[-1].op_type = "Softmin"


@pytest.mark.parametrize("wrong", [batch_of_one, operator_unknown])
def test_a_graph_that_does_not_run_is_refused(coloured_run, tmp_path, monkeypatch, wrong):
    folder, dataset = coloured_run
    monkeypatch.setattr(exporting, "build_graph", change_model(wrong))
    with pytest.raises(ParityError, match="onnxruntime does not run the model, so no file is written"):
        export_run(folder, dataset, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_rejected_file_can_be_kept_to_be_looked_at(coloured_run, tmp_path, monkeypatch):
    folder, dataset = coloured_run
    monkeypatch.setattr(exporting, "build_graph", change_graph(temperature_missing))
    with pytest.raises(ParityError, match=r"it is kept as .*x\.rejected\.onnx"):
        export_run(folder, dataset, tmp_path / "x.onnx", keep_rejected=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.rejected.onnx"]
    assert Classifier.load(tmp_path / "x.rejected.onnx").notes  # it has no card, and that is said


def test_the_file_proves_itself_and_damage_is_noticed(coloured_run, tmp_path):
    folder, dataset = coloured_run
    export = export_run(folder, dataset, tmp_path / "x.onnx")
    assert self_test(Classifier.load(export.model.path)).passed
    assert len(export.model.card.golden.probabilities) == 8
    assert export.model.damages >= 10
    assert len(export.model.unnoticed) <= 1
    for what, damaged in damages(export.model.path.read_bytes()):
        if "exponent" in what:
            assert not self_test(Classifier(damaged, what)).passed, what


def test_a_file_whose_self_test_fails_is_not_written(coloured_run, tmp_path, monkeypatch):
    folder, dataset = coloured_run
    make = exporting.make_golden

    def wrong(*arguments):
        golden = make(*arguments)
        return replace(golden, probabilities=golden.probabilities[::-1])

    monkeypatch.setattr(exporting, "make_golden", wrong)
    with pytest.raises(ParityError, match="does not pass its own self-test"):
        export_run(folder, dataset, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


class LooksAtTheBatch(nn.Module):
    """Subtracts the mean of the images that came together."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x - x.mean(0, keepdim=True))


def test_a_net_that_answers_an_image_by_its_neighbours_is_refused(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("conv")
    load = exporting.load_net
    monkeypatch.setattr(exporting, "load_net", lambda *a: LooksAtTheBatch(load(*a)).eval())
    with pytest.raises(ParityError, match="test images alone"):
        export_run(folder, dataset, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_on_its_way_to_disk_is_refused(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("conv")

    def damage(model, properties):
        for initializer in model.graph.initializer:
            values = onnx.numpy_helper.to_array(initializer)
            if values.ndim == 4 and values.shape[0] == 16:
                initializer.CopyFrom(onnx.numpy_helper.from_array(-values, initializer.name))

    monkeypatch.setattr(onnx.helper, "set_model_props", damage)
    with pytest.raises(ParityError):
        export_run(folder, dataset, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_file_where_the_figures_cannot_be_written(make_run, tmp_path):
    folder, dataset = make_run("conv")
    copy = tmp_path / "run"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("parity.json"))
    (copy / "parity.json").mkdir()
    with pytest.raises(OutputError, match=r"parity\.json"):
        export_run(copy, dataset, tmp_path / "x.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_an_existing_file_is_kept_unless_asked(make_run, tmp_path):
    folder, dataset = make_run("conv")
    file = tmp_path / "x.onnx"
    file.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        export_run(folder, dataset, file)
    assert file.read_bytes() == b"mine"
    export_run(folder, dataset, file, overwrite=True)
    assert file.read_bytes() != b"mine"


def test_images_are_found_where_the_run_says(make_run):
    folder, dataset = make_run("conv")
    found, other = find_test_images(read_run(folder))
    assert (found.fingerprint, other) == (dataset.fingerprint, None)


def test_images_that_are_gone_or_changed_are_asked_for(make_run, tmp_path):
    folder, _ = make_run("conv", "float32")
    run = read_run(folder)
    source = folder.parent / "digits.npz"
    with np.load(source) as archive:
        images, labels = archive["images"], archive["labels"]
    kept = source.rename(tmp_path / "moved.npz")
    with pytest.raises(DataError, match="pass --data"):
        find_test_images(run)
    np.savez(source, images=images[::-1], labels=labels[::-1])
    with pytest.raises(DataError, match="other images than the run was trained on; pass --data"):
        find_test_images(run)
    found, other = find_test_images(run, str(kept))
    assert (found.fingerprint, other) == (run.data.fingerprint, None)
    _, other = find_test_images(run, str(source))
    assert "other images" in other
    with pytest.raises(DataError, match="the run has float32"):
        find_test_images(run, "digits")
    kept.replace(source)


def test_a_folder_that_is_no_run_is_refused(make_run, tmp_path):
    _, dataset = make_run("conv")
    with pytest.raises(RunError, match=r"run\.json"):
        export_run(tmp_path, dataset, tmp_path / "x.onnx")


@pytest.fixture
def few_settings(monkeypatch):
    """Let the int8 engine try a single setting for each placement, which takes seconds."""
    monkeypatch.setattr(quantize, "_TRIED", (("U8S8 reduced", True, "minmax"),))
    monkeypatch.setattr(quantize, "_SECONDS", 0.02)


def recommend(monkeypatch, *, yes):
    """Make every verdict say that int8 is (or is not) as fast; all else is measured."""
    make = exporting.quantise

    def quantise(*arguments, **options):
        made = make(*arguments, **options)
        assert made.verdict.passed
        return replace(made, verdict=replace(made.verdict, batch_1_ratio=2.0 if yes else 0.5))

    monkeypatch.setattr(exporting, "quantise", quantise)


@pytest.mark.parametrize("mode", ["auto", "require"])
def test_an_int8_file_that_is_recommended_is_written_beside(make_run, tmp_path, monkeypatch, few_settings, mode):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    export = export_run(folder, dataset, tmp_path / "x.onnx", int8=mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.int8.onnx", "x.onnx"]
    small, large = Classifier.load(export.int8.path), Classifier.load(export.model.path)
    assert (small.card.precision, large.card.precision) == ("int8", "float32")
    assert small.card.int8 == large.card.int8
    assert small.card.int8.recommended
    assert export.int8.size < 0.4 * export.model.size
    right = (small.probabilities(dataset.test.images).argmax(1) == dataset.test.labels).mean()
    assert small.card.parity.onnx_accuracy == right
    assert self_test(small).passed
    for what, damaged in damages(export.int8.path.read_bytes()):
        if what not in export.int8.unnoticed:
            assert not self_test(Classifier(damaged, what)).passed


def test_int8_s_golden_cases_allow_what_processors_differ_by_on_these_very_images(
    make_run, tmp_path, monkeypatch, few_settings
):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    seen = []
    monkeypatch.setattr(exporting, "processor_difference", lambda model, images: seen.append(images) or 0.02)
    card = export_run(folder, dataset, tmp_path / "x.onnx", int8="auto").int8.card
    assert card.golden.tolerance == 0.04
    assert seen[0].tobytes() == card.golden.images


def test_where_float32_is_recommended_auto_says_so_and_require_writes_nothing(
    make_run, tmp_path, monkeypatch, few_settings
):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=False)
    (tmp_path / "x.int8.onnx").write_bytes(b"of another export")
    export = export_run(folder, dataset, tmp_path / "x.onnx", int8="auto", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]
    assert export.int8 is None
    assert not export.model.card.int8.recommended
    assert export.model.card.int8.reason.startswith("float32 is recommended: int8 is slower")
    with pytest.raises(QuantisationError, match=r"float32 is recommended.*int8 is required, so no file is written"):
        export_run(folder, dataset, tmp_path / "y.onnx", int8="require")
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


def test_a_net_that_cannot_be_int8_is_said_to_be(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("simple")

    def fail(*arguments, **options):
        raise QuantisationError("the net cannot be made int8: no layer")

    monkeypatch.setattr(exporting, "quantise", fail)
    export = export_run(folder, dataset, tmp_path / "x.onnx", int8="auto")
    assert export.int8_problem == "the net cannot be made int8: no layer"
    assert export.model.card.int8 is None
    with pytest.raises(QuantisationError, match="int8 is required"):
        export_run(folder, dataset, tmp_path / "y.onnx", int8="require")
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


def test_an_int8_file_that_changes_on_its_way_to_the_disk_is_refused(make_run, tmp_path, monkeypatch, few_settings):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    run = exporting.run_onnx
    calls = []

    def answers(model, images):
        calls.append(model)
        return run(model, images) + np.float32(1e-3 * (len(calls) == 2))

    monkeypatch.setattr(exporting, "run_onnx", answers)
    with pytest.raises(ParityError, match="the int8 file answers otherwise"):
        export_run(folder, dataset, tmp_path / "x.onnx", int8="auto")
    assert list(tmp_path.iterdir()) == []


def test_an_int8_file_in_the_way_is_kept_unless_asked(make_run, tmp_path):
    folder, dataset = make_run("simple")
    (tmp_path / "x.int8.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"x\.int8\.onnx: is there already"):
        export_run(folder, dataset, tmp_path / "x.onnx", int8="auto")
    assert [p.name for p in tmp_path.iterdir()] == ["x.int8.onnx"]
