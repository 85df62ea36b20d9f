"""How many photographs a second clf-score classifies: one process, two, and Ray with two actors.

    python benchmarks/score.py PICTURES [--model FILE] [--count N] [--rounds N] [--arrays N]

It makes N JPEGs, 320 to 1024 pixels long, from the pictures (PNG or JPEG) below the folder PICTURES, and scores them in
partitions of 40. The sides take turns; a rate is that from the first partition that is written to the last, so that
start-up is not counted, and a ratio is the median of the rounds' ratios. `busy` is the share of that time in which the
workers score, `processor_ms` what an image costs them: on a machine that is shared with others, the rate of two idle
processors is told better by `busy` / `processor_ms` ("expected") than by a rate. Then it scores small arrays, one .npy
file each, in partitions of 1 to 100, by two processes and by Ray. Without Ray its sides are left out. The last line
is JSON.
"""

import argparse
import importlib.util
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from clf_runtime import score
from clf_runtime.scoring.score import Engine, Progress

SIDES: dict[str, tuple[Engine, int]] = {"one": ("local", 1), "two": ("local", 2), "ray": ("ray", 2)}
PARTITIONS = (1, 10, 100)


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
    """One run, without its start: see the module's docstring."""
    engine, workers = SIDES[side]
    seen: list[Progress] = []
    with tempfile.TemporaryDirectory() as out:
        start = time.time()
        done = score(
            source, out, model, engine=engine, workers=workers, files_per_partition=partition, watch=seen.append
        )
        times = sorted(file.stat().st_mtime for file in Path(out).glob("part-*"))
    assert not done.errors
    span, images = times[-1] - times[0], done.images * (len(times) - 1) / len(times)
    busy = done.seconds / workers / (span + seen[1].seconds)  # the first partition began before it was written
    processor_ms = 1e3 * done.processor_seconds / done.images
    return {"rate": images / span, "start": times[0] - start, "busy": busy, "processor_ms": processor_ms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--arrays", type=int, default=2000)
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
                runs[side].append(measure(photos, options.model, side, 40))
                print(side, runs[side][-1], flush=True)
            sides.reverse()
        for side in runs:
            for name in ("rate", "start", "busy", "processor_ms"):
                found[f"{side}_{name}"] = round(statistics.median(run[name] for run in runs[side]), 2)
        for side, base in (("two", "one"), ("ray", "two")):
            if side in runs:
                pairs = list(zip(runs[side], runs[base], strict=True))
                ratios = [a["rate"] / b["rate"] for a, b in pairs]
                found[f"{side}_to_{base}"] = round(statistics.median(ratios), 3)
                found[f"{side}_to_{base}_all"] = [round(ratio, 3) for ratio in sorted(ratios)]
                more = SIDES[side][1] / SIDES[base][1]
                expected = [more * a["busy"] / b["busy"] * b["processor_ms"] / a["processor_ms"] for a, b in pairs]
                found[f"{side}_to_{base}_expected"] = round(statistics.median(expected), 3)
        if options.arrays:
            make_arrays(arrays, options.arrays)
            for partition in PARTITIONS:
                rates = {s: measure(arrays, options.model, s, partition)["rate"] for s in sides if s != "one"}
                found[f"arrays_by_{partition}"] = {side: round(rate) for side, rate in rates.items()}
                print(partition, rates, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
