"""Raw pictures go through a device's whole path before a file is written, and one of them goes with it."""

import hashlib
import io
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

from clf_export import export_run
from clf_export.errors import ParityError
from clf_export.proof import pictures
from clf_export.proof.photo import PHOTO_TOLERANCE
from clf_export.proof.pictures import prove_pictures
from clf_runtime import Classifier
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.inputs import geometry
from clf_runtime.inputs.pictures import decode_picture
from clf_runtime.model.geometry import Geometry
from clf_runtime.model.integrity import CHECKSUM_KEY
from clf_train import find_recipe, read_source, train
from clf_train.models.recipe import change

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40)}


@pytest.fixture(scope="module")
def exported(no_drawing, quick_exports, tmp_path_factory):
    """Pictures of many sizes and shapes, a run that was trained on them padded to 16x16, and its export."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for i in range(12):
            place = folder / "photos" / name / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(random.normal(colour, 20, (*random.integers(9, 60, 2), 3)), 0, 255).astype(np.uint8)
            picture = Image.fromarray(pixels)
            if i % 3 == 0:
                picture.putalpha(Image.fromarray(random.integers(0, 256, pixels.shape[:2], np.uint8)))
            picture.save(place)
    dataset = read_source(folder / "photos", size=(16, 16), geometry=Geometry("pad", (9, 8, 7)))
    recipe = change(find_recipe("fast", "conv"), {"epochs": 3})
    train(dataset, {"conv": recipe}, folder / "run")
    return folder, dataset, export_run(folder / "run", dataset, folder / "m.onnx")


def test_each_test_picture_takes_the_path_of_a_device(exported):
    folder, dataset, export = exported
    assert export.pictures == len(dataset.test) == 5
    card = Classifier.load(folder / "m.onnx").card
    assert card.geometry == Geometry("pad", (9, 8, 7))
    assert json.loads((folder / "run" / "run.json").read_text())["geometry"]["fit"] == "pad"


def test_a_path_that_gives_other_pixels_is_refused_by_the_picture_s_name(exported, monkeypatch):
    folder, dataset, _ = exported

    def shifted(picture, channels, size, how):
        return np.roll(real(picture, channels, size, how), 1, axis=1)

    real = geometry.to_input
    monkeypatch.setattr("clf_runtime.inputs.pictures.to_input", shifted)
    evidence = torch_is_undecided(dataset)
    with pytest.raises(ParityError, match=r"photos/.*\.png: becomes another image on a device than in training"):
        prove_pictures((folder / "m.onnx").read_bytes(), dataset, evidence)


def torch_is_undecided(dataset):
    from clf_export.proof.evidence import Evidence

    test = dataset.test
    reference = np.full((len(test), 2), 0.5, np.float32)
    return Evidence(test.images, test.labels, reference, lambda images: reference, dataset.value_range)


def test_an_answer_that_differs_is_refused(exported):
    folder, dataset, _ = exported
    with pytest.raises(ParityError, match=r"\.png: probabilities on a device differ by"):
        prove_pictures((folder / "m.onnx").read_bytes(), dataset, torch_is_undecided(dataset))


def test_arrays_have_no_pictures(exported, make_run):
    folder, dataset, _ = exported
    assert prove_pictures((folder / "m.onnx").read_bytes(), replace(dataset, source="digits"), None) == 0


def test_renamed_classes_and_skipped_pictures_take_the_path_of_a_device_too(exported, tmp_path):
    shutil.copytree(exported[0] / "photos", tmp_path / "photos")
    (tmp_path / "photos" / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    dataset = read_source(tmp_path / "photos", "grün,rot", size=(16, 16), skip_bad=True)
    train(dataset, {"conv": change(find_recipe("fast", "conv"), {"epochs": 1})}, tmp_path / "run")
    assert export_run(tmp_path / "run", dataset, tmp_path / "m.onnx").pictures == len(dataset.test) == 5


def test_the_golden_picture_has_another_size_and_shape_and_is_answered(exported):
    folder = exported[0]
    classifier = Classifier.load(folder / "m.onnx")
    picture = Image.open(io.BytesIO(classifier.card.golden_picture.data))
    assert picture.size == (13, 21)
    assert picture.convert("RGBA").getchannel("A").getextrema() == (0, 255)
    assert self_test(classifier).picture == "agrees"


def changed(folder, **fields):
    model = onnx.load(folder / "m.onnx")
    props = {entry.key: entry.value for entry in model.metadata_props if entry.key != CHECKSUM_KEY}
    for key, value in fields.items():
        props[f"clf_edge.{key}"] = json.dumps({**json.loads(props[f"clf_edge.{key}"]), **value})
    onnx.helper.set_model_props(model, props)
    return Classifier(model.SerializeToString(), "m.onnx")


def test_a_device_whose_geometry_differs_notices(exported):
    folder = exported[0]
    result = self_test(changed(folder, geometry={"fit": "stretch"}))
    assert (result.passed, result.picture) == (False, "differs")
    assert result.problem.startswith("the golden picture is decoded to another input than at the export")
    result = self_test(changed(folder, golden_picture={"probabilities": [0.25, 0.75]}))
    assert (result.passed, result.picture) == (False, "differs")
    assert result.problem.startswith("the probabilities of the golden picture differ by ")


def test_a_device_without_pillow_says_that_it_tried_no_picture(exported, monkeypatch):
    folder = exported[0]
    monkeypatch.setitem(sys.modules, "PIL.PngImagePlugin", None)
    result = self_test(Classifier.load(folder / "m.onnx"))
    assert (result.passed, result.picture) == (True, "no Pillow")


def test_a_file_for_photographs_answers_as_the_one_for_tensors(exported):
    folder, dataset, _ = exported
    export = export_run(folder / "run", dataset, folder / "photo.onnx", input="photo")
    assert export.pictures == len(dataset.test)
    tensor, photo = Classifier.load(folder / "m.onnx"), Classifier.load(folder / "photo.onnx")
    given = decode_picture(photo.card.golden_picture.data, "x", 3, None, photo.card.geometry)  # as the graph takes it
    assert given.shape == (21, 13, 3)
    assert hashlib.sha256(given.tobytes()).hexdigest() == photo.card.golden_picture.input_sha256
    assert self_test(photo).picture == "agrees"
    files = [*(folder / "photos").rglob("*.png")]
    mine, theirs = (c.predict_batch(files).probabilities for c in (photo, tensor))
    np.testing.assert_allclose(mine, theirs, atol=PHOTO_TOLERANCE)
    raw = decode_picture(files[1].read_bytes(), "x", 3, None, photo.card.geometry)
    assert photo.probabilities(raw[None]).max() == photo.predict(raw).probability == mine[1]


def test_a_photo_that_pillow_resizes_to_another_image_than_in_training_is_refused(exported, monkeypatch):
    folder, dataset, _ = exported
    export_run(folder / "run", dataset, folder / "other.onnx", input="photo")

    def shifted(pixels, channels, size, how):
        return np.roll(geometry.array_to_input(pixels, channels, size, how), 1, axis=1)

    monkeypatch.setattr(pictures, "array_to_input", shifted)
    with pytest.raises(ParityError, match=r"photos/.*\.png: becomes another image on a device than in training"):
        prove_pictures((folder / "other.onnx").read_bytes(), dataset, torch_is_undecided(dataset))
