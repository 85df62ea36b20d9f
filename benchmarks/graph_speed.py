"""The effect of rewriting exported graphs: images/s before and after it, step by step, compared with OpenVINO.

    python benchmarks/graph_speed.py                           # the three models, with fresh weights
    python benchmarks/graph_speed.py RUN --before older.onnx   # a run folder, against a file that was exported before

Before is the exporter's plain translation (or the older file). Bare sessions of onnxruntime, one thread each, run
random images; so does OpenVINO, if it is installed, in float32 on the graph before and after. Seconds are processor
time of the process, so that other programs disturb less. The contenders take turns in every round, in rotating order,
and a ratio is the median over the rounds: trust only those. The last line is JSON.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch

from clf_export.graph.convolutions import crop_unused_border, pair_rows, relu_before_pool
from clf_export.graph.rewrite import FOLDING, rewrite
from clf_export.graph.translate import translate
from clf_runtime.engine.engine import open_engine
from clf_train.data.normalisation import Normalisation
from clf_train.models.registry import MODELS, build_model
from clf_train.runs.run import load_net, read_run

Answer = Callable[[np.ndarray], np.ndarray]
STEPS = {
    "folded": (FOLDING,),
    "folded, relu first": (FOLDING, (relu_before_pool,)),
    "folded, relu first, cropped": (FOLDING, (relu_before_pool, crop_unused_border)),
    "after": (FOLDING, (relu_before_pool, crop_unused_border, pair_rows)),
}


def plain_graph(name: str) -> onnx.ModelProto:
    """The exporter's translation of a model with fresh weights, or of the net of a run folder."""
    if name in MODELS:
        torch.manual_seed(0)
        net = build_model(name, (3, 32, 32), 10).eval()
        return translate(net, Normalisation((125.0, 123.0, 114.0), (62.5, 62.0, 66.5)), 1.1, (3, 32, 32), "uint8")
    run = read_run(Path(name))
    return translate(load_net(Path(name), run), run.normalisation, run.temperature, run.image_shape, run.dtype)


def contenders(name: str, before: bytes | None) -> dict[str, bytes]:
    plain = plain_graph(name)
    models = {"before": before or plain.SerializeToString()}
    for step, stages in STEPS.items():
        model = onnx.ModelProto.FromString(plain.SerializeToString())
        rewrite(model, stages)
        if model.SerializeToString() not in models.values():
            models[step] = model.SerializeToString()
    models["after"] = models.pop(list(models)[-1])
    return models


def with_onnxruntime(model: bytes) -> Answer:
    return open_engine(model, "the model", device="cpu").run


def with_openvino(model: bytes) -> Answer:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(model), "CPU", options).create_infer_request()
    return lambda images: request.infer({0: images})[0]


def rate(answer: Answer, images: np.ndarray, seconds: float) -> float:
    answer(images)
    count, began, cpu_began = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds or count < 2:
        answer(images)
        count += 1
    return count * len(images) / (time.process_time() - cpu_began)


def measure(answers: dict[str, Answer], images: np.ndarray, rounds: int, seconds: float) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in answers}
    order = list(answers)
    for _ in range(rounds):
        order = order[1:] + order[:1]
        for name in order:
            rates[name].append(rate(answers[name], images, seconds))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS), help="simple, conv, resnet8, or run folders")
    parser.add_argument("--before", type=Path, metavar="FILE", help="an older .onnx file of the one model")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 256])
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--seconds", type=float, default=0.02, help="of each contender in each round")
    options = parser.parse_args()
    if options.before and len(options.models) != 1:
        parser.error("--before is for one model")
    results = []
    print(f"{'model':10} {'batch':>5}  {'graph':40} {'images/s':>9} {'ratio':>6}  quartiles     differs by")
    for name in options.models:
        models = contenders(name, options.before and options.before.read_bytes())
        answers = {graph: with_onnxruntime(model) for graph, model in models.items()}
        try:
            answers |= {f"OpenVINO, {graph}": with_openvino(models[graph]) for graph in ("before", "after")}
        except ImportError:
            print("OpenVINO is not installed: pip install openvino")
        [image] = onnx.load_from_string(models["before"]).graph.input
        shape = [d.dim_value for d in image.type.tensor_type.shape.dim[1:]]
        for batch in options.batches:
            images = np.random.default_rng(0).integers(0, 256, (batch, *shape), dtype=np.uint8)
            if image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
                images = images.astype(np.float32) / 255
            rates = measure(answers, images, options.rounds, options.seconds)
            reference = answers["before"](images)
            for graph, values in rates.items():
                ratios = [a / b for a, b in zip(values, rates["before"], strict=True)]
                low, middle, high = statistics.quantiles(ratios, n=4)
                speed = statistics.median(values)
                differs = float(np.abs(answers[graph](images) - reference).max())
                model = Path(name).name
                print(
                    f"{model:10} {batch:5}  {graph:40} {speed:9,.0f} {middle:6.3f}  {low:.3f} {high:.3f}  {differs:.1e}"
                )
                results.append(
                    {"model": model, "batch": batch, "graph": graph, "images_per_second": round(speed)}
                    | {"ratio": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)], "differs": differs}
                )
    print(json.dumps({"rounds": options.rounds, "results": results}))


if __name__ == "__main__":
    main()
