"""The folder of a repository on the Hugging Face Hub, read as the Hub, and as its users, read it."""

import dataclasses
import io
import json
import os
import re
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from clf_export.delivery.hub import write_hub
from clf_export.delivery.hub_readme import block, code, yaml_text
from clf_export.errors import OutputError
from clf_runtime import Classifier, ModelCard
from clf_runtime.errors import ModelError
from clf_runtime.model.file import default_model
from clf_runtime.model.records import Golden, Parity

FILES = ["README.md", "example.json", "image.npy", "labels.json", "model.onnx"]
EVIL = (
    'x"\n---\nlicense: evil',
    "`` <script>alert(1)</script> [a](javascript:b) | ![](http://evil.example/x.png) ``",
    "```\n# heading\nhttp://evil.example \u202e${{ x }} \U0001f600",
)


@pytest.fixture
def evil_file(tmp_path, tiny_model):
    """A file whose card is text that would like to be markup, with a golden case of each class."""
    images = np.zeros((3, 3, 8, 8), np.uint8)
    images[np.arange(3), np.arange(3)] = 255
    rows = tuple(map(tuple, Classifier(tiny_model(), "tiny").probabilities(images).tolist()))
    figures = {"max_difference": 0.0, "mean_difference": 0.0, "tolerance": 1e-4, "differing": 0, "torch_accuracy": 0.9}
    card = ModelCard(
        EVIL[0],
        EVIL,
        (3, 8, 8),
        "uint8",
        (0.0, 255.0),
        description=EVIL[1],
        license=EVIL[2],
        run=EVIL[0],
        data=EVIL[2],
        data_fingerprint="f" * 64,
        pretrained=EVIL[1],
        test_images=200,
        test_accuracy=0.9,
        parity=Parity(
            200, **figures, onnx_accuracy=0.895, class_accuracies=(0.9, 0.9, 0.885), edge_images=1,
            edge_difference=0.0, data_fingerprint="f" * 64, onnxruntime="1"
        ),
        golden=Golden(images.tobytes(), rows, 1e-4, "CPUExecutionProvider", 1e-7),
    )  # fmt: skip
    file = tmp_path / "evil.onnx"
    file.write_bytes(tiny_model(card=card))
    return file


def metadata_of(folder):
    """The block between the two lines `---`, as YAML, and the text after it."""
    yaml = pytest.importorskip("yaml", reason="huggingface_hub brings PyYAML, which reads the metadata block")
    start, head, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), body


def code_of(folder):
    """The README's Python snippets."""
    return re.findall("```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)


def test_the_folder_holds_the_model_and_says_what_it_can(tmp_path):
    model = default_model()
    lines = write_hub(model, tmp_path / "a b")
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["README.md", "a b", *FILES[1:]]
    assert lines[1] == f"upload it with: hf upload OWNER/NAME '{tmp_path / 'a b'}'"
    assert (tmp_path / "a b" / "model.onnx").read_bytes() == model.read_bytes()
    card = Classifier.load(model).card
    assert json.loads((tmp_path / "a b" / "labels.json").read_text()) == list(card.names)
    found, body = metadata_of(tmp_path / "a b")
    assert (found["license"], found["library_name"], found["pipeline_tag"]) == (
        "mit", "clf-edge", "image-classification"
    )  # fmt: skip
    [model_of] = found["model-index"]
    [result] = model_of["results"]
    [metric] = result["metrics"]
    assert (metric["type"], metric["value"]) == ("accuracy", pytest.approx(card.test_accuracy))
    assert f"{card.test_images:,} test images" in metric["name"]
    assert (result["dataset"]["split"], result["dataset"]["args"]["images"]) == ("test", card.test_images)
    assert f"{100 * card.test_accuracy:.2f} % on {card.test_images:,} test images" in body
    assert body.count(sha256(model.read_bytes()).hexdigest()) == 5


def test_the_hub_s_own_reader_understands_it(tmp_path, evil_file):
    hub = pytest.importorskip("huggingface_hub", reason='its reader of cards is in: pip install "clf-edge[hub]"')
    for model in (default_model(), evil_file):
        write_hub(model, tmp_path / model.stem)
        [result] = hub.ModelCard.load(tmp_path / model.stem / "README.md").data.eval_results
        assert (result.metric_type, result.task_type) == ("accuracy", "image-classification")


def test_the_snippets_give_the_expected_answer(tmp_path, monkeypatch):
    write_hub(default_model(), tmp_path / "hub")
    monkeypatch.chdir(tmp_path / "hub")
    ours, bare = code_of(tmp_path / "hub")
    expected = json.loads(Path("example.json").read_text())
    for snippet in (ours, bare):
        with redirect_stdout(io.StringIO()) as out:
            exec(snippet, {})
        assert expected["class"] in out.getvalue()
        [found] = re.findall(r"\b[01]\.\d+", out.getvalue())[:1]
        assert float(found) == pytest.approx(expected["probability"], abs=expected["tolerance"])


def test_no_text_of_the_card_becomes_markup(tmp_path, evil_file):
    write_hub(evil_file, tmp_path / "hub")
    found, body = metadata_of(tmp_path / "hub")
    assert (found["license"], found["license_name"]) == ("other", EVIL[2])
    assert found["model-index"][0]["name"] == EVIL[0]
    assert found["model-index"][0]["results"][0]["dataset"]["name"] == EVIL[2]
    assert found["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.895  # this file's, not PyTorch's
    outside = re.sub(r"^(`{3,})\w+\n.*?\n\1$", "", body, flags=re.DOTALL | re.MULTILINE)  # without blocks
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)  # and spans of code
    assert not re.search(r"script|javascript|evil|\u202e|\]\(|^# .*heading", outside, re.MULTILINE)
    assert json.loads((tmp_path / "hub" / "labels.json").read_text()) == list(EVIL)
    for snippet in code_of(tmp_path / "hub"):
        assert not any(word in snippet for word in ("evil", "script"))


@pytest.mark.parametrize("text", ["", "`", "``x``", " a ", "a\n# b", 'q"\\', "é\u2028\x00\U0001f600", "- a: {b}"])
def test_texts_are_quoted(text):
    yaml = pytest.importorskip("yaml", reason="huggingface_hub brings PyYAML")
    assert yaml.safe_load(yaml_text(text)) == text
    assert yaml_text(text).isascii()
    span = code(text)
    assert "\n" not in span
    fence = re.match("`+", span)[0]
    assert re.search(rf"(?<!`){fence}(?!`)", span[len(fence) : -len(fence)]) is None
    lines = block([text, "``` x"]).splitlines()
    assert lines[0].removesuffix("text") == lines[-1] == "````"


def test_without_a_licence_an_accuracy_or_golden_cases_the_readme_says_so(tmp_path, tiny_file, monkeypatch):
    write_hub(Path(tiny_file), tmp_path / "hub")
    assert sorted(entry.name for entry in (tmp_path / "hub").iterdir()) == ["README.md", "labels.json", "model.onnx"]
    found, body = metadata_of(tmp_path / "hub")
    assert not {"license", "model-index", "metrics"} & set(found)
    assert "states no accuracy" in body
    assert "No licence is stated" in body
    monkeypatch.chdir(tmp_path / "hub")
    with redirect_stdout(io.StringIO()) as out:
        exec(code_of(tmp_path / "hub")[1], {})
    assert out.getvalue().startswith("red ")


def test_an_existing_folder_is_replaced_only_if_it_is_one_of_these(tmp_path, tiny_file, golden_tiny):
    to = tmp_path / "hub"
    write_hub(golden_tiny, to)
    with pytest.raises(OutputError, match=r"exists already; choose another folder, or pass --overwrite$"):
        write_hub(Path(tiny_file), to)
    write_hub(Path(tiny_file), to, overwrite=True)
    assert sorted(entry.name for entry in to.iterdir()) == ["README.md", "labels.json", "model.onnx"]
    (to / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match=r"holds more than a model \(thesis.tex\)"):
        write_hub(Path(tiny_file), to, overwrite=True)
    with pytest.raises(OutputError, match="exists already, and is no folder"):
        write_hub(Path(tiny_file), Path(tiny_file), overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_failure_leaves_nothing_and_an_earlier_folder_as_it_was(tmp_path, tiny_file, golden_tiny, monkeypatch):
    to = tmp_path / "hub"

    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="cannot be written: No space left on device"):
            write_hub(golden_tiny, to)
        assert not to.exists()
    write_hub(golden_tiny, to)
    before = (to / "README.md").read_text()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError):
        write_hub(Path(tiny_file), to, overwrite=True)
    assert (to / "README.md").read_text() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_file_without_a_card_or_that_fails_its_self_test_is_refused(tmp_path, tiny_model, golden_tiny):
    (tmp_path / "foreign.onnx").write_bytes(tiny_model(card=None))
    with pytest.raises(ModelError, match="has no model card"):
        write_hub(tmp_path / "foreign.onnx", tmp_path / "hub")
    card = Classifier.load(golden_tiny).card
    wrong = dataclasses.replace(card.golden, probabilities=card.golden.probabilities[::-1])
    (tmp_path / "wrong.onnx").write_bytes(tiny_model(card=dataclasses.replace(card, golden=wrong)))
    with pytest.raises(ModelError, match="fails its self-test here"):
        write_hub(tmp_path / "wrong.onnx", tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


@pytest.fixture
def golden_tiny(tmp_path, tiny_model):
    images = np.zeros((3, 3, 8, 8), np.uint8)
    images[np.arange(3), np.arange(3)] = 255
    classifier = Classifier(tiny_model(), "tiny")
    rows = tuple(map(tuple, classifier.probabilities(images).tolist()))
    golden = Golden(images.tobytes(), rows, 1e-4, "CPUExecutionProvider", 1e-7)
    file = tmp_path / "golden.onnx"
    file.write_bytes(tiny_model(card=dataclasses.replace(classifier.card, golden=golden)))
    return file
