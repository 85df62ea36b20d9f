"""What is no classifier, is not as stated, or is not stated: one line each, and no file."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clf_export.adoption.stated import Stated
from clf_export.commands.export import main
from clf_export.errors import AdoptionError

NAMES = "red,green,blue"
TORCH = ("--range", "0..1", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
PLAIN = ("--names", NAMES, "--range", "0..1", "--mean", "0", "--std", "1")
ALL = ("--names", NAMES, *TORCH)


@pytest.fixture
def refused(command, pictures, tmp_path):
    """Adopt a file with options, and return the one line that says why it is not adopted."""

    def refused(file, *options, data=pictures):
        source = () if data is None else ("--data", data)
        ended = command(main, "--onnx", file, *options, *source, "--out", tmp_path / "out" / "o.onnx", "--quiet")
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), ended.err
        assert ended.err.startswith("clf-export: ")
        assert not list(tmp_path.glob("out/*"))
        return ended.err

    return refused


OPTIONS = {
    "nothing is stated": ({}, (), "also state the classes", "--range", "--mean", "--std"),
    "one thing is missing": ({}, ("--names", NAMES, *TORCH[:4]), "also state the standard deviation"),
    "no size": ({"size": ("h", "w")}, ALL, "also state the size of its images (--image-size HxW)"),
    "another size": ({}, (*ALL, "--image-size", "9"), "--image-size 9x9, but its input is 8x8"),
    "channels last": ({"layout": "NHWC"}, ALL, "with channels last: pass --nhwc"),
    "channels first": ({}, (*ALL, "--nhwc"), "with channels first: leave out --nhwc"),
    "names, too few": ({}, ("--names", "a,b", *TORCH), "2 names are given, but it has 3 outputs"),
    "names, one number": ({"classes": 1, "end": "sigmoid"}, ALL, "1 output (one number: two names, of 0 and of 1)"),
    "mean in other units": ({}, ("--names", NAMES, "--mean", "123", "--std", "1", "--range", "0..1"), "lies outside"),
    "mean of shares": ({}, ("--names", NAMES, "--mean", "0.5", "--std", "1", "--range", "0..255"), "units of 0..1"),
    "mean, two numbers": ({}, ("--names", NAMES, *TORCH[:2], "--mean", "0,0", "--std", "1"), "takes 3 channels"),
    "std of zero": ({}, ("--names", NAMES, *TORCH[:4], "--std", "0"), "--std must be positive"),
    "range upside down": ({}, ("--names", NAMES, "--range", "1..0", *TORCH[2:]), "LOW below HIGH"),
    "no range": ({}, ("--names", NAMES, "--range", "1", *TORCH[2:]), "give LOW..HIGH"),
    "no number": ({}, ("--names", NAMES, *TORCH[:2], "--mean", "nan", "--std", "1"), "give one number, or one"),
    "a name twice": ({}, ("--names", "a,a,b", *TORCH), "duplicate class name 'a'"),
    "one name": ({}, ("--names", "red,", *TORCH), "class name 1 is empty"),
    "no file of names": ({}, ("--names", "nowhere", *TORCH), "no such file; pass a file with one name per line"),
    "logits unsaid": ({"end": "logits"}, ALL, "are no probabilities: pass --logits"),
    "logits that are none": ({}, (*ALL, "--logits"), "are probabilities already"),
    "several labels": ({"end": "sigmoid"}, ALL, "several labels an image (sigmoid) are not supported"),
    "uint8 normalised": ({"dtype": "uint8"}, ALL, "so --range, --mean and --std do not apply"),
    "float16": ({"dtype": "float16"}, ALL, "takes float16", "export it in float32"),
    "grey in BGR": (
        {"channels": 1},
        ("--names", NAMES, "--range", "0..1", "--mean", "0", "--std", "1", "--bgr"),
        "--bgr",
    ),
    "four channels": (
        {"channels": 4},
        ("--names", NAMES, "--range", "0..1", "--mean", "0", "--std", "1"),
        "4 channels",
    ),
    "a huge batch": ({"batch": 1 << 40}, ALL, "images of 3x8x8 have more than"),
    "an unknown output": ({}, (*ALL, "--output", "y"), "has no output 'y'; its outputs are s"),
    "background alone": ({}, (*ALL, "--background", "black"), "pass --fit too"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_what_is_stated_must_fit_the_file(saved, refused, case):
    model, options, *says = OPTIONS[case]
    said = refused(saved(**model), *options)
    for text in says:
        assert text in said


def test_there_must_be_pictures_that_it_knows(saved, refused, pictures, tmp_path):
    file = saved()
    assert "also state pictures" in refused(file, *ALL, data=None)
    assert "--std A,B,C, or 1); pictures for the proof" in refused(file, "--names", NAMES, *TORCH[:4], data=None)
    assert "no such file or folder" in refused(file, *ALL, data="nowhere")
    (tmp_path / "empty").mkdir()
    assert "contains no file" in refused(file, *ALL, data=tmp_path / "empty")
    np.savez(tmp_path / "d.npz", images=np.zeros((4, 3, 8, 8), np.uint8), labels=[0, 1, 2, 3], names=list("wxyz"))
    assert "'w' is not a class of the model (red, green, blue)" in refused(file, *ALL, data=tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", images=np.zeros((4, 5, 9, 3), np.float32), labels=[0, 1, 2, 0], names=NAMES.split(","))
    assert "the model expects" in refused(file, *ALL, data=tmp_path / "e.npz")


def test_run_and_onnx_exclude_each_other(command, saved):
    ended = command(main, "somewhere", "--onnx", saved())
    assert (ended.code, "RUN and --onnx exclude each other" in ended.err) == (2, True)
    ended = command(main, "somewhere", "--nhwc")
    assert (ended.code, "--nhwc is for a foreign file: pass --onnx FILE" in ended.err) == (2, True)


def with_domain(model):
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def with_branch(model):
    then = helper.make_graph(
        [helper.make_node("Identity", ["z"], ["t"])], "t", [], [helper.make_empty_tensor_value_info("t")]
    )
    node = helper.make_node("If", ["yes"], ["branched"], then_branch=then, else_branch=then)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node.append(node)
    return model


def with_external_weights(model):
    weights = model.graph.initializer[0]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")
    weights.ClearField("raw_data")
    return model


def with_hidden_external_constant(model):
    tensor = TensorProto(name="c", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    return model


def with_second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("sizes", TensorProto.FLOAT, [1]))
    model.graph.node.append(helper.make_node("Identity", ["sizes"], ["same"]))
    return model


def with_opset(version):
    def change(model):
        model.opset_import[0].version = version
        return model

    return change


def with_two_versions(model):
    model.opset_import.append(helper.make_opsetid("", 17))
    return model


def with_zip_map(model):
    zipped = helper.make_node("ZipMap", ["s"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
    model.graph.node.append(zipped)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    del model.graph.output[:]
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model.graph.output.append(helper.make_value_info("m", helper.make_sequence_type_proto(kind)))
    return model


def with_strings(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return model


CHANGES = {
    "custom operators": (with_domain, "operators that are not ONNX's own (com.microsoft.Relu)"),
    "control flow": (with_branch, "has control flow (If)"),
    "external data": (with_external_weights, "keeps weights in other files (external data), which are not read"),
    "external data in a constant": (with_hidden_external_constant, "keeps weights in other files"),
    "two inputs": (with_second_input, "has 2 inputs (x, sizes); an image classifier has one"),
    "a future operator set": (with_opset(99), "operator set 99, but this onnx knows 1 to"),
    "no operator set": (with_opset(0), "operator set 0"),
    "two versions": (with_two_versions, "two versions of the operator set"),
    "a list of dictionaries": (with_zip_map, "export it again without ZipMap"),
    "strings": (with_strings, "not an ONNX model that onnxruntime"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_a_file_may_not_have(foreign, saved, refused, case):
    change, says = CHANGES[case]
    file = saved()
    file.write_bytes(change(foreign()).SerializeToString())
    assert says in refused(file, *ALL)


def test_damaged_files_and_our_own(foreign, saved, refused, tiny_file, tmp_path):
    file = saved()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "not an ONNX model" in refused(file, *ALL)
    file.write_bytes(with_domain(foreign()).SerializeToString().replace(b"com.microsoft", b"com.micro\xa0oft"))
    assert "names are not UTF-8" in refused(file, *ALL)
    file.write_bytes(b"")
    assert "not an ONNX model" in refused(file, *ALL)
    assert "cannot be read" in refused(tmp_path, *ALL)
    assert "cannot be read" in refused(tmp_path / "nowhere.onnx", *ALL)
    assert "is a clf-edge model already: use it as it is" in refused(tiny_file, *ALL)


def test_a_graph_that_needs_its_one_batch_size_is_refused(foreign, saved, refused):
    model = foreign(batch=1)
    model.graph.node[2].CopyFrom(helper.make_node("ReduceMean", ["r", "all"], ["mean"], keepdims=0))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3], np.int64), "all"))
    model.graph.node[3].CopyFrom(helper.make_node("Unsqueeze", ["mean", "first"], ["f"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    said = refused(saved(model), *ALL)
    assert "takes batches of 1 only, and its graph cannot be changed to take any" in said
    assert "export it with a dynamic batch axis" in said


def test_statements_are_checked_where_they_are_made():
    with pytest.raises(AdoptionError, match="two classes or more, not only 'cat'"):
        Stated(("cat",))
    with pytest.raises(AdoptionError, match="finite"):
        Stated(("a", "b"), mean=(float("inf"),))


def test_names_come_from_a_file_too_and_the_command_says_what_was_verified(command, saved, pictures, tmp_path):
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    file, out = saved(), tmp_path / "theirs.adopted.onnx"
    options = ("--names", tmp_path / "names.txt", *TORCH, "--data", pictures, "--license", "MIT")
    ended = command(main, "--onnx", file, *options)
    assert (ended.code, ended.out.splitlines()[0].startswith(f"{out}: ")) == (0, True)
    for text in (
        "verified against the original file",
        "opset 18",
        "scaled to 0..1, mean 0.485",
        "accuracy, the original",
    ):
        assert text in ended.out
    assert "PyTorch" not in ended.out
    assert onnx.load(out).graph.input[0].name == "image"
    assert "exists already" in command(main, "--onnx", file, *options).err
