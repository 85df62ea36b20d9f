import dataclasses
import json
import math

import numpy as np
import pytest

from clf_runtime import Classifier, ModelCard, ModelError, self_test
from clf_runtime.commands.describe import card_lines
from clf_runtime.commands.predict import main
from clf_runtime.evaluation.self_test import golden_images

NAMES = ("red", "green", "blue")


def other_answer(golden):
    first, _, third = golden.probabilities
    return dataclasses.replace(golden, probabilities=(first, third, third))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_device_that_answers_alike_passes(golden_model, dtype, layout):
    result = self_test(Classifier(golden_model(dtype=dtype, layout=layout), "x"))
    assert result.passed
    assert result.problem is None
    assert [(c.expected, c.answered) for c in result.cases] == [(n, n) for n in NAMES]
    assert result.max_difference < 1e-6
    assert result.measured


def test_one_that_answers_otherwise_fails_and_says_where(golden_model):
    result = self_test(Classifier(golden_model(other_answer), "x"))
    assert not result.passed
    assert result.problem == "1 of 3 golden cases differ"
    assert (result.cases[1].expected, result.cases[1].answered) == ("blue", "green")
    assert result.max_difference > 0.9


@pytest.mark.parametrize(("shift", "passed"), [(0.9e-4, True), (1.2e-4, False)])
def test_the_tolerance_is_what_may_differ(golden_model, shift, passed):
    def change(golden):
        first, *rest = golden.probabilities
        return dataclasses.replace(golden, probabilities=((first[0] - shift, *first[1:]), *rest))

    assert self_test(Classifier(golden_model(change), "x")).passed is passed


def test_another_class_fails_whatever_the_tolerance(golden_model, monkeypatch):
    """Within its tolerance a file may be right in every number and wrong in its class: that is no agreement."""

    def change(golden):
        rest = golden.probabilities[1:]
        return dataclasses.replace(golden, tolerance=0.01, probabilities=((0.496, 0.504, 0.0), *rest))

    classifier = Classifier(golden_model(change), "x")
    answers = np.array([(0.504, 0.496, 0.0), *classifier.card.golden.probabilities[1:]], np.float32)
    rows = iter([*answers[:, None], answers])
    monkeypatch.setattr(classifier, "scores", lambda images: (next(rows), None))
    result = self_test(classifier)
    assert result.max_difference < result.tolerance
    assert result.problem == "1 of 3 golden cases differ"
    assert (result.cases[0].expected, result.cases[0].answered) == ("green", "red")


def test_a_class_that_differs_in_a_batch_only_is_found_too(golden_model, monkeypatch):
    classifier = Classifier(golden_model(), "x")
    right = np.array(classifier.card.golden.probabilities, np.float32)
    rows = iter([*right[:, None], right[[1, 1, 2]]])
    monkeypatch.setattr(classifier, "scores", lambda images: (next(rows), None))
    result = self_test(classifier)
    assert (result.cases[0].expected, result.cases[0].answered) == ("red", "green")
    assert not result.passed


def test_a_model_that_does_not_answer_fails(golden_model, monkeypatch):
    classifier = Classifier(golden_model(), "x")

    def fail(batch):
        raise ModelError("kernel not found")

    monkeypatch.setattr(classifier, "_run", fail)
    result = self_test(classifier)
    assert not result.passed
    assert "kernel not found" in result.problem
    assert math.isinf(result.max_difference)


def test_another_provider_is_said_to_be_unmeasured(golden_model):
    model = golden_model(lambda golden: dataclasses.replace(golden, provider="CUDAExecutionProvider"))
    assert not self_test(Classifier(model, "x")).measured


def test_a_file_without_golden_cases_cannot_be_tested(tiny_model):
    with pytest.raises(ModelError, match="no golden cases"):
        self_test(Classifier(tiny_model(), "x"))


def test_the_images_come_back_as_they_went_in(golden_model):
    card = Classifier(golden_model(dtype="float32"), "x").card
    images = golden_images(card.golden, card)
    assert images.dtype == np.float32
    assert images.shape == (3, 3, 8, 8)
    assert images[1, 1].min() == 1
    assert images.sum() == 3 * 64


@pytest.fixture
def file(golden_model, tmp_path):
    def write(*arguments):
        path = tmp_path / "model.onnx"
        path.write_bytes(golden_model(*arguments))
        return path

    return write


def test_the_command_ends_with_0_or_1(command, file):
    ended = command(main, "--self-test", "--model", file())
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("self-test passed: 3 golden cases on CPUExecutionProvider")
    ended = command(main, "--self-test", "--model", file(other_answer))
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines()[0] == "self-test FAILED on CPUExecutionProvider: 1 of 3 golden cases differ"
    assert ended.out.splitlines()[1].startswith("  case 2: expected blue, got green; max. difference")
    record = json.loads(command(main, "--self-test", "--json", "--model", file(other_answer)).out)
    assert (record["passed"], record["problem"]) == (False, "1 of 3 golden cases differ")
    assert record["cases"][0] == {"expected": "red", "answered": "red", "difference": record["cases"][0]["difference"]}


def test_the_card_for_people_and_as_json(command, file):
    path = file()
    ended = command(main, "--card", "--model", path)
    assert (ended.code, ended.err) == (0, "")
    assert "classes:        3: red, green, blue\n" in ended.out
    assert "golden cases:   3, tolerance 0.0001" in ended.out
    record = json.loads(command(main, "--card", "--json", "--model", path).out)
    assert record["names"] == list(NAMES)
    assert record["model_sha256"] == Classifier.load(path).sha256
    assert "images" not in record["golden"]


def test_names_that_would_break_a_terminal_are_shown_as_escapes(tiny_model):
    card = ModelCard("tiny", ("a\nb", "\x1b[31m", '日本 "q", c'), (3, 8, 8), "uint8", (0.0, 255.0))
    lines = card_lines(Classifier(tiny_model(card=card), "x"))
    text = next(line for line in lines if line.startswith("classes"))
    assert text.endswith('3: a\\nb, \\x1b[31m, 日本 "q", c')


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--card", "--self-test"], "exclude each other"),
        (["--card", "x.npy"], "take no images"),
        (["--self-test", "x.npy"], "take no images"),
        ([], "no image given"),
        (["--card", "--sha256", "12"], "a SHA-256 has 64 hexadecimal digits, unlike '12'"),
        (["--card", "--sha256", "ab" * 32], "another file than requested"),
        (["--self-test", "--model", "TINY"], "no golden cases"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(command, file, tiny_file, arguments, says):
    model = [] if "--model" in arguments else ["--model", file()]
    ended = command(main, *[tiny_file if a == "TINY" else a for a in arguments], *model)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert says in ended.err


def test_the_right_hash_lets_the_file_through(command, file):
    path = file()
    sha256 = Classifier.load(path).sha256
    assert Classifier.load(path, sha256=sha256.upper()).sha256 == sha256
    assert command(main, "--card", "--model", path, "--sha256", sha256).code == 0
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ModelError, match="another file than requested"):
        Classifier.load(path, sha256=sha256)
