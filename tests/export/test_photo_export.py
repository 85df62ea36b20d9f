"""An export that takes photos: proven against Pillow, and answering as the tensor file does."""

import builtins
import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from clf_export import export as exporting
from clf_export.errors import ParityError, TranslationError
from clf_export.export import export_run
from clf_export.graph.photo import with_photo_input
from clf_export.proof.photo import PHOTO_TOLERANCE
from clf_runtime import Classifier, ModelError
from clf_runtime.commands import eval as evaluating
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.inputs import parallel
from clf_runtime.model.card import ModelCard
from clf_runtime.model.geometry import Geometry
from clf_runtime.pipeline import answer_files

Image = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.usefixtures("exported_once")


@pytest.fixture(scope="module")
def both(make_run, exported_once, tmp_path_factory):
    """The classifier of a tensor file and that of a photo file of one run, the photo export and the test images."""
    folder, dataset = make_run("simple")
    place = tmp_path_factory.mktemp("both")
    tensor = export_run(folder, dataset, place / "tensor.onnx")
    photo = export_run(folder, dataset, place / "photo.onnx", input="photo")
    assert json.loads((folder / "parity.json").read_text())["photos"]["steps"] == photo.photos.steps
    return Classifier.load(tensor.model.path), Classifier.load(photo.model.path), photo, dataset.test.images


def picture(images, height, width):
    return Image.fromarray(images[0].transpose(1, 2, 0)).resize((width, height))


def distributions(classifier, images):
    return np.stack([p.distribution for p in classifier.predict_batch(images, distribution=True)])


def test_its_card_says_so_and_it_passes_its_self_test(both):
    _, photo, export, _images = both
    assert (photo.card.input, photo.card.layout, photo.card.image_shape) == ("photo", "NHWC", (3, 32, 32))
    assert photo.card.geometry is not None
    assert self_test(photo).passed
    assert export.photos.photos > 50
    assert export.photos.steps <= 2
    assert export.photos.same_size < 1e-5


def test_it_takes_what_a_tensor_file_takes(both, tmp_path):
    tensor, photo, _, images = both
    large = picture(images, 201, 77)
    pixels = np.asarray(large)
    alpha = np.dstack([pixels, pixels[:, :, :1]])
    large.save(tmp_path / "it.png")
    for image in (images[3], images[3].transpose(1, 2, 0), images[3].astype(np.float32) / 255, pixels, alpha, large):
        wanted, given = (c.predict(image, distribution=True).distribution for c in (tensor, photo))
        np.testing.assert_allclose(given, wanted, atol=PHOTO_TOLERANCE)
    mixed = [pixels, images[1], tmp_path / "it.png", pixels[:1, :1], pixels[:, :, :1]]
    for batch in (images[:70], np.stack([pixels, 255 - pixels]), mixed, images[:0], []):
        if len(batch):
            np.testing.assert_allclose(distributions(photo, batch), distributions(tensor, batch), atol=PHOTO_TOLERANCE)
        else:
            assert len(photo.predict_batch(batch)) == 0


def test_an_array_of_any_size_needs_no_pillow(both, monkeypatch):
    _, photo, _, images = both
    pixels = np.asarray(picture(images, 90, 45))
    expected = photo.predict(pixels)
    real = builtins.__import__

    def without(name, *arguments, **named):
        if name.partition(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert photo.predict(pixels) == expected


@pytest.mark.parametrize("which", [0, 1])
def test_a_photo_keeps_its_room_until_it_is_classified(both, tmp_path, monkeypatch, which):
    classifier, images, held, seen = both[which], both[3], [], []

    class Watched(parallel.Room):
        @contextmanager
        def __call__(self, pixels):
            with super().__call__(pixels):
                held.append(pixels)
                yield
                held.remove(pixels)

    class Watching:
        card = classifier.card

        def predict(self, *image, **options):
            seen.append(list(held))
            return classifier.predict(*image, **options)

    monkeypatch.setattr(parallel, "Room", Watched)
    picture(images, 40, 50).save(tmp_path / "it.png")
    assert [a.error for a in answer_files(Watching(), tmp_path / "it.png", threads=2)] == [None]
    assert (seen, held) == ([[2000] if classifier.card.input == "photo" else []], [])


def test_pictures_of_several_sizes_are_scored_as_they_are(both, tmp_path, command):
    _, _, export, images = both
    for n in range(6):
        folder = tmp_path / "data" / str(n % 2)
        folder.mkdir(parents=True, exist_ok=True)
        picture(images[n:], 40 + n, 90 - 3 * n).save(folder / f"{n}.png")
    ended = command(evaluating.main, export.model.path, tmp_path / "data", "--json")
    assert json.loads(ended.out)["images"] == 6


def test_another_geometry_than_that_of_the_run_is_refused(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("simple")

    def wrong(model, image_shape, geometry):
        return with_photo_input(model, image_shape, Geometry("crop"))

    monkeypatch.setattr(exporting, "with_photo_input", wrong)
    with pytest.raises(ParityError, match="a value differs from Pillow's by"):
        export_run(folder, dataset, tmp_path / "it.onnx", input="photo", familiarity="off")
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_floats_is_refused_at_once(make_run, tmp_path):
    folder, dataset = make_run("conv", "float32")
    with pytest.raises(TranslationError, match="its images are float32, photos are uint8; omit --input photo"):
        export_run(folder, dataset, tmp_path / "it.onnx", input="photo")


@pytest.mark.parametrize("wrong", [
    {"geometry": None}, {"layout": "NCHW"}, {"image_shape": (3, 8, 3)}, {"image_shape": (4, 8, 8)}, {"input": "video"},
])  # fmt: skip
def test_a_card_of_photos_that_cannot_be_is_refused(wrong):
    card = ModelCard("m", ("a", "b"), (3, 8, 8), "uint8", (0, 255), layout="NHWC", geometry=Geometry(), input="photo")
    with pytest.raises(ModelError, match="the model's card is invalid"):
        replace(card, **wrong)


def test_a_card_that_says_photo_over_a_graph_of_tensors_is_refused(tiny_model):
    card = ModelCard(
        "m", ("red", "green", "blue"), (3, 8, 8), "uint8", (0, 255), layout="NHWC", geometry=Geometry(), input="photo"
    )
    with pytest.raises(ModelError, match="its card says a photo"):
        Classifier(tiny_model(card=card), "it")
