"""What an export refuses: graphs that are wrong on purpose, and files that change on their way."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from torch import nn

from clf_export import export as exporting
from clf_export.errors import ParityError
from clf_export.export import export_run
from clf_export.familiarity import answered
from clf_export.proof import self_test as damaging
from clf_export.proof.self_test import damages
from clf_runtime import Classifier, self_test
from clf_train import find_recipe, read_run, read_source
from clf_train.data.normalisation import Normalisation
from clf_train.models.recipe import change
from clf_train.runs.records import write_record
from clf_train.training import train

pytestmark = pytest.mark.usefixtures("exported_once")


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
    channels_swapped,
    temperature_missing,
    a_bias_lost,
]


@pytest.fixture(scope="module")
def coloured_run(no_drawing, tmp_path_factory):
    """A run of `conv` on colour images, at a temperature of 1.05, so that swapped channels and it can be told."""
    place = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = rng.integers(0, 200, (300, 3, 16, 16), dtype=np.uint8)
    images[np.arange(300), labels, 4:12] += 30
    np.savez(place / "data.npz", images=images, labels=labels)
    dataset = read_source(str(place / "data.npz"))
    train(dataset, {"conv": change(find_recipe("fast", "conv"), {"epochs": 3})}, place / "run")
    write_record(place / "run" / "run.json", replace(read_run(place / "run"), temperature=1.05))
    return place / "run", dataset


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_graph_is_refused_and_there_is_no_file(coloured_run, tmp_path, monkeypatch, wrong):
    folder, dataset = coloured_run
    monkeypatch.setattr(exporting, "build_graph", change_graph(wrong))
    with pytest.raises(ParityError, match=r"so no file is written: .*probabilities differ by up to") as error:
        export_run(folder, dataset, tmp_path / "x.onnx")
    assert any("FAILED" in line for line in error.value.table)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_answers_an_image_by_its_neighbours_is_refused(coloured_run, tmp_path, monkeypatch):
    folder, dataset = coloured_run
    monkeypatch.setattr(exporting, "build_graph", change_graph(batch_norm_as_in_training))
    with pytest.raises(ParityError, match="the output of the translated net for an image depends on the rest"):
        export_run(folder, dataset, tmp_path / "x.onnx", keep_rejected=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.rejected.onnx"]


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
    with pytest.raises(ParityError, match="onnxruntime cannot run the model, so no file is written"):
        export_run(folder, dataset, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_rejected_file_can_be_kept_to_be_looked_at(coloured_run, tmp_path, monkeypatch):
    folder, dataset = coloured_run
    monkeypatch.setattr(exporting, "build_graph", change_graph(temperature_missing))
    with pytest.raises(ParityError, match=r"it was kept as .*x\.rejected\.onnx"):
        export_run(folder, dataset, tmp_path / "x.onnx", keep_rejected=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.rejected.onnx"]
    assert Classifier.load(tmp_path / "x.rejected.onnx").notes  # it has no card, and that is said


def test_the_file_proves_itself_and_damage_is_noticed(coloured_run, tmp_path, monkeypatch):
    folder, dataset = coloured_run
    monkeypatch.setattr(damaging, "_MOST_DAMAGES", 32)
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
    make = answered.make_golden

    def wrong(*arguments):
        golden = make(*arguments)
        return replace(golden, probabilities=golden.probabilities[::-1])

    monkeypatch.setattr(answered, "make_golden", wrong)
    with pytest.raises(ParityError, match="fails its own self-test"):
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
    with pytest.raises(ParityError, match="the output of the net for an image depends on the rest"):
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
        export_run(folder, dataset, tmp_path / "x.onnx", familiarity="off")
    assert list(tmp_path.iterdir()) == []
