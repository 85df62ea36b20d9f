"""Training throughput in images/s, by model and batch size: ours compared with a plain PyTorch loop.

    python benchmarks/training_step.py

Plain is what a notebook does: the same net, contiguous, on uint8 images selected by a list of indices, normalised and
trained by SGD with momentum, in a process with PyTorch's defaults. Ours is clf_train.loop.fit with the recipe fast at
that batch size, in a process with clf-train's settings. `beside` repeats ours, with and without these settings, while
another process keeps one core busy. Trust the ratios only. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import time

BATCHES = {"simple": (32, 128, 256, 1024), "conv": (32, 128, 256, 1024), "resnet8": (32, 128)}
COUNT = {"simple": 20_000, "conv": 8_000, "resnet8": 1_024}
BUSY = "while True: pass"


def ours(model: str, batch: int, settled: bool) -> float:
    """Images/s of our loop; this process must not have loaded torch."""
    if settled:
        from clf_train.loop.process import configure_process

        configure_process()
    from dataclasses import replace

    import torch

    from clf_train import find_recipe
    from clf_train.data.dataset import Split
    from clf_train.data.normalisation import Normalisation
    from clf_train.loop.fit import fit
    from clf_train.models.registry import build_model, find_architecture

    images, labels = synthetic(COUNT[model])
    recipe = replace(find_recipe("fast", model), batch_size=batch, epochs=3, least_steps=0, validation_share=0)
    torch.manual_seed(0)
    net = build_model(model, (3, 32, 32), 10)
    normalise = Normalisation((120.0,) * 3, (60.0,) * 3)
    tricks = find_architecture(model).tricks
    fitted = fit(net, Split(images, labels), recipe, normalise, torch.device("cpu"), 0, tricks=tricks)
    return max(epoch.images_per_second for epoch in fitted.history[1:])


def plain(model: str, batch: int) -> float:
    """Images/s of a plain loop."""
    import torch
    import torch.nn.functional as F

    from clf_train.models.registry import build_model

    images, labels = map(torch.from_numpy, synthetic(COUNT[model]))
    torch.manual_seed(0)
    net = build_model(model, (3, 32, 32), 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for index in torch.randperm(len(images)).split(batch):
            loss = F.cross_entropy(net((images[index].float() - 120.0) / 60.0), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        best = max(best, len(images) / (time.perf_counter() - start))
    return best


def synthetic(count: int):
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), rng.integers(0, 10, count)


def child(kind: str, model: str, batch: int, busy: bool = False) -> float:
    """Measure in a separate process, optionally while another one keeps a core busy."""
    neighbour = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        out = subprocess.run(
            [sys.executable, __file__, "--child", kind, model, str(batch)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return float(out.stdout)
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        kind, model, batch = sys.argv[2], sys.argv[3], int(sys.argv[4])
        print(plain(model, batch) if kind == "plain" else ours(model, batch, kind == "settled"))
        return
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"images/s, {cores} cores\n\n{'model':<8} {'batch':>6} {'plain':>9} {'ours':>9} {'ratio':>6}")
    for model, sizes in BATCHES.items():
        for batch in sizes:
            a, b = child("plain", model, batch), child("settled", model, batch)
            results.setdefault(model, {})[str(batch)] = {"plain": a, "ours": b, "ratio": b / a}
            print(f"{model:<8} {batch:>6} {a:>9,.0f} {b:>9,.0f} {b / a:>6.2f}", flush=True)
    print(f"\nbeside a busy process\n{'model':<8} {'batch':>6} {'not settled':>12} {'ours':>9} {'ratio':>6}")
    for model, batch in (("simple", 256), ("conv", 128)):
        a, b = (child(kind, model, batch, busy=True) for kind in ("unsettled", "settled"))
        results[model]["beside"] = {"unsettled": a, "ours": b, "ratio": b / a}
        print(f"{model:<8} {batch:>6} {a:>12,.0f} {b:>9,.0f} {b / a:>6.2f}", flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
