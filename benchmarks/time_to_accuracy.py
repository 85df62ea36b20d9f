"""Seconds of training until the user's accuracy: the user's own loops, and ours with the recipe fast, alternating.

    python benchmarks/time_to_accuracy.py SOURCE [--model simple|conv|both] [--runs N]

SOURCE is anything that clf-train --data takes; both sides get the same images, as float32 in 0..1. Each side runs in a
separate process, one after the other, on a machine that should be otherwise idle. If the user's loop ends before it
reaches the accuracy, its total time is used instead: the true ratio is then lower than the one printed.
The last line is JSON: medians over the runs.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

TARGETS = {"simple": 0.49, "conv": 0.62}
HERE = Path(__file__).parent
TENSORS = ("train_data_2", "train_labels_2", "test_data_2", "test_labels_2")
LINE = re.compile(r"epoch (\d+) train_seconds ([\d.]+) loss \S+ test_accuracy ([\d.]+)")


@contextmanager
def as_tensors(source: str):
    """The source as a folder of the user's four tensors: itself, or written to a temporary folder."""
    if all((Path(source) / name).is_file() for name in TENSORS):
        yield source
        return
    import torch

    from clf_train import read_source

    dataset = read_source(source)
    with tempfile.TemporaryDirectory() as folder:
        for part, names in ((dataset.train, TENSORS[:2]), (dataset.test, TENSORS[2:])):
            images = torch.from_numpy(part.images).float()
            torch.save(images / 255 if dataset.dtype == "uint8" else images, Path(folder) / names[0])
            torch.save(torch.from_numpy(part.labels), Path(folder) / names[1])
        yield folder


def seconds_to(target: float, script: str, *arguments: str) -> tuple[float, bool, float]:
    """Run one side: seconds to the accuracy (or in total), whether it was reached, and the final accuracy."""
    command = [sys.executable, str(HERE / script), *arguments]
    reached, seconds, accuracy = None, 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(f"  {line.rstrip()}", flush=True)
            if found := LINE.search(line):
                seconds, accuracy = float(found[2]), float(found[3])
                if reached is None and accuracy >= target:
                    reached = seconds
    if process.returncode or not seconds:
        sys.exit(f"{script} failed")
    return (seconds if reached is None else reached), reached is not None, accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--model", choices=("simple", "conv", "both"), default="both")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    models = TARGETS if options.model == "both" else (options.model,)
    results = {}
    with as_tensors(options.source) as folder:
        for model in models:
            target, pairs = TARGETS[model], []
            for number in range(options.runs):
                print(f"{model}, run {number + 1} of {options.runs}: the user's loop", flush=True)
                theirs = seconds_to(target, "reference_loops.py", folder, model)
                print(f"{model}, run {number + 1} of {options.runs}: ours", flush=True)
                pairs.append((theirs, seconds_to(target, "our_loop.py", folder, model, "fast", str(number))))
            ratios = [ours[0] / theirs[0] if ours[1] else None for theirs, ours in pairs]
            results[model] = {
                "reference_seconds": statistics.median(theirs[0] for theirs, _ in pairs),
                "our_seconds": statistics.median(ours[0] for _, ours in pairs),
                "ratio": None if None in ratios else round(statistics.median(ratios), 4),
                "ratios": ratios,
                "target": target,
                "reference_reached": all(theirs[1] for theirs, _ in pairs),
                "we_reached": all(ours[1] for _, ours in pairs),
                "reference_accuracies": [theirs[2] for theirs, _ in pairs],
                "our_accuracies": [ours[2] for _, ours in pairs],
            }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
