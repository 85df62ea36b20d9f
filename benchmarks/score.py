"""How many photographs a second clf-score classifies: one process, two, and Ray with two actors.

    python benchmarks/score.py PICTURES [--model FILE] [--count N] [--rounds N] [--arrays N]

It makes N JPEGs, 320 to 1024 pixels long, from the pictures (PNG or JPEG) below the folder PICTURES, and scores them in
partitions of 25. The sides take turns; a rate is that from the first partition that is done to the last, so that
start-up is not counted, and a ratio is the median of the rounds' ratios. Then it scores small arrays, one .npy file
each, in partitions of 1 to 1,000, by two processes and by Ray. Without Ray its sides are left out. The last line is
JSON.
"""

import argparse
import importlib.util
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from clf_runtime import score
from clf_runtime.scoring.score import Engine, Progress

SIDES: dict[str, tuple[Engine, int]] = {"one": ("local", 1), "two": ("local", 2), "ray": ("ray", 2)}
PARTITIONS = (1, 10, 100, 1000)


def make_photos(pictures: Path, folder: Path, count: int) -> None:
    """JPEGs of several sizes and qualities, the pictures in turn."""
    originals = sorted(p for p in pictures.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    chance = random.Random(0)
    folder.mkdir()
    for i in range(count):
        with Image.open(originals[i % len(originals)]) as opened:
            picture = opened.convert("RGBA")
        background = Image.new("RGBA", picture.size, "white")
        background.alpha_composite(picture)
        scale = chance.choice([320, 500, 640, 800, 1024]) / max(picture.size)
        size = tuple(max(1, round(scale * n)) for n in picture.size)
        background.convert("RGB").resize(size).save(folder / f"{i:05}.jpg", quality=chance.randint(75, 92))


def make_arrays(folder: Path, count: int) -> None:
    """Arrays of 3x32x32, a file each."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        np.save(folder / f"{i:05}.npy", rng.integers(0, 256, (3, 32, 32), dtype=np.uint8))


def measure(source: Path, model: Path | None, side: str, partition: int) -> dict[str, float]:
    """One run: images a second from the first partition done to the last, seconds until the first, processor time."""
    engine, workers = SIDES[side]
    events: list[tuple[float, Progress]] = []
    with tempfile.TemporaryDirectory() as out:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        watch: Callable[[Progress], None] = lambda progress: events.append((time.perf_counter() - start, progress))  # noqa: E731
        done = score(source, out, model, engine=engine, workers=workers, files_per_partition=partition, watch=watch)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert not done.errors
    (first, early), (last, late) = events[1], events[-1]
    rate = (late.images - early.images) / (last - first) if late.images > early.images else done.images / last
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": rate, "first": first, "processor_ms": 1e3 * processor / done.images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--arrays", type=int, default=4000)
    options = parser.parse_args()
    sides = ["one", "two", *(["ray"] if importlib.util.find_spec("ray") else [])]
    found: dict[str, object] = {"photographs": options.count, "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as work:
        photos, arrays = Path(work, "photos"), Path(work, "arrays")
        make_photos(options.pictures, photos, options.count)
        found["bytes_each"] = round(sum(file.stat().st_size for file in photos.iterdir()) / options.count)
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side in sides:
                runs[side].append(measure(photos, options.model, side, 25))
                print(side, runs[side][-1], flush=True)
            sides.reverse()
        for side in runs:
            for name in ("rate", "first", "processor_ms"):
                found[f"{side}_{name}"] = round(statistics.median(run[name] for run in runs[side]), 2)
        for side, base in (("two", "one"), ("ray", "two")):
            if side in runs:
                ratios = [a["rate"] / b["rate"] for a, b in zip(runs[side], runs[base], strict=True)]
                found[f"{side}_to_{base}"] = round(statistics.median(ratios), 3)
                found[f"{side}_to_{base}_all"] = [round(ratio, 3) for ratio in sorted(ratios)]
        if options.arrays:
            make_arrays(arrays, options.arrays)
            for partition in PARTITIONS:
                rates = {s: measure(arrays, options.model, s, partition)["rate"] for s in sides if s != "one"}
                found[f"arrays_by_{partition}"] = {side: round(rate) for side, rate in rates.items()}
                print(partition, rates, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
