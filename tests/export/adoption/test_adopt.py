"""A foreign classifier adopted: whatever its layout, its output or its operator set, the answers are the original's."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from clf_export.adoption import adopt as adopting
from clf_export.adoption.adopt import adopt_onnx
from clf_export.adoption.stated import Stated
from clf_export.errors import AdoptionError, OutputError, ParityError, QuantisationError
from clf_export.graph.translate import IR_VERSION, OPSET
from clf_runtime import Classifier
from clf_runtime.commands.describe import card_lines
from clf_runtime.evaluation.self_test import self_test
from clf_runtime.model.geometry import Geometry

NAMES = ("red", "green", "blue")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = {"value_range": (0, 1), "mean": MEAN, "std": STD}
CAFFE = {"value_range": (0, 255), "mean": (104, 117, 123), "std": (58, 57, 56), "channels": "BGR"}


def by_hand(file, images, stated):
    """What the original gives for pixels [N, 3, 8, 8]: written again here, one image at a time where it must be."""
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    [taken] = session.get_inputs()
    x = images.astype(np.float64)
    if stated.channels == "BGR":
        x = x[:, ::-1]
    if stated.value_range is not None:
        low, high = stated.value_range
        x = low + x * (high - low) / 255
        mean, std = (np.array(v).reshape(1, -1, 1, 1) for v in (stated.mean, stated.std))
        x = (x - mean) / std
    if stated.layout == "NHWC":
        x = x.transpose(0, 2, 3, 1)
    kind = {"tensor(uint8)": np.uint8}.get(taken.type, np.float32)
    rows = [session.run(["s"], {"x": np.ascontiguousarray(row[None].astype(kind))})[0].ravel() for row in x]
    scores = np.stack(rows).astype(np.float64)
    if scores.shape[1] == 1:
        scores = np.concatenate([0 * scores, scores], axis=1) if stated.logits else np.hstack([1 - scores, scores])
    if stated.logits:
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    return scores


CASES = {
    "torch": ({}, IMAGENET),
    "an old opset, BGR, logits": ({"opset": 11, "ir": 6, "end": "logits"}, {**CAFFE, "logits": True}),
    "an old softmax": ({"opset": 9, "ir": 4}, {"value_range": (-1, 1), "mean": (0,), "std": (1,)}),
    "a new opset and IR, NHWC": ({"opset": 21, "ir": 11, "layout": "NHWC"}, {**CAFFE, "layout": "NHWC"}),
    "one image only": ({"batch": 1, "flatten": "Reshape"}, IMAGENET),
    "four images only": ({"batch": 4, "flatten": "Reshape", "end": "logits"}, {**IMAGENET, "logits": True}),
    "any size, four axes": ({"size": ("h", "w"), "end": "four axes"}, {**IMAGENET, "image_size": (8, 8)}),
    "uint8, NHWC": ({"dtype": "uint8", "layout": "NHWC"}, {"layout": "NHWC"}),
    "one logit": ({"classes": 1, "end": "logits"}, {**IMAGENET, "logits": True, "names": ("no", "yes")}),
    "one probability": ({"classes": 1, "end": "sigmoid"}, {**IMAGENET, "names": ("no", "yes")}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_answers_are_the_originals(saved, pictures, tmp_path, case):
    model, words = CASES[case]
    file, stated = saved(**model), Stated(**{"names": NAMES, **words})
    images = np.load(pictures)["images"]
    data = pictures
    if "names" in words:  # these pictures' labels are of others
        np.save(tmp_path / "images.npy", images)
        data = str(tmp_path / "images.npy")
    made = adopt_onnx(file, stated, data, tmp_path / "ours.onnx", familiarity="off")
    ours = Classifier.load(tmp_path / "ours.onnx")
    if model.get("batch") != 4:
        given = np.stack([p.distribution for p in ours.predict_batch(images, distribution=True)])
        np.testing.assert_allclose(given, by_hand(str(file), images, stated), atol=1e-5)
    assert made.proof.test.max_difference < 1e-4
    assert made.proof.edge_images > 1000
    assert self_test(ours).passed
    proto = onnx.load(tmp_path / "ours.onnx")
    assert (proto.ir_version, [(o.domain, o.version) for o in proto.opset_import]) == (IR_VERSION, [("", OPSET)])
    assert ours.card.original.startswith("theirs.onnx, sha256 ")
    assert (ours.card.names, ours.card.image_shape, ours.card.dtype) == (stated.names, (3, 8, 8), "uint8")
    if stated.channels == "BGR":
        np.testing.assert_allclose(ours.card.mean, (123, 117, 104))
    if stated.mean == MEAN:
        np.testing.assert_allclose(ours.card.mean, np.array(MEAN) * 255)


def test_labels_give_an_accuracy_and_their_absence_none(saved, pictures, tmp_path):
    file, stated = saved(), Stated(NAMES, **IMAGENET)
    images, labels = (np.load(pictures)[name] for name in ("images", "labels"))
    adopt_onnx(file, stated, pictures, tmp_path / "ours.onnx", familiarity="off")
    card = Classifier.load(tmp_path / "ours.onnx").card
    right = (by_hand(str(file), images, stated).argmax(axis=1) == labels).mean()
    assert (card.parity.images, card.parity.onnx_accuracy) == (40, right)
    assert "max. difference from the original" in "\n".join(card_lines(Classifier.load(tmp_path / "ours.onnx")))
    np.save(tmp_path / "images.npy", images)
    made = adopt_onnx(file, stated, str(tmp_path / "images.npy"), tmp_path / "other.onnx", familiarity="off")
    card = Classifier.load(tmp_path / "other.onnx").card
    assert (made.labelled, card.parity, len(card.golden.probabilities)) == (False, None, 8)
    with pytest.raises(QuantisationError, match="no labels"):
        adopt_onnx(file, stated, str(tmp_path / "images.npy"), tmp_path / "third.onnx", int8="require")


def test_a_familiarity_is_fitted_to_images_that_are_not_tested(saved, pictures, tmp_path):
    random = np.random.default_rng(0)
    images = np.concatenate([np.load(pictures)["images"]] * 3) + random.integers(0, 9, (120, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "many.npz", images=images, labels=np.arange(120) % 3, names=np.array(NAMES))
    made = adopt_onnx(saved(), Stated(NAMES, **IMAGENET), str(tmp_path / "many.npz"), tmp_path / "ours.onnx")
    card = made.model.card
    assert (made.familiarity_problem, made.proof.test.images, made.rest.images) == (None, 24, 96)
    assert card.familiarity.images == 24
    assert card.control.images == 24
    assert self_test(Classifier.load(tmp_path / "ours.onnx")).passed


def test_pictures_of_another_size_need_a_fit_and_can_be_scaled_in_the_graph(saved, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(1)
    for i in range(6):
        image.fromarray(random.integers(0, 256, (20 + i, 14, 3), np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    data, file = str(tmp_path / "photos"), saved()
    with pytest.raises(AdoptionError, match=r"pictures of 2\dx14, the model takes 8x8: .*--fit stretch, pad"):
        adopt_onnx(file, Stated(NAMES, **IMAGENET), data, tmp_path / "ours.onnx")
    stated = Stated(NAMES, geometry=Geometry("crop"), **IMAGENET)
    made = adopt_onnx(file, stated, data, tmp_path / "ours.onnx", input="photo", familiarity="off")
    assert made.photos.same_pixels < 1e-5
    assert (made.model.card.input, made.model.card.geometry.fit) == ("photo", "crop")
    assert self_test(Classifier.load(tmp_path / "ours.onnx")).passed
    with pytest.raises(AdoptionError, match="--input photo needs to know how photos are resized: pass --fit"):
        adopt_onnx(file, Stated(NAMES, **IMAGENET), data, tmp_path / "photo.onnx", input="photo")


def test_int8_is_judged_on_images_that_are_not_tested(saved, pictures, tmp_path, monkeypatch):
    from clf_export.int8 import quantize

    monkeypatch.setattr(quantize, "_SETTINGS", quantize._SETTINGS[:1])
    monkeypatch.setattr(quantize, "_SECONDS", 0.02)
    images = np.concatenate([np.load(pictures)["images"]] * 3)
    np.savez(tmp_path / "many.npz", images=images, labels=np.arange(120) % 3, names=np.array(NAMES))
    stated = Stated(NAMES, **IMAGENET)
    options = {"int8": "auto", "familiarity": "off"}
    made = adopt_onnx(saved(), stated, str(tmp_path / "many.npz"), tmp_path / "ours.onnx", **options)
    assert (made.proof.test.images, made.quantised.verdict.judgement.images) == (24, 48)
    assert made.model.card.int8.reason.startswith("float32 is recommended: 48 images are too few")
    assert not (tmp_path / "ours.int8.onnx").exists()


def test_a_graph_that_differs_is_not_written(saved, pictures, tmp_path, monkeypatch):
    build = adopting.build

    def wrong(original, stated, contract, shape):
        model = build(original, stated, contract, shape)
        [weights] = [t for t in model.graph.initializer if list(t.dims) == [6, 3, 3, 3]]
        values = onnx.numpy_helper.to_array(weights) * 1.01
        weights.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weights.name))
        return model

    monkeypatch.setattr(adopting, "build", wrong)
    with pytest.raises(ParityError, match="differ from the original's, so no file is written"):
        adopt_onnx(saved(), Stated(NAMES, **IMAGENET), pictures, tmp_path / "ours.onnx", familiarity="off")
    assert not (tmp_path / "ours.onnx").exists()


def test_of_several_outputs_one_is_taken_and_the_rest_left_out(saved, pictures, tmp_path):
    label = helper.make_node("ArgMax", ["s"], ["label"], axis=1, keepdims=0)
    named = helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])
    adopt_onnx(
        saved(extra=[label], outputs=[named]),
        Stated(NAMES, **IMAGENET),
        pictures,
        tmp_path / "ours.onnx",
        familiarity="off",
    )
    assert "ArgMax" not in {node.op_type for node in onnx.load(tmp_path / "ours.onnx").graph.node}
    hidden = helper.make_tensor_value_info("f", TensorProto.FLOAT, ["N", 6])
    file = saved(outputs=[hidden])
    with pytest.raises(AdoptionError, match=r"several outputs of floats \(s, f\): also state the one .*--output"):
        adopt_onnx(file, Stated(NAMES, **IMAGENET), pictures, tmp_path / "two.onnx")
    stated = Stated(NAMES, output="s", **IMAGENET)
    adopt_onnx(file, stated, pictures, tmp_path / "two.onnx", familiarity="off")


def test_a_linear_classifier_of_scikit_learn_takes_flattened_images(saved, pictures, tmp_path):
    """As skl2onnx writes it: operators of ai.onnx.ml, a label beside the scores, one version named twice."""
    random = np.random.default_rng(2)
    node = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "s"],
        domain="ai.onnx.ml",
        coefficients=(random.normal(size=3 * 192) / 10).tolist(),
        intercepts=[0.1, -0.1, 0.0],
        classlabels_ints=[0, 1, 2],
        post_transform="SOFTMAX",
    )
    graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 192])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, ["N", 3]),
        ],
    )
    sets = [helper.make_opsetid("ai.onnx.ml", 1), helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx", 15)]
    file = saved(helper.make_model(graph, opset_imports=sets, ir_version=8))
    stated = Stated(NAMES, (8, 8), (0, 1), (0,), (1,), layout="NHWC")
    with pytest.raises(AdoptionError, match="takes 192 values an image, which --image-size 5x5 does not divide"):
        adopt_onnx(file, replace(stated, image_size=(5, 5)), pictures, tmp_path / "ours.onnx")
    adopt_onnx(file, stated, pictures, tmp_path / "ours.onnx", familiarity="off")
    images = np.load(pictures)["images"]
    flat = images.transpose(0, 2, 3, 1).reshape(40, 192).astype(np.float32) / 255
    [expected] = ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(["s"], {"x": flat})
    given = Classifier.load(tmp_path / "ours.onnx").predict_batch(images, distribution=True)
    np.testing.assert_allclose(np.stack([p.distribution for p in given]), expected, atol=1e-5)


def test_weights_that_only_make_denormals_become_zero(foreign, saved, pictures, tmp_path):
    model = foreign()
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[0] = 1e-39
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w"))
    adopt_onnx(saved(model), Stated(NAMES, **IMAGENET), pictures, tmp_path / "ours.onnx", familiarity="off")
    written = [onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "ours.onnx").graph.initializer]
    [kernels] = [values for values in written if values.shape == (6, 3, 3, 3)]
    assert (kernels[0] == 0).all()
    assert (kernels[1:] != 0).all()


def test_names_in_its_own_metadata_are_read(saved, pictures, tmp_path):
    file = saved(metadata={"names": "{0: 'red', 1: 'green', 2: 'blue'}"})
    made = adopt_onnx(file, Stated(**IMAGENET), pictures, tmp_path / "ours.onnx", familiarity="off")
    assert made.model.card.names == NAMES


def test_an_existing_file_and_the_original_itself_are_not_overwritten(saved, pictures, tmp_path):
    file = saved()
    before = file.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        adopt_onnx(file, Stated(NAMES, **IMAGENET), pictures, file)
    with pytest.raises(OutputError, match="is the file that is adopted"):
        adopt_onnx(file, Stated(NAMES, **IMAGENET), pictures, file, overwrite=True)
    assert file.read_bytes() == before


def test_the_classifier_of_rapidocr(tmp_path):
    """The angle classifier in the wheel of rapidocr-onnxruntime: Paddle's, of opset 11, whose sizes are all dynamic."""
    there = find_spec("rapidocr_onnxruntime")  # not imported: it loads OpenCV
    if there is None or there.origin is None:
        pytest.skip("rapidocr-onnxruntime is not installed")
    [file] = (Path(there.origin).parent / "models").glob("ch_ppocr_mobile_v2.0_cls_*.onnx")
    np.save(tmp_path / "lines.npy", np.random.default_rng(0).integers(0, 256, (8, 3, 48, 192), np.uint8))
    stated = Stated(("0", "180"), (48, 192), (0, 1), (0.5,), (0.5,), "BGR")
    made = adopt_onnx(file, stated, str(tmp_path / "lines.npy"), tmp_path / "angle.onnx", familiarity="off")
    assert made.proof.test.max_difference < 1e-5
