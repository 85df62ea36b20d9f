"""The models that ship, on the images that their cards speak of.

CIFAR-10 here is the JPEG-coded copy that the models were made with. `CLF_EDGE_CIFAR10` names a folder that holds its
`test/<class>/*.jpg`; without it the archive is looked for beside the checkout, and where there is neither, the tests of
accuracy are skipped.
"""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clf_runtime import Classifier, self_test

ROOT = Path(__file__).parents[2]
ARCHIVE = ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.xz"
MODELS = ("simple", "conv", "resnet8")
FILES = [f"{model}{kind}" for model in MODELS for kind in ("", ".int8")]


def pixels(jpeg):
    with Image.open(io.BytesIO(jpeg)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def test_images():
    """uint8 [n, 32, 32, 3], and the class name of each."""
    images, names = [], []
    if folder := os.environ.get("CLF_EDGE_CIFAR10"):
        for file in sorted(Path(folder).glob("test/*/*.jpg")):
            images.append(pixels(file.read_bytes()))
            names.append(file.parent.name)
        assert images, f"CLF_EDGE_CIFAR10: no test/<class>/*.jpg in {folder}"
    elif ARCHIVE.exists():
        with tarfile.open(ARCHIVE) as archive:
            for member in archive:
                split, name, _ = member.name.split("/")
                if split == "test":
                    images.append(pixels(archive.extractfile(member).read()))
                    names.append(name)
    else:
        pytest.skip("CIFAR-10 is not at hand: name a folder with test/<class>/*.jpg in CLF_EDGE_CIFAR10")
    return np.stack(images), names


@pytest.mark.parametrize("file", FILES)
def test_accuracy_is_what_the_card_says(file, test_images):
    images, names = test_images
    classifier = Classifier.load(ROOT / "artifacts" / f"{file}.onnx", device="cpu")
    right = sum(p.name == name for p, name in zip(classifier.predict_batch(images), names, strict=True))
    parity = classifier.card.parity
    # int8 may answer a few images otherwise where a processor multiplies otherwise
    slack = 0.005 * len(images) if file.endswith("int8") else 0
    assert len(images) == parity.images
    assert abs(right - round(parity.onnx_accuracy * parity.images)) <= slack


@pytest.mark.parametrize("file", FILES)
def test_the_self_test_passes(file):
    assert self_test(Classifier.load(ROOT / "artifacts" / f"{file}.onnx", device="cpu")).passed


@pytest.mark.parametrize("file", FILES)
def test_the_tables_are_of_the_files_that_lie_there(file):
    data = (ROOT / "artifacts" / f"{file}.onnx").read_bytes()
    [row] = [
        line
        for line in (ROOT / "artifacts" / "README.md").read_text("utf-8").splitlines()
        if line.startswith(f"| `{file}.onnx`")
    ]
    assert f"| {len(data):,} bytes |" in row
    changes = (ROOT / "artifacts" / "CHANGELOG.md").read_text("utf-8")
    newest = next(line for line in changes.splitlines() if line.startswith(f"| `{file}.onnx`"))
    assert newest.endswith(f"| {len(data):,} | {hashlib.sha256(data).hexdigest()[:8]} |")


@pytest.mark.parametrize("model", MODELS)
def test_the_card_in_plain_words_says_what_the_file_says(model):
    card = Classifier.load(ROOT / "artifacts" / f"{model}.onnx", device="cpu").card
    words = (ROOT / "artifacts" / f"{model}.md").read_text("utf-8")
    small = Classifier.load(ROOT / "artifacts" / f"{model}.int8.onnx", device="cpu")
    assert f"{100 * card.test_accuracy:.2f} %" in words
    assert f"**{100 * small.card.parity.onnx_accuracy:.2f} %**" in words
    assert f"`{small.sha256}`" in words
    assert f"{card.test_images:,}" in words
    assert f"{card.parameters:,}" in words
    assert card.parity.max_difference < 1e-4
    assert (card.dtype, card.image_shape, len(card.names)) == ("uint8", (3, 32, 32), 10)
