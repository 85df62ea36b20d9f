"""From labelled images to a prediction by the commands alone, and the proof that ONNX and PyTorch agree."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from blank_pictures import blank_pictures

from clf_export.commands.export import main as export
from clf_runtime import Classifier
from clf_train import Dataset, read_run, read_source
from clf_train.commands.train import main as train
from clf_train.evaluation.inference import probabilities
from clf_train.runs.run import load_net

MAINS = {"clf_train": train, "clf_export": export}


@dataclass(frozen=True)
class Way:
    """What the commands left: the source that they were given, the models, and the folder with runs and files."""

    dataset: Dataset
    models: tuple[str, ...]
    folder: Path
    trained: str
    exported: str


def run(*arguments, cwd):
    """Run a module's command as a user does; returns (stdout, stderr). It must end well."""
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def run_here(module, *arguments, cwd):
    """Run a module's command in this process, which has loaded PyTorch already; returns stdout. It must end well."""
    out = io.StringIO()
    with blank_pictures(), pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [module, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            MAINS[module]()
    assert not ended.value.code
    return out.getvalue()


@pytest.fixture(scope="module", params=["uint8", "float32"])
def way(request, tmp_path_factory):
    """Both models, trained on the embedded digits as they are, and as the user's four float tensors.

    Of the first, conv is exported, by a process; of the second, both are.
    """
    folder = tmp_path_factory.mktemp("way")
    source = "digits"
    if request.param == "float32":
        digits = read_source("digits")
        source = folder / "tensors"
        source.mkdir()
        for name, split in (("train", digits.train), ("test", digits.test)):
            torch.save(torch.from_numpy(split.images).float() / 255, source / f"{name}_data_2")
            torch.save(torch.from_numpy(split.labels).to(torch.uint8), source / f"{name}_labels_2")
    trained = run_here("clf_train", "--data", source, "--epochs", 2, "--out", "run", cwd=folder)
    if request.param == "uint8":
        exported, _ = run("clf_export", "run/conv", "--familiarity", "off", cwd=folder)
    else:
        exported = run_here("clf_export", "run", "--familiarity", "off", cwd=folder)
    models = ("conv",) if request.param == "uint8" else ("simple", "conv")
    return Way(read_source(source), models, folder / "run", trained, exported)


def reference(way, model):
    run = read_run(way.folder / model)
    net = load_net(way.folder / model, run)
    return probabilities(net, way.dataset.test.images, run.normalisation, torch.device("cpu"), run.temperature)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_every_prediction_is_pytorch_s_in_batches_of(way, batch):
    for model in way.models:
        expected = reference(way, model)
        classifier = Classifier.load(way.folder / f"{model}.onnx")
        images = way.dataset.test.images
        predictions = []
        for i in range(0, len(images), batch):
            predictions += classifier.predict_batch(images[i : i + batch], distribution=True)
        answers = np.stack([p.distribution for p in predictions])
        np.testing.assert_allclose(answers, expected, atol=1e-5)
        assert [p.index for p in predictions] == expected.argmax(1).tolist()


def test_test_accuracy_is_the_same_in_training_export_and_on_the_device(way):
    for model in way.models:
        labels = way.dataset.test.labels
        predictions = Classifier.load(way.folder / f"{model}.onnx").predict_batch(way.dataset.test.images)
        on_device = float(np.mean([p.index == label for p, label in zip(predictions, labels, strict=True)]))
        trained = read_run(way.folder / model).test.accuracy
        figures = json.loads((way.folder / model / "parity.json").read_text())["test"]
        assert trained == on_device == figures["onnx_accuracy"] == figures["torch_accuracy"]
        assert f"{model}: test accuracy {100 * trained:.2f} %" in way.trained
        assert f"accuracy, onnxruntime            {100 * trained:.2f} %" in way.exported
        assert trained > 0.5  # chance is 0.1


def test_the_device_command_names_the_class(way):
    image, label = way.dataset.test.images[0], way.dataset.test.labels[0]
    np.save(way.folder / "chw.npy", image)
    np.save(way.folder / "hwc.npy", image.transpose(1, 2, 0))
    out, err = run("clf_runtime", "chw.npy", "hwc.npy", "--model", "conv.onnx", "--json", cwd=way.folder)
    answers = [json.loads(line) for line in out.splitlines()]
    assert [a["name"] for a in answers] == [str(label)] * 2
    assert answers[0]["probability"] == answers[1]["probability"]
    assert err == "clf-predict: conv.onnx on CPUExecutionProvider\n"


def test_either_kind_of_image_goes_to_either_kind_of_model(way):
    """Uint8 images and floats in 0..1 stand for each other, to the last bit on a uint8 model."""
    digits = read_source("digits").test.images[:20]
    classifier = Classifier.load(way.folder / "conv.onnx")
    of_bytes = [p.probability for p in classifier.predict_batch(digits)]
    of_floats = [p.probability for p in classifier.predict_batch(digits.astype(np.float32) / 255)]
    assert of_bytes == of_floats
