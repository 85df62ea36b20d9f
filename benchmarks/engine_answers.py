"""Run images on an engine that is not onnxruntime, inside its own environment, where clf-edge is not installed.

usage: python benchmarks/engine_answers.py ENGINE MODEL IMAGES ANSWERS [--alone]

IMAGES is an .npy file that the model takes as it is; ANSWERS, an .npz file, gets the outputs, each as float32
[2, images, ...]: one by one and in a batch, or with --alone one by one twice.
"""

import functools
import sys
from pathlib import Path

import numpy as np


def answer_files(name: str, model: Path, images: Path, answers: Path, alone_only: bool) -> int:
    """Run the images of a file, one by one and in a batch, and write the outputs, each as float32 [2, cases, ...].

    With `alone_only` there is no batch, and the outputs of single images are written twice.
    """
    batch = np.load(images)
    try:
        run = FOREIGN[name](str(model))
        # copied: engines reuse their buffers
        singly = [[np.array(output) for output in run(batch[i : i + 1])] for i in range(len(batch))]
        alone = [np.concatenate(outputs) for outputs in zip(*singly, strict=True)]
        together = alone if alone_only else run(batch)
        np.savez(answers, *(np.stack(pair) for pair in zip(alone, together, strict=True)))
    except Exception as error:  # each engine has its own
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _reference(model):  # type: ignore[no-untyped-def]
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx.version_converter import convert_version

    loaded = onnx.load(model)
    if any(node.op_type == "DequantizeLinear" for node in loaded.graph.node):
        loaded = convert_version(loaded, 19)  # supported by the evaluator from there on, with the same semantics
    evaluator = ReferenceEvaluator(loaded)
    return lambda images: evaluator.run(None, {evaluator.input_names[0]: images})


def _openvino(model):  # type: ignore[no-untyped-def]
    import openvino

    # In float32: by default OpenVINO uses bfloat16 on processors that have it.
    compiled = openvino.Core().compile_model(model, "CPU", {"EXECUTION_MODE_HINT": "ACCURACY"})
    return lambda images: list(compiled(images).values())


def _opencv(model):  # type: ignore[no-untyped-def]
    import cv2

    net = cv2.dnn.readNetFromONNX(model)
    names = sorted(net.getUnconnectedOutLayersNames(), key=lambda name: name != "probabilities")

    def run(images):  # type: ignore[no-untyped-def]
        net.setInput(images)
        probabilities, *others = net.forward(names)
        return [probabilities, *(other.reshape(len(other)) for other in others)]  # [batch, 1] in OpenCV 4

    return run


def _tract(model):  # type: ignore[no-untyped-def]
    import tract

    @functools.cache
    def runnable(shape, dtype):  # type: ignore[no-untyped-def]
        loaded = tract.onnx().load(model)
        loaded.set_input_fact(0, f"{','.join(map(str, shape))},{dtype}")
        return loaded.into_model().into_runnable()

    names = {"uint8": "u8", "float32": "f32"}
    return lambda images: [
        output.to_numpy() for output in runnable(images.shape, names[str(images.dtype)]).run([images])
    ]


FOREIGN = {"reference": _reference, "openvino": _openvino, "opencv": _opencv, "opencv4": _opencv, "tract": _tract}


if __name__ == "__main__":
    name, *files = sys.argv[1:5]
    sys.exit(answer_files(name, *map(Path, files), "--alone" in sys.argv[5:]))
