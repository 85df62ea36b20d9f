from dataclasses import replace

import numpy as np
import pytest

from clf_export import int8_export
from clf_export.errors import OutputError, QuantisationError
from clf_export.export import export_run
from clf_export.int8 import quantize, verdict
from clf_export.proof import golden
from clf_export.proof.self_test import damages
from clf_runtime import Classifier, self_test

pytestmark = pytest.mark.usefixtures("exported_once")


@pytest.fixture
def few_settings(monkeypatch):
    """Try a single setting, and measure for a moment only."""
    monkeypatch.setattr(quantize, "_SETTINGS", quantize._SETTINGS[:1])
    monkeypatch.setattr(quantize, "_SECONDS", 0.02)


def recommend(monkeypatch, *, yes):
    """Make every verdict say that int8 is (or is not) as fast; all else is measured."""
    make = int8_export.quantise

    def quantise(*arguments, **options):
        made = make(*arguments, **options)
        assert made.verdict.passed
        return replace(made, verdict=replace(made.verdict, batch_1_ratio=2.0 if yes else 0.5))

    monkeypatch.setattr(int8_export, "quantise", quantise)
    for module in (int8_export, verdict):  # the digits hold out 72
        monkeypatch.setattr(module, "ENOUGH_IMAGES", 72)


def test_int8_cannot_be_required_where_too_few_images_can_judge_it(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("simple")
    monkeypatch.setattr(int8_export, "quantise", lambda *arguments, **options: pytest.fail("it was tried all the same"))
    with pytest.raises(QuantisationError, match=r"72 held-out images are too few .* 598 are needed"):
        export_run(folder, dataset, tmp_path / "x.onnx", int8="require")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mode", "input"), [("auto", "tensor"), ("require", "photo")])
def test_an_int8_file_that_is_recommended_is_written_beside(make_run, tmp_path, monkeypatch, few_settings, mode, input):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    export = export_run(folder, dataset, tmp_path / "x.onnx", int8=mode, input=input)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.int8.onnx", "x.onnx"]
    small, large = Classifier.load(export.int8.path), Classifier.load(export.model.path)
    assert (small.card.precision, large.card.precision) == ("int8", "float32")
    assert small.card.int8 == large.card.int8
    assert small.card.int8.recommended
    assert export.int8.size < 0.4 * export.model.size
    assert {small.card.input, large.card.input} == {input}
    right = (small.predict_batch(dataset.test.images).indices == dataset.test.labels).mean()
    assert small.card.parity.onnx_accuracy == right
    own = small.predict_batch(dataset.test.images).indices
    assert [sum(row) for row in small.card.reference.counts] == np.bincount(own, minlength=10).tolist()
    assert self_test(small).passed
    for what, damaged in damages(export.int8.path.read_bytes()):
        if what not in export.int8.unnoticed:
            assert not self_test(Classifier(damaged, what)).passed


def test_int8_s_golden_cases_allow_what_processors_differ_by_on_these_very_images(
    make_run, tmp_path, monkeypatch, few_settings
):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    seen = []
    monkeypatch.setattr(int8_export, "processor_difference", lambda model, images: seen.append(images) or 0.002)
    card = export_run(folder, dataset, tmp_path / "x.onnx", int8="auto").int8.card
    assert card.golden.tolerance == 0.004
    images = np.frombuffer(card.golden.images, np.uint8).reshape(-1, *seen[0].shape[1:])
    assert [image.tobytes() for image in seen[0] if (image == images).all((1, 2, 3)).any()] == [
        image.tobytes() for image in images
    ]
    for row in card.golden.probabilities:  # none that may be another class on another processor
        assert card.golden.tells(row)


def test_int8_that_differs_by_too_much_between_processors_has_no_file(make_run, tmp_path, monkeypatch, few_settings):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    monkeypatch.setattr(int8_export, "processor_difference", lambda model, images: 0.3)
    with pytest.raises(
        QuantisationError, match=r"int8: probabilities of golden cases differ by 0\.30 between processors"
    ):
        export_run(folder, dataset, tmp_path / "x.onnx", int8="auto", familiarity="off")
    assert list(tmp_path.iterdir()) == []


def test_int8_without_golden_images_has_none(make_run, tmp_path, monkeypatch, few_settings):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    monkeypatch.setattr(golden, "choose_cases", lambda *_: np.array([], np.int64))
    assert export_run(folder, dataset, tmp_path / "x.onnx", int8="auto", familiarity="off").int8.card.golden is None


def test_where_float32_is_recommended_auto_says_so_and_require_writes_nothing(
    make_run, tmp_path, monkeypatch, few_settings
):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=False)
    (tmp_path / "x.int8.onnx").write_bytes(b"of another export")
    export = export_run(folder, dataset, tmp_path / "x.onnx", int8="auto", familiarity="off", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]
    assert export.int8 is None
    assert not export.model.card.int8.recommended
    assert export.model.card.int8.reason.startswith("float32 is recommended: int8 is slower")
    with pytest.raises(QuantisationError, match=r"float32 is recommended.*int8 is required, so no file is written"):
        export_run(folder, dataset, tmp_path / "y.onnx", int8="require", familiarity="off")
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


def test_a_net_that_cannot_be_int8_is_said_to_be(make_run, tmp_path, monkeypatch):
    folder, dataset = make_run("simple")

    def fail(*arguments, **options):
        raise QuantisationError("the net cannot be quantised: no layer")

    monkeypatch.setattr(int8_export, "quantise", fail)
    export = export_run(folder, dataset, tmp_path / "x.onnx", int8="auto", familiarity="off")
    assert export.int8_problem == "the net cannot be quantised: no layer"
    assert export.model.card.int8 is None
    with pytest.raises(QuantisationError, match="int8 is required"):
        export_run(folder, dataset, tmp_path / "y.onnx", int8="require", familiarity="off")
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]


def test_an_int8_file_that_changes_on_its_way_to_the_disk_is_refused(make_run, tmp_path, monkeypatch, few_settings):
    folder, dataset = make_run("simple")
    recommend(monkeypatch, yes=True)
    run = int8_export.run_onnx
    calls = []

    def answers(model, images):
        calls.append(model)
        return run(model, images) + np.float32(1e-3 * (model != calls[0]))  # with a card it is what was written

    monkeypatch.setattr(int8_export, "run_onnx", answers)
    with pytest.raises(QuantisationError, match="int8: the outputs of the written file differ"):
        export_run(folder, dataset, tmp_path / "x.onnx", int8="auto", familiarity="off", keep_rejected=True)
    assert list(tmp_path.iterdir()) == []


def test_an_int8_file_in_the_way_is_kept_unless_asked(make_run, tmp_path):
    folder, dataset = make_run("simple")
    (tmp_path / "x.int8.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"x\.int8\.onnx: exists already"):
        export_run(folder, dataset, tmp_path / "x.onnx", int8="auto")
    assert [p.name for p in tmp_path.iterdir()] == ["x.int8.onnx"]
