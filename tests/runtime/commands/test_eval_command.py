import dataclasses
import json

import numpy as np
import pytest

from clf_runtime import Classifier, ModelCard
from clf_runtime.commands.eval import main
from clf_runtime.datasets.holdout import hold_out
from clf_runtime.datasets.labelled import Labelled
from clf_runtime.model.records import Golden, Parity

NAMES = ("red", "green", "blue")


def images_of(labels):
    """Images of a colour, each of its own brightness; the model names all of them rightly."""
    images = np.zeros((len(labels), 3, 8, 8), np.uint8)
    images[np.arange(len(labels)), labels] = 100 + np.arange(len(labels))[:, None, None] % 150
    return images


@pytest.fixture
def data(tmp_path):
    """Nine images, of which one carries a wrong label, and one is a tie of red and green, labelled green."""
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1, 1])
    images = images_of(labels)
    images[8, 0] = images[8, 1]
    np.savez(tmp_path / "test.npz", images=images, labels=[0, 1, 2, 0, 1, 2, 0, 2, 1], names=list(NAMES))
    return tmp_path / "test.npz", images


@pytest.fixture
def model(tiny_model, data, tmp_path):
    """A model whose card says that of `count` images it answered a share `accuracy` rightly when exported."""

    def make(accuracy, count=9, golden=True, golden_images=None):
        plain = Classifier(tiny_model(), "tiny")
        images = data[1][[0, 4]] if golden_images is None else golden_images
        rows = tuple(map(tuple, plain.probabilities(images).tolist()))
        parity = Parity(count, 0.0, 0.0, 1e-4, 0, accuracy, accuracy, (accuracy,) * 3, 0, 0.0, "f", "1.17")
        card = ModelCard("tiny", NAMES, (3, 8, 8), "uint8", (0.0, 255.0), parity=parity)
        if golden:
            cases = Golden(images.tobytes(), rows, 1e-4, "CPUExecutionProvider", 1e-7)
            card = dataclasses.replace(card, golden=cases)
        (tmp_path / "m.onnx").write_bytes(tiny_model(card=card))
        return tmp_path / "m.onnx"

    return make


@pytest.mark.parametrize(
    ("accuracy", "agreement", "code", "says"),
    [
        (7 / 9, "equal", 0, "equal: the export recorded 77.78 % (45.3 to 93.7 %, 9 images)"),
        (8 / 9, "near ties", 0, "1 fewer correct here, which the near ties explain"),
        (6 / 9, "different", 1, "1 more correct here, MORE than the near ties explain"),
        (1.0, "different", 1, "2 fewer correct here, MORE than"),
    ],
)
def test_the_accuracy_is_held_against_the_card_s(command, model, data, accuracy, agreement, code, says):
    ended = command(main, model(accuracy), data[0], "--json", "--quiet")
    record = json.loads(ended.out)
    assert (ended.code, record["agreement"]) == (code, agreement)
    assert says in record["verdict"]
    assert record["accuracy"] == 7 / 9
    assert "all 2 golden cases" in record["verdict"]


def test_other_images_are_no_fault_of_the_device(command, model, data):
    others = images_of(np.array([0, 1]))[:, :, ::-1].copy() // 2
    for about, says in (({"count": 10}, "these are other images"), ({"golden_images": others}, "2 of its 2")):
        ended = command(main, model(1.0, **about), data[0], "--json", "--quiet")
        assert ended.code == 0
        record = json.loads(ended.out)
        assert record["agreement"] == "unknown"
        assert says in record["verdict"]
    ended = command(main, model(1.0, golden=False), data[0], "--json")
    assert (ended.code, json.loads(ended.out)["agreement"]) == (0, "unknown")


def test_a_fifth_without_the_golden_cases_may_have_been_trained_on(command, model, tmp_path):
    labels = np.arange(20) % 3
    np.savez(tmp_path / "all.npz", images=images_of(labels), labels=labels, names=list(NAMES))
    others = images_of(np.array([0, 1])) // 2
    for golden, says in ((others, True), (images_of(labels)[hold_out(labels, 0.2, 0)[:2]], False)):
        record = json.loads(command(main, model(1.0, 4, golden_images=golden), tmp_path / "all.npz", "--json").out)
        assert record["images"] == 4
        assert ("images trained on inflate the accuracy" in record["verdict"]) == says


def test_the_json_holds_every_figure(command, model, data):
    record = json.loads(command(main, model(7 / 9), data[0], "--json", "-q").out)
    of_green = record["classes"][1]
    assert of_green.pop("interval") == pytest.approx([0.2077, 0.9385], abs=1e-4)
    assert of_green == {"name": "green", "images": 3, "right": 2, "accuracy": 2 / 3}
    assert record["interval"] == record["card_interval"] == pytest.approx([0.4526, 0.9368], abs=1e-4)
    assert record["confusion"] == [[3, 0, 0], [1, 2, 0], [0, 1, 2]]
    assert record["near_ties"]["count"] == 1
    [tie] = record["near_ties"]["first"]
    assert (tie["image"], tie["label"], tie["first"], tie["second"]) == (f"{data[0]}[8]", "green", "red", "green")
    assert record["near_ties"]["margin"] == pytest.approx(2e-4)
    assert 0 < record["seconds_per_image"] <= record["seconds_per_image_with_reading"]
    assert len(record["model_sha256"]) == 64


def test_for_people_it_is_text_with_the_ties_the_classes_and_the_matrix(command, model, data):
    ended = command(main, model(7 / 9), data[0])
    assert ended.code == 0
    assert ended.err == "clf-eval: m.onnx on CPUExecutionProvider, 9 images: the test part\n"
    lines = ended.out.splitlines()
    assert lines[0] == "accuracy     77.78 % (45.3 to 93.7 %, 9 images), 7 correct"
    [tie] = [line for line in lines if line.startswith(f"  {data[0]}[8]: red 0.49")]
    assert tie.endswith("; label green")
    assert "green        3   66.67 %  (20.8 to 93.9 %)" in ended.out
    assert lines[-3:] == [
        "red                   3      0      0",
        "green                 1      2      0",
        "blue                  0      1      2",
    ]


def test_many_classes_are_cut_to_the_worst(command, tiny_model, tmp_path):
    from clf_runtime.commands.eval_text import _class_lines, _confusion_lines
    from clf_runtime.evaluation.scores import Tally

    tally = Tally(30, 1e-3)
    labels = np.arange(30)
    tally.add(np.eye(30, dtype=np.float32)[np.where(labels == 7, 8, labels)], labels, ["x"] * 30)
    names = tuple(f"class {i}" for i in range(30))
    lines = _class_lines(tally.scores(), names)
    assert len(lines) == 11
    assert lines[1].startswith("class 7 ")
    assert _confusion_lines(tally.scores(), names) == ["most confused", "class 7 predicted as class 8: 1"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Missing argument"),
        (["m.onnx"], "Missing argument"),
        (["m.onnx", "d", "e"], "unexpected extra argument"),
        (["m.onnx", "d", "--nonsense"], "No such option"),
        (["TINY", "DATA", "--device", "tpu"], "unknown device 'tpu'"),
        (["/nowhere/m.onnx", "d"], "cannot be read: No such file"),
        (["/", "d"], "cannot be read: Is a directory"),
        (["TINY", "/nowhere"], "no such file or folder"),
        (["TINY", "TINY"], "unknown layout"),
        (["TINY", "FOLDER"], "unknown layout"),
        (["TINY", "DATA", "--device", "cuda"], "CUDA does not work here"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(command, tiny_file, tmp_path, data, arguments, says):
    (tmp_path / "folder").mkdir()
    known = {"TINY": tiny_file, "FOLDER": tmp_path / "folder", "DATA": data[0]}
    ended = command(main, *[known.get(a, a) for a in arguments])
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert says in ended.err


def test_one_bad_image_is_an_error_and_no_accuracy_is_printed(command, tiny_file, tmp_path):
    images = np.zeros((3, 3, 8, 8), np.float32)
    images[2] = 7
    np.savez(tmp_path / "test.npz", images=images, labels=[0, 1, 2])
    ended = command(main, tiny_file, tmp_path / "test.npz", "-q")
    assert (ended.code, ended.out) == (2, "")
    assert "test.npz[2]: floats outside 0..1" in ended.err


def test_threads_give_the_very_same_answers(command, model, data, monkeypatch):
    monkeypatch.setattr("clf_runtime.classifier.usable_processors", lambda: 2)
    monkeypatch.setattr("clf_runtime.datasets.labelled.TEST_BATCH", 4)
    answer, seen = Classifier._answer, []
    monkeypatch.setattr(Classifier, "_answer", lambda self, batch: seen.append(len(batch)) or answer(self, batch))
    blocks, read = Labelled.blocks, []

    def reading(self, threads):
        for block in blocks(self, threads):
            read.append(len(block.labels))
            yield block

    monkeypatch.setattr(Labelled, "blocks", reading)
    records = []
    for threads, sizes in (("1", [4, 4, 1]), ("2", [8, 1])):
        file = model(7 / 9)
        seen.clear()
        read.clear()
        records.append(json.loads(command(main, file, data[0], "--json", "--quiet", "--threads", threads).out))
        assert (sorted(seen, reverse=True), read) == ([4, 4, 1], sizes)
    one, two = records
    assert (one.pop("threads"), two.pop("threads")) == (1, 2)
    for record in (one, two):
        del record["seconds_per_image"], record["seconds_per_image_with_reading"]
    assert one == two
    assert "blocks of up to 4, 2 threads," in command(main, model(7 / 9), data[0], "--threads", "2").out
