"""A second output, familiarity: predictions that are unknown by it, alone, in batches and in the commands."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from clf_runtime import Classifier, ModelError
from clf_runtime.commands.eval import main as evaluate
from clf_runtime.commands.predict import main as predict
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.evaluation.unknown import auroc
from clf_runtime.model.records import Golden


@pytest.fixture
def images():
    """Red, dark green, and a dark grey that is no class: their familiarities are 1, 0.2 and 0.1."""
    made = np.zeros((3, 3, 8, 8), np.uint8)
    made[0, 0], made[1, 1], made[2] = 255, 51, 25
    return made


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_alone_and_in_a_batch_the_same_is_unknown(tiny_model, images, dtype):
    classifier = Classifier(tiny_model(familiar=True, dtype=dtype), "tiny", device="cpu")
    given = images if dtype == "uint8" else images.astype(np.float32) / 255
    together = classifier.predict_batch(given, reject="auto", distribution=True)
    assert list(together.familiarity) == pytest.approx([1, 0.2, 25 / 255])
    assert list(together.indices) == [0, -1, -1]
    assert [p.rejected for p in together] == [None, "unfamiliar", "unfamiliar"]
    assert together == [classifier.predict(image, reject="auto", distribution=True) for image in given]
    assert [len(p.distribution) for p in together] == [3, 3, 3]
    assert classifier.probabilities(given).shape == (3, 3)
    assert [p.rejected for p in classifier.predict_batch(list(given))] == [None] * 3


def test_which_of_two_reasons_is_said(tiny_model, images):
    classifier = Classifier(tiny_model(familiar=True), "tiny", device="cpu")
    options = {"reject": "auto", "reject_below": 0.95}
    mixed = np.concatenate([images, np.full((1, 3, 8, 8), 128, np.uint8)])  # familiar, but of no class more than others
    reasons = [None, "unfamiliar", "unfamiliar", "ambiguous"]
    assert [p.rejected for p in classifier.predict_batch(mixed, **options)] == reasons
    assert [classifier.predict(image, **options).rejected for image in mixed] == reasons
    assert [p.rejected for p in classifier.predict_batch(mixed, reject_below=0.95)].count("ambiguous") == 3


def test_a_file_without_it_answers_as_before(tiny_model, images):
    classifier = Classifier(tiny_model(), "tiny", device="cpu")
    assert classifier.predict(images[0]).familiarity is None
    assert classifier.predict_batch(images).familiarity is None
    with pytest.raises(ModelError, match=r"tiny: has no familiarity .* export it again"):
        classifier.predict(images[0], reject="auto")
    with pytest.raises(ValueError, match='reject must be "auto" or None'):
        classifier.predict_batch(images, reject="yes")


def test_a_card_that_says_an_output_that_is_not_there(tiny_model):
    card = Classifier(tiny_model(familiar=True), "tiny", device="cpu").card
    with pytest.raises(ModelError, match="second output familiarity, but its graph gives"):
        Classifier(tiny_model(card=card), "tiny", device="cpu")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threshold": 0.0}, "threshold between 0 and 1"),
        ({"threshold": "0.1"}, "a threshold, and how"),
        ({"noticed": (1.5,)}, "a share in 0..1 for each kind"),
        ({"golden": (0.5,)}, "a number in 0..1 for each golden case"),
        ({"tolerance": 1.0}, "a tolerance above 0"),
        ({"foreign": 1}, "fewer foreign cases"),
    ],
)
def test_a_record_that_is_unsound_is_refused(tiny_model, change, says):
    card = Classifier(tiny_model(familiar=True), "tiny", device="cpu").card
    with pytest.raises(ModelError, match=says):
        dataclasses.replace(card, familiarity=dataclasses.replace(card.familiarity, **change))


@pytest.mark.parametrize(("wrong", "passed"), [(0.0, True), (0.2, False)])
def test_the_self_test_compares_it(tiny_model, images, wrong, passed):
    classifier = Classifier(tiny_model(familiar=True), "tiny", device="cpu")
    rows = tuple(map(tuple, classifier.probabilities(images).tolist()))
    golden = Golden(images.tobytes(), rows, 1e-4, "CPUExecutionProvider", 1e-7)
    familiarity = dataclasses.replace(classifier.card.familiarity, golden=(1 - wrong, 0.2, 25 / 255), foreign=1)
    card = dataclasses.replace(classifier.card, golden=golden, familiarity=familiarity)
    result = self_test(Classifier(tiny_model(familiar=True, card=card), "tiny", device="cpu"))
    assert result.passed is passed
    assert passed or "familiarity of a golden case differs by 2.0e-01" in result.problem


def test_the_command_says_unknown_and_why(tiny_model, images, tmp_path, command):
    model, data = tmp_path / "m.onnx", tmp_path / "images.npy"
    model.write_bytes(tiny_model(familiar=True))
    np.save(data, images)
    lines = command(predict, data, "--model", model, "--reject", "auto", "--json").out.splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["name"] for r in records] == ["red", "unknown", "unknown"]
    assert [r["rejected"] for r in records] == [None, "unfamiliar", "unfamiliar"]
    assert records[1]["familiarity"] == pytest.approx(0.2)
    table = command(predict, data, "--model", model, "--csv", "--reject=auto").out.splitlines()
    assert table[0] == "image,index,class,name,probability,model_sha256,provider,familiarity,rejected,error"
    assert table[2].endswith(",unfamiliar,")
    model.write_bytes(tiny_model())
    ended = command(predict, data, "--model", model, "--reject", "auto")
    assert (ended.code, ended.out) == (2, "")
    assert "has no familiarity" in ended.err
    assert command(predict, data, "--reject", "0.5").code == 2


def test_an_evaluation_against_outliers(tiny_model, images, tmp_path, command):
    model, data = tmp_path / "m.onnx", tmp_path / "data.npz"
    model.write_bytes(tiny_model(familiar=True))
    np.savez(data, test_images=np.repeat(images[:2], 2, axis=0), test_labels=np.array([0, 0, 1, 1]))
    np.save(tmp_path / "foreign.npy", images[2:])
    found = json.loads(command(evaluate, model, data, "--outliers", tmp_path / "foreign.npy", "--json").out)["unknown"]
    assert found == {
        "images": 4,
        "outliers": 1,
        "rejected": 0.5,
        "accepted": 0.0,
        "familiarity_auroc": 1.0,
        "probability_auroc": 1.0,
        "skipped": [],
    }
    text = command(evaluate, model, data, "--outliers", tmp_path / "foreign.npy").out
    assert "AUROC        1.000 by familiarity, 1.000 by probability" in text
    ended = command(evaluate, model, data, "--outliers", tmp_path / "none")
    assert ended.code == 2
    assert ended.err.count("\n") <= 2


def test_outliers_lie_in_folders_at_any_depth_and_broken_pictures_are_all_named_or_skipped(
    tiny_model, images, tmp_path, command
):
    model, data, foreign = tmp_path / "m.onnx", tmp_path / "data.npz", tmp_path / "foreign"
    model.write_bytes(tiny_model(familiar=True))
    np.savez(data, test_images=np.repeat(images[:2], 2, axis=0), test_labels=np.array([0, 0, 1, 1]))
    for name in ("one/1.png", "one/two/2.png", ".hidden/3.png"):
        (foreign / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[2].transpose(1, 2, 0)).save(foreign / name)
    (foreign / "one" / "two" / "again").symlink_to(foreign, target_is_directory=True)
    found = json.loads(command(evaluate, model, data, "--outliers", foreign, "--json").out)["unknown"]
    assert found["outliers"] == 2
    for name in ("one/a.png", "b.png"):
        (foreign / name).write_bytes(b"no picture")
    ended = command(evaluate, model, data, "--outliers", foreign, "--quiet")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "2 pictures cannot be decoded: " in ended.err
    assert all(said in ended.err for said in (str(foreign / "one/a.png"), str(foreign / "b.png"), "--skip-bad"))
    ended = command(evaluate, model, data, "--outliers", foreign, "--skip-bad", "--json")
    found = json.loads(ended.out)["unknown"]
    assert (found["outliers"], found["skipped"]) == (2, [str(foreign / "b.png"), str(foreign / "one/a.png")])
    assert "skipped, since it cannot be decoded: 2 pictures" in ended.err
    (foreign / "one" / "bad.npy").write_bytes(b"no array")
    assert "bad.npy" in command(evaluate, model, data, "--outliers", foreign, "--skip-bad").err


def test_auroc_counts_half_of_ties():
    assert auroc(np.array([1, 2, 3]), np.array([0, 1])) == pytest.approx(5.5 / 6)
    assert auroc(np.array([0.5] * 4), np.array([0.5] * 7)) == 0.5
