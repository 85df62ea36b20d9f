"""Few images without a test part: measured in folds, exported, and never said to be tested on what trained it."""

import json

import numpy as np
import pytest

from clf_export.commands.export import main as export
from clf_runtime.commands.eval import main as evaluate
from clf_runtime.commands.predict import main as predict
from clf_runtime.monitoring import reference
from clf_train.commands.train import main as train
from clf_train.runs.run import read_run


@pytest.mark.usefixtures("quick_exports")
def test_no_accuracy_on_its_training_images_is_claimed_of_a_net(command, tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "LEAST_IMAGES", 10)
    random, labels, data = np.random.default_rng(0), np.arange(60) % 3, tmp_path / "all.npz"
    images = random.integers(0, 200, (60, 3, 16, 16), dtype=np.uint8)
    images[np.arange(60), labels] += 30
    np.savez(data, images=images, labels=labels)
    folder, model = tmp_path / "run", tmp_path / "run.onnx"
    trained = command(train, "--data", data, "--model", "conv", "--epochs", 6, "--folds", 3, "--out", folder)
    assert trained.code == 0, trained.err
    run = read_run(folder)
    assert (run.test.images, run.data.train_images, run.data.test_images, run.data.validation_images) == (60, 60, 0, 0)
    assert (run.folds.images, run.folds.stands_in, run.has_test) == ((20, 20, 20), True, False)
    assert run.test.accuracy == run.folds.accuracy == pytest.approx(run.folds.mean)
    assert 1 <= len(run.history) <= 6
    assert run.temperature != 1
    assert f"conv: accuracy {100 * run.test.accuracy:.2f} % (" in trained.out
    assert "each of these images was predicted by one of 3 nets that had not seen it" in trained.out
    assert "test accuracy" not in trained.out + (folder / "report.html").read_text()
    assert not list(folder.glob("fold-*"))
    assert run.suspects.images == 60
    assert "Labels that may be wrong" in (folder / "report.html").read_text()

    exported = command(export, folder, "--quiet")
    assert exported.code == 0, exported.err
    assert ("accuracy, " in exported.out, "accuracy in 3 folds" in exported.out) == (False, True)
    card = json.loads(command(predict, "--card", "--json", "--model", model).out)
    assert (card["test_images"], card["test_accuracy"], card["parity_is_of_training"]) == (0, None, True)
    assert (card["fold_count"], card["fold_images"], card["fold_accuracy"]) == (3, 60, run.folds.accuracy)
    assert card["reference"] is None
    text = command(predict, "--card", "--model", model).out
    assert "proven on the 60 images that it was trained on" in text
    found = command(evaluate, model, data)
    assert (found.code, "all of which trained it" in found.out) == (0, True)
    assert "if these are among them, their accuracy says nothing of others" in found.err
