"""Deliveries to other tools: what is in them, that they answer as the original, and what is refused."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from clf_export.delivery.environment import find_tool
from clf_export.delivery.original import read_original
from clf_export.delivery.rework import to_convert
from clf_export.delivery.tools import TOOLS, write_for
from clf_export.errors import DeliveryError, MissingToolError, OutputError
from clf_runtime import Classifier, ClfError, ModelCard
from clf_runtime.model.familiarity import Familiarity
from clf_runtime.model.file import default_model
from clf_runtime.model.geometry import Geometry
from clf_runtime.model.records import Golden

NAMES = ("red", "deep green", "blue")
UNCHANGED = ("triton", "node")
ONNX = ("openvino", "triton", "transformers", "ultralytics", "node")


@pytest.fixture
def exported(tiny_model, tmp_path):
    """A tiny model with golden cases, colours that are hard to tell, in a file."""

    def make(dtype="uint8", card=None, name="tiny.onnx", familiar=False, **changes):
        images = np.random.default_rng(3).integers(90, 130, (4, 3, 8, 8)).astype(dtype)
        images = images if dtype == "uint8" else images / np.float32(255)
        high = 255.0 if dtype == "uint8" else 1.0
        plain = ModelCard("tiny", NAMES, (3, 8, 8), dtype, (0.0, high))
        answers = Classifier(tiny_model(dtype=dtype, card=plain), "tiny").probabilities(images)
        golden = Golden(images.tobytes(), tuple(map(tuple, answers.tolist())), 1e-4, "CPUExecutionProvider", 1e-7)
        made = dataclasses.replace(plain, golden=golden, **changes)
        if familiar:
            levels = images.mean(axis=(2, 3)).max(axis=1) / high
            known = Familiarity(0.25, 100, True, 10, ("noise",), (1.0,), tuple(map(float, levels)))
            made = dataclasses.replace(made, familiarity=known)
        file = tmp_path / name
        file.write_bytes(tiny_model(dtype=dtype, card=made, familiar=familiar))
        return file

    return make


@pytest.fixture(autouse=True)
def nothing_on_the_path(monkeypatch, tmp_path):
    """No tool of the machine is run: what is installed beside these tests must not decide them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NODE_PATH", raising=False)


def place_of(tool, tmp_path):
    return tmp_path / f"for-{tool}{TOOLS[tool].suffix}"


def run(model, images):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    [first] = session.get_inputs()
    batch = session.get_inputs()[0].shape[0]
    parts = [images[i : i + 1] for i in range(len(images))] if batch == 1 else [images]
    return first, np.concatenate([session.run(None, {first.name: part})[0] for part in parts])


def operators(model):
    return {node.op_type for node in onnx.ModelProto.FromString(model).graph.node}


@pytest.mark.parametrize("tool", UNCHANGED)
@pytest.mark.parametrize("familiar", [False, True])
def test_a_file_that_is_taken_as_it_is_stays_so(tool, exported, tmp_path, familiar):
    file, place = exported(familiar=familiar), place_of(tool, tmp_path)
    lines = write_for(tool, file, place)
    inside = "1/model.onnx" if tool == "triton" else "model.onnx"
    assert (place / inside).read_bytes() == file.read_bytes()
    assert lines[0].startswith(f"{place}: ")
    assert any("largest difference of a probability 0.0e+00: onnxruntime" in line for line in lines)
    assert any("is not installed, so it was not tried" in line for line in lines)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    ("tool", "name", "high"),
    [("openvino", "pixels", 255), ("transformers", "pixel_values", 1), ("ultralytics", "images", 1)],
)
def test_one_that_is_changed_answers_as_the_original(tool, name, high, dtype, exported, tmp_path):
    file, place = exported(dtype, familiar=True), place_of(tool, tmp_path)
    write_for(tool, file, place)
    original = read_original(file)
    scale = high / original.card.value_range[1]
    graph = place / "model.onnx" if place.is_dir() else place
    first, answers = run(str(graph), (original.images * scale).astype(np.float32))
    assert (first.name, first.type, first.shape[1:]) == (name, "tensor(float)", [3, 8, 8])
    if tool == "transformers":
        answers = np.exp(answers) / np.exp(answers).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers, original.expected, atol=1e-6)
    made = onnx.load(graph)
    assert len(made.graph.output) == 1
    keys = {entry.key: entry.value for entry in made.metadata_props}
    assert keys["source_sha256"] == original.sha256
    assert not [key for key in keys if key.startswith("clf_edge.")]


def test_what_each_tool_reads_beside_the_graph(exported, tmp_path):
    file = exported(geometry=Geometry("crop"))
    for tool in ONNX:
        write_for(tool, file, place_of(tool, tmp_path))
    keys = {e.key: e.value for e in onnx.load(place_of("openvino", tmp_path)).metadata_props}
    assert keys["model_info model_type"] == "Classification"
    assert keys["model_info labels"] == "red deep_green blue"
    assert keys["model_info resize_type"] == "crop"
    keys = {e.key: e.value for e in onnx.load(place_of("ultralytics", tmp_path)).metadata_props}
    assert keys["names"] == "{0: 'red', 1: 'deep green', 2: 'blue'}"
    assert (keys["task"], keys["imgsz"], keys["stride"]) == ("classify", "[8, 8]", "1")
    config = json.loads((place_of("transformers", tmp_path) / "config.json").read_text("utf-8"))
    assert config["id2label"] == {"0": "red", "1": "deep green", "2": "blue"}
    processor = json.loads((place_of("transformers", tmp_path) / "preprocessor_config.json").read_text("utf-8"))
    assert (processor["size"], processor["do_normalize"]) == ({"height": 8, "width": 8}, False)
    triton = place_of("triton", tmp_path)
    assert (triton / "labels.txt").read_text("utf-8") == "red\ndeep green\nblue\n"
    config = (triton / "config.pbtxt").read_text("utf-8")
    assert 'name: "for-triton"' in config
    assert 'input [ { name: "image" data_type: TYPE_UINT8 dims: [3, 8, 8] } ]' in config
    node = place_of("node", tmp_path)
    assert json.loads((node / "labels.json").read_text("utf-8")) == list(NAMES)
    assert 'new ort.Tensor("uint8", bytes, [1, 3, 8, 8])' in (node / "classify.js").read_text("utf-8")


def test_what_triton_reads_is_of_its_own_form(exported, tmp_path):
    """By its own parser, where tritonclient is installed."""
    config = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient is not installed here")
    from google.protobuf import text_format

    write_for("triton", exported(familiar=True), tmp_path / "served")
    read = text_format.Parse((tmp_path / "served" / "config.pbtxt").read_text("utf-8"), config.ModelConfig())
    assert [output.name for output in read.output] == ["probabilities", "familiarity"]


def test_rows_in_pairs_are_undone_where_a_converter_cannot_take_them():
    """The model that ships computes two rows at once, for onnxruntime; ncnn loses the axis that they are folded on."""
    original = read_original(default_model())
    assert "ReduceMean" in operators(to_convert(original, "a tool", ""))
    data = to_convert(original, "a tool", "", one_image=True, single_rows=True)
    assert {"Reshape", "ReduceMean"}.isdisjoint(operators(data))
    assert len(data) < 0.6 * len(original.data)
    _, answers = run(data, original.images.astype(np.float32))
    np.testing.assert_allclose(answers, original.expected, atol=1e-6)


@pytest.mark.parametrize("tool", [name for name, tool in TOOLS.items() if tool.converts])
def test_a_converter_that_is_not_installed_is_told_of(tool, exported, tmp_path, monkeypatch):
    if find_tool(TOOLS[tool]) is not None:
        pytest.skip(f"{tool} is installed here")
    with pytest.raises(MissingToolError, match=rf"not installed: pip install {TOOLS[tool].package}, here or in"):
        write_for(tool, exported(), place_of(tool, tmp_path))
    assert not place_of(tool, tmp_path).exists()
    with pytest.raises(DeliveryError, match="is int8"):
        write_for(tool, exported(precision="int8"), place_of(tool, tmp_path))


def test_a_tool_is_found_by_its_files_on_the_path(tmp_path, monkeypatch):
    place = tmp_path / "there" / "lib" / "python3.11" / "site-packages" / "MNN"
    place.mkdir(parents=True)
    programs = tmp_path / "there" / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    assert find_tool(TOOLS["mnn"]) is None
    (programs / "python").touch()
    assert find_tool(TOOLS["mnn"]) == programs / "python"


def test_what_is_refused_is_one_line_and_nothing_is_written(exported, tiny_model, tmp_path):
    file = exported()
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_model())
    taken, holding = tmp_path / "taken.onnx", tmp_path / "holding"
    taken.write_bytes(b"mine")
    holding.mkdir()
    (holding / "letter.txt").write_text("mine", "utf-8")
    grey = exported("float32", name="odd.onnx", value_range=(0.0, 2.0))
    for error, tool, model, place, overwrite, words in (
        (DeliveryError, "nonsense", file, tmp_path / "x", False, "no tool is called 'nonsense'; known are openvino"),
        (DeliveryError, "openvino", file, tmp_path / "x", False, "name ends in .onnx"),
        (OutputError, "openvino", file, taken, False, "exists already"),
        (DeliveryError, "openvino", file, file, True, "is the file itself"),
        (OutputError, "triton", file, holding, False, "exists already"),
        (OutputError, "triton", file, holding, True, "also holds letter.txt"),
        (OutputError, "triton", file, taken, True, "is a file"),
        (DeliveryError, "triton", other, tmp_path / "x", False, "has no golden cases"),
        (DeliveryError, "triton", file, tmp_path / "my x", False, "'my x' cannot be asked for over HTTP"),
        (ClfError, "triton", tmp_path / "none.onnx", tmp_path / "x", False, "cannot be read"),
        (DeliveryError, "ultralytics", grey, tmp_path / "x.onnx", False, "in 0..2, and Ultralytics pictures"),
    ):
        with pytest.raises(error, match=words) as raised:
            write_for(tool, model, place, overwrite=overwrite)
        assert "\n" not in str(raised.value)
    assert (taken.read_bytes(), (holding / "letter.txt").read_text("utf-8")) == (b"mine", "mine")
    assert not (tmp_path / "x").exists()
    assert [p.name for p in tmp_path.iterdir() if ".partial" in p.name] == []


def test_a_delivery_is_replaced_only_where_that_is_asked_for(exported, tmp_path):
    first, second = exported(), exported(description="another", name="second.onnx")
    for tool in ("triton", "ultralytics"):
        place = place_of(tool, tmp_path)
        write_for(tool, first, place)
        write_for(tool, second, place, overwrite=True)
    assert (place_of("triton", tmp_path) / "1" / "model.onnx").read_bytes() == second.read_bytes()


def test_a_tool_that_answers_otherwise_leaves_nothing(exported, tmp_path, monkeypatch):
    """A trial of the tests stands for the tool: it answers, and then answers otherwise, and then fails."""
    from clf_export.delivery import proof, tools

    trial = tmp_path / "trial.py"
    monkeypatch.setattr(proof, "TRIALS", tmp_path)
    tool = dataclasses.replace(TOOLS["node"], trial="trial.py", module="json")
    monkeypatch.setitem(tools.TOOLS, "node", tool)
    file = exported()
    np.save(tmp_path / "expected.npy", read_original(file).expected)
    answer = f"import sys, numpy as np; a = np.load({str(tmp_path / 'expected.npy')!r}); "
    for wrong, words in (("a[0] += 0.01; ", "differs by 1.0e-02 on a golden case"), ("1 / 0; ", "ZeroDivisionError")):
        trial.write_text(answer + wrong + "np.save(sys.argv[3], a)", "utf-8")
        with pytest.raises(DeliveryError, match=words):
            write_for("node", file, tmp_path / "node")
        assert not (tmp_path / "node").exists()
    trial.write_text(answer + "np.save(sys.argv[3], a); print('1.2.3')", "utf-8")
    lines = write_for("node", file, tmp_path / "node")
    assert any("largest difference of a probability 0.0e+00: onnxruntime-node 1.2.3" in line for line in lines)


def test_what_is_calibrated_takes_other_images_than_those_that_measure_it(exported, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8)).astype(np.uint8)
    data = tmp_path / "data.npz"
    np.savez(data, images=images, labels=np.arange(60) % 3, names=np.array(NAMES))
    known = read_original(exported(), str(data)).labelled
    assert (len(known.calibration), len(known.tested), len(known.labels)) == (48, 12, 12)
    rows = {image.tobytes() for image in known.calibration}
    assert rows.isdisjoint(image.tobytes() for image in known.tested)
    np.savez(data, images=images, labels=np.arange(60) % 2, names=np.array(NAMES[:2]))
    with pytest.raises(DeliveryError, match="not those of the model"):
        read_original(exported(), str(data))
