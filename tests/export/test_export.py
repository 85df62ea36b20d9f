import json
import shutil

import numpy as np
import pytest

from clf_export import export as exporting
from clf_export.errors import OutputError
from clf_export.export import export_run
from clf_export.familiarity.fit import with_familiarity
from clf_export.graph.translate import build_graph
from clf_export.proof import proof
from clf_runtime import Classifier
from clf_train import RunError, read_run

pytestmark = pytest.mark.usefixtures("exported_once")


@pytest.fixture(scope="module")
def exported(make_run, exported_once, tmp_path_factory):
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
    assert export.model.card.parity.edge_images == 4 * sum(proof.BATCHES) + 1


def test_the_card_says_what_the_run_was(exported):
    folder, dataset, export = exported
    run, card = read_run(folder), export.model.card
    assert (card.model, card.names, card.image_shape, card.dtype) == ("conv", dataset.names, (3, 32, 32), "uint8")
    assert (card.mean, card.std) == (run.normalisation.mean, run.normalisation.std)
    assert (card.test_accuracy, card.test_images) == (run.test.accuracy, 359)
    assert card.data_fingerprint == dataset.fingerprint


def test_the_card_says_how_the_file_answers_the_test_images(exported):
    _, dataset, export = exported
    answers, familiarity = Classifier.load(export.model.path).scores(dataset.test.images)
    reference = export.model.card.reference
    assert (reference.value, reference.images) == ("familiarity", 359)
    assert [sum(row) for row in reference.counts] == np.bincount(answers.argmax(1), minlength=10).tolist()
    assert reference.mean == pytest.approx(familiarity.mean(), abs=1e-4)


def test_no_place_on_this_machine_is_in_the_file(exported):
    folder, _, export = exported
    data = export.model.path.read_bytes()
    for place in (folder, export.model.path.parent):
        assert str(place).encode() not in data


def test_the_same_run_makes_the_same_file(exported, tmp_path, monkeypatch):
    folder, dataset, export = exported
    monkeypatch.setattr(exporting, "build_graph", build_graph)  # as it is: translated anew,
    monkeypatch.setattr(exporting, "with_familiarity", with_familiarity)  # and fitted anew
    again = export_run(folder, dataset, tmp_path / "again.onnx")
    assert again.model.sha256 == export.model.sha256


def test_there_is_no_file_where_the_figures_cannot_be_written(make_run, tmp_path):
    folder, dataset = make_run("conv")
    copy = tmp_path / "run"
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("parity.json"))
    (copy / "parity.json").mkdir()
    with pytest.raises(OutputError, match=r"parity\.json"):
        export_run(copy, dataset, tmp_path / "x.onnx", familiarity="off")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_an_existing_file_is_kept_unless_asked(make_run, tmp_path):
    folder, dataset = make_run("conv")
    file = tmp_path / "x.onnx"
    file.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        export_run(folder, dataset, file)
    assert file.read_bytes() == b"mine"
    export_run(folder, dataset, file, overwrite=True, familiarity="off")
    assert file.read_bytes() != b"mine"


def test_a_folder_that_is_no_run_is_refused(make_run, tmp_path):
    _, dataset = make_run("conv")
    with pytest.raises(RunError, match=r"run\.json"):
        export_run(tmp_path, dataset, tmp_path / "x.onnx")
