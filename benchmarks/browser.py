"""A page in Chromium beside clf_runtime in Python: the time an image, and the largest difference of a probability.

    python benchmarks/browser.py [MODEL.onnx...] [--images N] [--jpeg]

Needs Chromium, `npm ci` and `pip install playwright`. Pictures are made, smooth colours with noise, 20 to 400 pixels a
side, and given to the page as PNG or JPEG files. The time is that of onnxruntime-web alone, without decoding, by one
thread; Python's is that of `Classifier.predict` for an array of the input's size, by one thread too, and absent for a
model that takes photos. The last line is JSON.
"""

import argparse
import functools
import json
import shutil
import statistics
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from clf_export.delivery.page import write_page
from clf_runtime import Classifier

ROOT = Path(__file__).parents[1]
WARM_UP = 10  # images that are not counted


def make_pictures(folder: Path, count: int, suffix: str) -> list[Path]:
    random, files = np.random.default_rng(0), []
    for i in range(count):
        coarse = random.integers(0, 256, (*random.integers(2, 12, 2), 3), np.uint8)
        size = tuple(int(side) for side in random.integers(20, 401, 2))
        pixels = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)).astype(int)
        pixels += random.integers(-20, 21, pixels.shape)
        file = folder / f"{i:04}.{suffix}"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file)
        files.append(file)
    return files


def answers_of(page: Page, files: list[Path]) -> list[dict]:
    found = []
    for file in files:
        page.set_input_files("#files", file)
        page.wait_for_selector("#results > li")
        found.append(page.evaluate("document.querySelector('#results > li').answer"))
        page.click("#clear")
    return found


def compare(browser: object, model: Path, files: list[Path]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        write_page(model, Path(folder, "page"), ort_web=ROOT / "node_modules" / "onnxruntime-web")
        handler = functools.partial(SimpleHTTPRequestHandler, directory=str(Path(folder, "page")))
        handler.func.log_message = lambda *arguments: None
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(service_workers="block")
        start = time.perf_counter()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_selector("body[data-state=ready]")
        ready = time.perf_counter() - start
        agreement = page.get_attribute("#agreement", "data-state")
        found = answers_of(page, files)
        page.close()
        server.shutdown()
    classifier, differences, seconds = Classifier.load(model), [], []
    image = np.zeros(classifier.card.image_shape, classifier.card.dtype)
    for file, answer in zip(files, found, strict=True):
        expected = classifier.predict(file, distribution=True)
        differences.append(float(np.abs(np.array(answer["probabilities"]) - expected.distribution).max()))
        if classifier.card.input == "tensor":
            start = time.perf_counter()
            classifier.predict(image)
            seconds.append(time.perf_counter() - start)
    return {
        "model": model.name,
        "agreement": agreement,
        "images": len(files),
        "largest_difference": max(differences),
        "median_ms": statistics.median(answer["milliseconds"] for answer in found[WARM_UP:]),
        "python_median_ms": 1000 * statistics.median(seconds[WARM_UP:]) if seconds else None,
        "seconds_to_ready": ready,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", default=[ROOT / "artifacts" / "conv.onnx"])
    parser.add_argument("--images", type=int, default=200, metavar="N")
    parser.add_argument("--jpeg", action="store_true")
    options = parser.parse_args()
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        files = make_pictures(Path(folder), options.images, "jpg" if options.jpeg else "png")
        results = []
        for model in options.models:
            results.append(compare(browser, model, files))
            print(results[-1])
        print(json.dumps({"chromium": browser.version, "results": results}))
        browser.close()


if __name__ == "__main__":
    main()
