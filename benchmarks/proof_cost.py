"""The seconds of the batch-independence proof, compared with the whole export: best of three.

    python benchmarks/proof_cost.py

On one thread, with the embedded digits.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from clf_export.export import export_run
from clf_export.proof.independence import make_pool, onnx_scores, prove_gradients, prove_independence, torch_scores
from clf_train import find_recipe, read_run, read_source
from clf_train.models.recipe import change
from clf_train.runs.run import load_net
from clf_train.training import train


def seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return round(min(times), 3)


def main() -> None:
    torch.set_num_threads(1)
    dataset = read_source("digits")
    figures = {}
    with tempfile.TemporaryDirectory() as place:
        for model in ("conv", "simple", "resnet8"):
            folder, file = Path(place) / model, Path(place) / f"{model}.onnx"
            train(dataset, {model: change(find_recipe("fast", model), {"epochs": 1})}, folder)
            run = read_run(folder)
            net = load_net(folder, run)
            pool = make_pool(dataset.test.images, run.value_range)
            scores = torch_scores(net, run.normalisation)
            figures[model] = {
                "export": seconds(lambda: export_run(folder, dataset, file, overwrite=True)),  # noqa: B023 - run at once
                "in PyTorch": seconds(lambda: prove_independence(scores, pool, "the net")),  # noqa: B023
                "gradients": seconds(lambda: prove_gradients(net, run.normalisation, pool)),  # noqa: B023
                "file": seconds(lambda: prove_independence(onnx_scores(file.read_bytes()), pool, "the file")),  # noqa: B023
            }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
