import json
import shutil

import numpy as np
import onnx
import pytest
from torch import nn

from clf_export import exporting
from clf_export.errors import OutputError, ParityError
from clf_export.exporting import export_run, find_test_images
from clf_runtime import Classifier
from clf_train import DataError, RunError, read_run
from clf_train.evaluate import Normalisation


@pytest.fixture(scope="module")
def exported(make_run, tmp_path_factory):
    folder, dataset = make_run("conv")
    file = tmp_path_factory.mktemp("out") / "conv.onnx"
    return folder, dataset, export_run(folder, dataset, file)


def test_one_file_with_its_card_and_the_figures_in_the_run(exported):
    folder, dataset, export = exported
    assert [p.name for p in export.file.parent.iterdir()] == ["conv.onnx"]
    assert export.comparison.images == len(dataset.test)
    assert export.comparison.max_difference < 1e-5
    figures = json.loads((folder / "parity.json").read_text())
    assert figures["max_difference"] == export.comparison.max_difference
    assert figures["onnx_accuracy"] == read_run(folder).test.accuracy
    classifier = Classifier.load(export.file)
    assert classifier.card == export.card
    assert classifier.sha256 == export.sha256
    assert export.card.parity.max_difference == export.comparison.max_difference


def test_the_card_says_what_the_run_was(exported):
    folder, dataset, export = exported
    run, card = read_run(folder), export.card
    assert (card.model, card.names, card.image_shape, card.dtype) == ("conv", dataset.names, (3, 32, 32), "uint8")
    assert (card.mean, card.std) == (run.normalisation.mean, run.normalisation.std)
    assert (card.test_accuracy, card.test_images) == (run.test.accuracy, 359)
    assert card.data_fingerprint == dataset.fingerprint


def test_no_place_on_this_machine_is_in_the_file(exported):
    folder, _, export = exported
    data = export.file.read_bytes()
    for place in (folder, export.file.parent):
        assert str(place).encode() not in data


def test_the_same_run_makes_the_same_file(exported, tmp_path):
    folder, dataset, export = exported
    again = export_run(folder, dataset, tmp_path / "again.onnx")
    assert again.sha256 == export.sha256


def change_graph(change):
    """Make the export build a graph that `change` has changed."""
    real = exporting.build_graph

    def build(net, normalisation, temperature, image_shape, dtype):
        changed = change(net, normalisation)
        return real(net, changed or normalisation, temperature, image_shape, dtype)

    return build


def mean_off_by_one(net, n):
    return Normalisation(tuple(m + 1 for m in n.mean), n.std)


def channels_swapped(net, n):
    net.conv1.weight.data = net.conv1.weight.data.flip(1) + 0.05


def a_weight_lost(net, n):
    net.fc2.bias.data[3] += 1


@pytest.mark.parametrize("change", [mean_off_by_one, channels_swapped, a_weight_lost])
def test_a_wrong_graph_is_refused_and_there_is_no_file(make_run, tmp_path, monkeypatch, change):
    folder, dataset = make_run("conv")
    monkeypatch.setattr(exporting, "build_graph", change_graph(change))
    with pytest.raises(ParityError, match="so no file is written: the largest difference"):
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
    with pytest.raises(ParityError, match="otherwise when it is alone than among others"):
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
