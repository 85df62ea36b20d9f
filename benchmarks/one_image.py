"""Where the microseconds of one image are: the time of a graph up to each of its layers, and of other ways to call it.

    python benchmarks/one_image.py MODEL.onnx...

MODEL takes uint8 images and gives probabilities; a second output is left out. The graph is cut behind each layer, and
each part is run by bound buffers, as a Classifier runs the whole; what a part ends in must leave onnxruntime's own
layout, which costs it up to a microsecond more. One Softmax of ten numbers is what a call costs at least, and eleven of
them tell what a node costs. LiteRT is run too if it is installed and MODEL.tflite lies beside MODEL.onnx (of
`clf-export --for litert`, float32 images in NHWC): with its copies of the image and the answer, and without.

All take turns in one run, on one thread, by the processor time of that thread; the lower quartile of the rounds. Trust
the ratios only; the two in brackets are the least and the most of four parts of the rounds.
"""

import importlib.util
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

ROUNDS, CALLS, WARM = 300, 8, 2
Call = Callable[[], object]


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def bound(model: onnx.ModelProto, given: np.ndarray) -> Call:
    """The model by buffers that stay bound."""
    session = open_session(model)
    binding, name = session.io_binding(), session.get_inputs()[0].name
    answer = np.zeros_like(session.run(None, {name: given})[0])
    for bind, which, array in (
        (binding.bind_input, name, given),
        (binding.bind_output, session.get_outputs()[0].name, answer),
    ):
        bind(which, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    return lambda kept=answer: session.run_with_iobinding(binding)


def softmaxes(count: int) -> onnx.ModelProto:
    nodes = [helper.make_node("Softmax", [f"t{i}"], [f"t{i + 1}"]) for i in range(count)]
    given, answer = (helper.make_tensor_value_info(f"t{i}", TensorProto.FLOAT, [1, 10]) for i in (0, count))
    graph = helper.make_graph(nodes, "softmaxes", [given], [answer])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def litert(file: Path, image: np.ndarray) -> dict[str, Call]:
    if importlib.util.find_spec("ai_edge_litert") is None or not file.is_file():
        return {}
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    place, answer = (
        details[0]["index"] for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    floats = np.ascontiguousarray(image.transpose(0, 2, 3, 1), np.float32)

    def whole() -> np.ndarray:
        interpreter.set_tensor(place, floats)
        interpreter.invoke()
        answered: np.ndarray = interpreter.get_tensor(answer)
        return answered

    return {"LiteRT": whole, "LiteRT, invoke alone": interpreter.invoke}


def sides(file: Path) -> dict[str, Call]:
    """What takes turns; the whole, by bound buffers, comes first."""
    model = onnx.shape_inference.infer_shapes(onnx.load(file))
    image_name, probabilities = model.graph.input[0].name, model.graph.output[0].name
    parts = onnx.utils.Extractor(model)
    whole = parts.extract_model([image_name], [probabilities])
    shape = [1, *(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:])]
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    ten, session = np.zeros((1, 10), np.float32), open_session(whole)
    value = onnxruntime.OrtValue.ortvalue_from_numpy(image)
    found: dict[str, Call] = {
        "whole, bound": bound(whole, image),
        "session.run": lambda: session.run(None, {image_name: image}),
        "run_with_ort_values": lambda: session.run_with_ort_values(None, {image_name: value}),
        **litert(file.with_suffix(".tflite"), image),
        "one Softmax": bound(softmaxes(1), ten),
        "eleven": bound(softmaxes(11), ten),
    }
    rectified = {node.input[0] for node in whole.graph.node if node.op_type == "Relu"}  # fused with the layer before
    reached = {image_name}
    for node in whole.graph.node:
        if reached & set(node.input):
            reached.update(node.output)
            if node.output[0] not in (probabilities, *rectified):
                found[f"to {node.op_type} {node.output[0]}"] = bound(
                    parts.extract_model([image_name], [node.output[0]]), image
                )
    return found


def main() -> None:
    random.seed(0)
    for file in map(Path, sys.argv[1:]):
        calls = sides(file)
        times: dict[str, list[float]] = {name: [] for name in calls}
        names = list(calls)
        for _ in range(ROUNDS):
            random.shuffle(names)
            for name in names:
                call = calls[name]
                for _ in range(WARM):
                    call()
                begun = time.thread_time()
                for _ in range(CALLS):
                    call()
                times[name].append((time.thread_time() - begun) / CALLS)
        whole = np.array(times["whole, bound"])
        print(file)
        for name, taken in ((name, np.array(taken)) for name, taken in times.items()):
            ratios = [np.quantile(taken[i::4], 0.25) / np.quantile(whole[i::4], 0.25) for i in range(4)]
            quarter = np.quantile(taken, 0.25)
            ratio = quarter / np.quantile(whole, 0.25)
            print(f"  {name:40} {1e6 * quarter:7.2f} us  {ratio:.3f} [{min(ratios):.3f} {max(ratios):.3f}]")


if __name__ == "__main__":
    main()
