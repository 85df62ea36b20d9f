"""How many pictures of a folder are classified a second, beside Pillow alone that decodes and scales them.

    python benchmarks/picture_folder.py [MODEL.onnx] [--threads N] [--rounds N]

It makes a folder of JPEGs of 12 megapixels and one of 500x400 pixels. Ours is `clf-predict FOLDER --threads N` without
its printing; Pillow's side opens, converts and scales in a pool of as many threads, without a model. They take turns,
and a ratio is the median of the rounds' ratios, ours to Pillow's. The last line is JSON.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
from PIL import Image, ImageFilter

from clf_runtime import Classifier, answer_files
from clf_runtime.engine.threads import usable_threads

FOLDERS = {"12 megapixels": (4000, 3000, 8), "500x400": (500, 400, 100)}  # width, height, how many


def make_folder(folder: Path, width: int, height: int, count: int) -> None:
    """JPEGs with about as much detail as photographs have: 2.8 MB at 12 megapixels."""
    folder.mkdir()
    for i in range(count):
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(0, 256, (height // 2, width // 2, 3), dtype=np.uint8))
        smooth = coarse.filter(ImageFilter.GaussianBlur(1.5)).resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.asarray(smooth).astype(np.int16) + rng.integers(-6, 7, (height, width, 1))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{i:04}.jpg", quality=88)


def measure(classifier: Classifier, folder: Path, threads: int, rounds: int) -> dict[str, float]:
    """Pictures a second of each side, the median of the rounds, and that of their ratios."""
    files = sorted(str(file) for file in folder.iterdir())
    _, height, width = classifier.card.image_shape

    def scale(file: str) -> Image.Image:
        with Image.open(file) as picture:
            return picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)

    def pillow() -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(1 for _ in pool.map(scale, files))

    def ours() -> int:
        answers = list(answer_files(classifier, folder, threads=threads))
        assert all(answer.error is None for answer in answers)
        return len(answers)

    rates: dict[str, list[float]] = {"ours": [], "pillow": []}
    sides = [("ours", ours), ("pillow", pillow)]
    for _ in range(rounds):
        for name, side in sides:
            start = time.perf_counter()
            count = side()
            rates[name].append(count / (time.perf_counter() - start))
        sides.reverse()
    ratios = [a / b for a, b in zip(rates["ours"], rates["pillow"], strict=True)]
    figures = {name: round(statistics.median(values), 2) for name, values in rates.items()}
    return figures | {"ratio": round(statistics.median(ratios), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    classifier = Classifier.load(options.model, device="cpu")
    found: dict[str, object] = {"threads": usable_threads(options.threads), "rounds": options.rounds}
    with tempfile.TemporaryDirectory() as work:
        for name, sizes in FOLDERS.items():
            make_folder(Path(work, name), *sizes)
            found[name] = figures = measure(classifier, Path(work, name), options.threads, options.rounds)
            print(f"{name}: {figures['ours']} pictures/s, Pillow {figures['pillow']}, ratio {figures['ratio']}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
