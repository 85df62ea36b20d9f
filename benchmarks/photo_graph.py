"""The time of resizing in the graph and of Pillow, the differences of their pixels, and which engines run such a file.

    python benchmarks/photo_graph.py [--work FOLDER] [--engine NAME ...]

Photos of 4000x3000 and 500x400 are resized to 32x32 and 224x224 by the nodes that `clf-export --input photo` puts in
front of a net, on one thread of onnxruntime, and by Pillow, alternating: milliseconds, medians. Then each engine, in
its own virtual environment (see compatibility.py), resizes smaller photos by each geometry, and its pixels are compared
with Pillow's: steps of 255. The photos are synthetic: smooth colours with noise. The last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from engine_environments import ENGINES, Refusal, call, make_environment
from PIL import Image

from clf_export.graph.photo import with_photo_input
from clf_runtime.engine.engine import open_engine
from clf_runtime.inputs.geometry import array_to_input
from clf_runtime.model.geometry import FITS, Geometry

REPEATS = 9
LARGE, INPUTS = ((3000, 4000), (400, 500)), (32, 224)
SMALL = ((500, 400), (300, 224), (224, 224), (64, 48), (20, 20), (90, 400), (1, 77))
TRIED = ("oldest", "newest", "reference", "openvino")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", action="append", choices=TRIED, help="only this one; may be repeated (all)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="keep the environments here (a temporary folder)")
    arguments = parser.parse_args()
    figures = {"times": times(), "engines": {}}
    with tempfile.TemporaryDirectory(prefix="clf-photo-") as scratch:
        for name in arguments.engine or TRIED:
            figures["engines"][name] = try_engine(name, (arguments.work or Path(scratch)).resolve(), Path(scratch))
            print(f"{name:10} {figures['engines'][name]}")
    print(json.dumps(figures))
    return 0


def times() -> list[dict[str, object]]:
    """Milliseconds of the graph and of Pillow, by the size of the photo and of the input, and their ratio."""
    rows = []
    for height, width in LARGE:
        photo = made_photo(height, width)
        for side in INPUTS:
            for channels in (3, 1):
                engine = open_engine(graph(side, Geometry(), channels), "the graph", device="cpu")
                mine, theirs = [], []
                for _ in range(REPEATS):
                    begun = time.perf_counter()
                    scaled = engine.run(photo[None])
                    between = time.perf_counter()
                    wanted = array_to_input(photo, channels, (side, side), Geometry())
                    mine.append(between - begun)
                    theirs.append(time.perf_counter() - between)
                opened = Image.fromarray(photo).convert("L" if channels == 1 else "RGB")
                alone = []
                for _ in range(REPEATS):
                    begun = time.perf_counter()
                    opened.resize((side, side), Image.Resampling.BILINEAR)
                    alone.append(time.perf_counter() - begun)
                off = steps(scaled[0].transpose(1, 2, 0), wanted)
                rows.append(
                    {
                        "photo": f"{width}x{height}",
                        "input": f"{channels}x{side}x{side}",
                        "graph_ms": round(1e3 * statistics.median(mine), 2),
                        "pillow_from_array_ms": round(1e3 * statistics.median(theirs), 2),
                        "pillow_resize_ms": round(1e3 * statistics.median(alone), 2),
                        **off,
                    }
                )
                print(rows[-1], flush=True)
    return rows


def steps(pixels: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """How many of the values differ, as a share, and by how many of 255 at most."""
    off = np.abs(np.asarray(pixels, np.int16) - wanted)
    return {"differing": float((off > 0).mean()), "steps": int(off.max())}


def made_photo(height: int, width: int) -> np.ndarray:
    """A photo uint8 [height, width, 3] of smooth colours and noise, the same every time."""
    random = np.random.default_rng(height * width)
    colours = random.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), np.uint8)
    smooth = np.asarray(Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + random.integers(-12, 13, smooth.shape, np.int16), 0, 255).astype(np.uint8)


def graph(side: int, geometry: Geometry, channels: int = 3) -> bytes:
    """The geometry alone: its pixels are the answer."""
    shape = f"uint8[batch, {channels}, {side}, {side}]"
    head = f'<ir_version: 8, opset_import: ["" : 18]> g ({shape} image) => ({shape} pixels)'
    model = onnx.parser.parse_model(f"{head} {{ pixels = Identity (image) }}")
    return bytes(with_photo_input(model, (channels, side, side), geometry).SerializeToString())


def try_engine(name: str, work: Path, scratch: Path) -> dict[str, object]:
    """How an engine's pixels differ from Pillow's, reducing and enlarging photos by each geometry."""
    try:
        environment = make_environment(name, work, sys.executable)
    except Refusal as refusal:
        return {"problem": str(refusal)}
    found: dict[str, object] = {"version": f"{ENGINES[name].package} {environment.version}"}
    photos = [made_photo(*size) for size in SMALL]
    np.savez(scratch / "photos.npz", *photos)
    for fit in FITS:
        geometry = Geometry(fit, (10, 200, 30))
        (scratch / "graph.onnx").write_bytes(graph(32, geometry))
        command = [environment.programs / "python", Path(__file__).with_name("photo_engines.py"), name]
        try:
            call([*command, scratch / "graph.onnx", scratch / "photos.npz", scratch / "pixels.npy"])
        except Refusal as refusal:
            found[fit] = {"problem": str(refusal)}
            continue
        pixels = np.load(scratch / "pixels.npy")
        wanted = np.stack([array_to_input(photo, 3, (32, 32), geometry) for photo in photos])
        found[fit] = steps(pixels.transpose(0, 2, 3, 1), wanted)
    return found


if __name__ == "__main__":
    sys.exit(main())
