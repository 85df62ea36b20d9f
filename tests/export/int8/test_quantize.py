"""The way a net is made int8 is chosen by what the file does, and the verdict is of the file that is given."""

import dataclasses
import tempfile

import numpy as np
import pytest

from clf_export.errors import QuantisationError
from clf_export.int8 import quantize
from clf_export.int8.qdq import Setting
from clf_export.int8.quantize import Trial, quantise
from clf_export.int8.verdict import Judgement
from clf_export.proof.parity import run_onnx

CLASSES = 4  # of the small net


@pytest.fixture(scope="module")
def labels(net, images):
    """What the float net itself says, but for one image in ten."""
    labels = run_onnx(net.SerializeToString(), images).argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % CLASSES
    return labels


@pytest.fixture
def hurried(monkeypatch):
    """A choice among fewer settings, without what takes time and is tested elsewhere."""
    monkeypatch.setattr(quantize, "_SETTINGS", [s for s in quantize._SETTINGS if s.placement == "all"])
    monkeypatch.setattr(quantize, "processor_difference", lambda model, images: 0.0)
    monkeypatch.setattr(quantize, "speed_ratio", lambda *arguments: 2.0)


def test_the_verdict_is_of_the_file_that_is_given(net, images, labels, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(quantize, "_SECONDS", 0.01)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = net.SerializeToString()
    told = []
    made = quantise(model, images[:200], images[200:], labels[200:], watch=told.append)
    verdict = made.verdict
    assert (verdict.size, verdict.float_size) == (len(made.model), len(model))
    assert verdict.size < verdict.float_size / 2
    answers = run_onnx(made.model, images[200:]).argmax(axis=1)
    assert verdict.judgement.images == 700
    assert verdict.judgement.int8_accuracy == (answers == labels[200:]).mean()
    assert verdict.judgement.float_accuracy == pytest.approx(0.9)
    assert verdict.passed
    assert verdict.processor_difference < 0.03
    assert verdict.batch_1_ratio > 0
    assert verdict.batch_256_ratio > 0
    chosen = next(trial for trial in made.tried if str(trial.setting) == verdict.setting)
    assert chosen.batch_1_ratio == verdict.batch_1_ratio
    assert [trial.setting for trial in made.tried] == list(quantize._SETTINGS)
    assert len(told) == len(made.tried) + 1
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def trial(differing, size, ratio, undecided=False):
    judgement = Judgement(2500, 0.75, 0.75, 0, 0.0, None, differing, undecided, None)
    setting = Setting("U8S8 reduced, per channel", "all")
    return Trial(setting, None, judgement, 0.0, size, ratio)


NEAR, BEST, FAR = trial(0.0200, 100, 2.0), trial(0.0185, 120, 2.0), trial(0.0500, 50, 2.0)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([BEST, NEAR, FAR], NEAR),  # as near as can be told, and smaller
        ([BEST, FAR], BEST),
        ([trial(0.001, 50, 2.0, undecided=True), BEST], BEST),
        ([trial(0.001, 100, 1.7), FAR], FAR),  # much faster
        ([trial(0.001, 100, 1.85), FAR], trial(0.001, 100, 1.85)),
        ([trial(0.001, 50, 0.95), trial(0.05, 100, 1.0)], trial(0.05, 100, 1.0)),  # as fast as float
        ([trial(0.001, 50, 0.85), trial(0.05, 100, 0.9)], trial(0.001, 50, 0.85)),
    ],
)
def test_the_smallest_of_those_nearest_to_float_of_the_nearly_fastest_is_chosen(trials, chosen):
    assert quantize._choose(trials) == chosen
    assert quantize._choose(trials[::-1]) == chosen


def test_a_slower_file_is_not_recommended(net, images, labels, hurried, monkeypatch):
    monkeypatch.setattr(quantize, "speed_ratio", lambda *arguments: 0.7)
    verdict = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:]).verdict
    assert verdict.passed
    assert not verdict.recommended
    assert "int8 is slower; " in verdict.reason()


def test_what_overflows_here_is_not_chosen(net, images, labels, hurried, monkeypatch):
    def overflow(model, images):
        return 0.5 if b"_int8" not in model else 0.0  # only the weights-only files are fine

    monkeypatch.setattr(quantize, "processor_difference", overflow)
    made = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert made.verdict.setting.startswith("weights only")
    assert any("off by 0.50 from ONNX's reference" in (t.problem or "") for t in made.tried)


def test_if_nothing_is_good_enough_the_verdict_says_so(net, images, labels, hurried, monkeypatch):
    real = quantize.judge
    monkeypatch.setattr(
        quantize, "judge", lambda *arguments: dataclasses.replace(real(*arguments), problem="the accuracy drops")
    )
    made = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert not made.verdict.passed
    assert made.verdict.reason() == "float32 is recommended: int8 is less accurate, the accuracy drops"
    assert made.verdict.judgement.int8_accuracy == max(t.judgement.int8_accuracy for t in made.tried)
    assert made.model


def test_a_setting_that_fails_is_noted_and_the_others_go_on(net, images, labels, hurried, monkeypatch):
    real = quantize.to_int8

    def fail(model, setting, images):
        if "tensor" not in setting.scheme:
            raise RuntimeError("the quantizer\ndoes not know this")
        return real(model, setting, images)

    monkeypatch.setattr(quantize, "to_int8", fail)
    made = quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert made.verdict.setting.startswith("U8S8 reduced, per tensor")
    failed = [trial for trial in made.tried if trial.judgement is None]
    assert {trial.setting.scheme for trial in failed} == {"U8S8 reduced, per channel", "weights only, per channel"}
    assert all("does not know this" in trial.problem and "\n" not in trial.problem for trial in failed)


def test_if_every_setting_fails_there_is_one_line(net, images, labels, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no\nluck")

    monkeypatch.setattr(quantize, "to_int8", fail)
    with pytest.raises(QuantisationError, match=r"none of \d+ int8 settings works") as raised:
        quantise(net.SerializeToString(), images[:200], images[200:], labels[200:])
    assert "\n" not in str(raised.value)


def test_a_net_without_layers_is_refused(tiny_model):
    images = np.zeros((10, 3, 8, 8), np.uint8)
    with pytest.raises(QuantisationError, match="no layer with constant weights"):
        quantise(tiny_model(), images, images, np.zeros(10, np.int64))


def test_what_is_no_model_is_refused(images, labels):
    with pytest.raises(QuantisationError, match="cannot be quantised"):
        quantise(b"nonsense", images, images, labels)
