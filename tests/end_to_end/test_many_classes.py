"""More classes than have a confusion matrix, from the images to the device: nothing on the way goes by their square."""

import json

import numpy as np
import pytest

from clf_export.export import export_run
from clf_runtime import Classifier
from clf_runtime.commands.eval import main as eval_main
from clf_runtime.evaluation.scores import MAX_CONFUSION
from clf_train import find_recipe, read_run, read_source
from clf_train.evaluation.metrics import measure, most_confused
from clf_train.models.recipe import change
from clf_train.report.page import comparison_page
from clf_train.report.text import text_report
from clf_train.training import train

CLASSES = MAX_CONFUSION + 1


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 2)
    images = rng.integers(0, 256, (len(labels), 3, 8, 8), np.uint8)
    names = np.array([f"class {i}" for i in range(CLASSES)])
    np.savez(folder / "train.npz", images=images, labels=labels, names=names)
    np.savez(folder / "test.npz", images=images[:60], labels=labels[:60], names=names)
    dataset = read_source(folder)
    run_folder = folder.parent / "run"
    [run] = train(dataset, {"simple": change(find_recipe("fast", "simple"), {"epochs": 1})}, run_folder)
    return folder, dataset, run_folder, run


def test_what_the_test_part_lacks_is_told_in_a_line(made):
    _, dataset, _, _ = made
    [note] = dataset.notes
    assert note.endswith("class 49, and of 951 other classes")
    assert len(note) < 400


def test_a_run_is_read_back_and_told_in_few_lines(made):
    _, _, run_folder, run = made
    assert read_run(run_folder) == run
    assert run.test.confusion is None
    assert (run_folder / "run.json").stat().st_size < 200_000
    lines = text_report(run)
    assert len(lines) < 40
    assert lines[2] == "lowest recall of 1,001 classes"
    assert not any("confusion" in line or "no image was misclassified" in line for line in lines)


def test_the_pages_show_the_worst_classes(made):
    _, _, run_folder, run = made
    page = (run_folder / "report.html").read_text("utf-8")
    assert "The 100 classes of the lowest recall of simple, of 1,001." in page
    assert "Confusion matrix" not in page
    assert page.count("<tr>") < 200
    (run_folder / "simple").symlink_to(run_folder)
    assert comparison_page([run, run], run_folder).count("of the lowest recall") == 3
    (run_folder / "simple").unlink()


@pytest.mark.usefixtures("quick_exports")
def test_the_file_answers_on_a_device(made, command, tmp_path):
    folder, dataset, run_folder, run = made
    export = export_run(run_folder, dataset, tmp_path / "m.onnx", familiarity="off")
    classifier = Classifier.load(tmp_path / "m.onnx")
    assert classifier.card == export.model.card
    assert len(classifier.card.names) == CLASSES
    assert len(classifier.predict(dataset.test.images[0], distribution=True).distribution) == CLASSES
    ended = command(eval_main, tmp_path / "m.onnx", folder, "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert (record["agreement"], record["accuracy"]) == ("equal", run.test.accuracy)
    assert record["confusion"] is None


def test_twenty_thousand_classes_are_measured_without_their_square():
    probabilities = np.full((30, 20_000), 1 / 20_000, np.float32)
    metrics = measure(probabilities, np.arange(30))
    assert metrics.confusion is None
    assert metrics.class_accuracy[:3] == (1.0, 0.0, 0.0)
    assert metrics.class_accuracy[30] is None
    assert most_confused(metrics, [str(i) for i in range(20_000)]) == []
