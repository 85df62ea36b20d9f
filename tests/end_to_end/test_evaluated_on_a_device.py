"""clf-eval finds the very images that a training was tested on, and gives exactly the accuracy of the export."""

import json

import numpy as np
import pytest
from PIL import Image

from clf_runtime import Classifier
from clf_runtime.commands.eval import main as eval_main
from clf_runtime.datasets.labelled import open_labelled
from clf_train import read_source

NAMES = tuple(f"digit-{i}" for i in range(10))


def save_sources(folder):
    """The same images in three layouts: as folders and npz, which have no test part, and as CIFAR-10 has its own."""
    digits = read_source("digits").test
    order = np.argsort(digits.labels, kind="stable")
    images, labels = digits.images[order], digits.labels[order]
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (folder / "folders" / NAMES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / "folders" / NAMES[label] / f"{i:04}.png")
    np.savez_compressed(folder / "x.npz", images=images, labels=labels, names=NAMES)
    test = read_source(folder / "x.npz").test
    records = np.concatenate([test.labels.astype(np.uint8)[:, None], test.images.reshape(len(test), -1)], axis=1)
    (folder / "test_batch.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES))
    return folder / "folders", folder / "x.npz", folder / "test_batch.bin"


@pytest.mark.usefixtures("no_drawing", "quick_exports")
def test_the_accuracy_is_exactly_the_export_s_on_the_images_of_the_training(command, tmp_path):
    from clf_export.commands.export import main as export_main
    from clf_train.commands.train import main as train_main

    sources = save_sources(tmp_path)
    options = ("--model", "conv", "--epochs", 2, "--out", tmp_path / "run", "--quiet")
    assert command(train_main, "--data", sources[0], *options).code == 0
    assert command(export_main, tmp_path / "run", "--quiet").code == 0
    card = Classifier.load(tmp_path / "run.onnx").card
    for source in sources:
        ended = command(eval_main, tmp_path / "run.onnx", source, "--json", "--quiet")
        assert ended.code == 0, ended.err
        record = json.loads(ended.out)
        assert (record["agreement"], record["accuracy"]) == ("equal", card.parity.onnx_accuracy)
        [block] = open_labelled(source, card).blocks()
        np.testing.assert_array_equal(block.images, read_source(sources[0]).test.images)
        np.testing.assert_array_equal(block.labels, read_source(sources[0]).test.labels)
