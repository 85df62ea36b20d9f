"""Train on a synthetic source that is larger than the memory it may use, and measure that memory.

usage: python benchmarks/large_data.py [GIGABYTES] [--layout tensors|npz] [--model simple|conv]

The child is an ordinary `python -m clf_train`. Every 20 ms its anonymous memory, which the machine must have, and its
pages of mapped files, which the system can drop at any time, are read from /proc. Linux only.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT_BYTES = 1536 << 20
CLASSES = 10
IMAGE = (3, 32, 32)  # float32, as the user's own
IMAGE_BYTES = 4 * 3 * 32 * 32
SAMPLE_SECONDS = 0.02
_ROWS = 4096  # images that are made at a time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gigabytes", nargs="?", type=float, default=4, help="of images, 10^9 bytes each (4)")
    parser.add_argument("--layout", choices=("tensors", "npz"), default="tensors")
    parser.add_argument("--model", choices=("simple", "conv"), default="simple")
    arguments = parser.parse_args()
    if not Path("/proc/self/status").exists():
        parser.error("reads /proc, which this system does not have")
    images = int(arguments.gigabytes * 1e9) // IMAGE_BYTES
    if images < 100:
        parser.error("too few gigabytes for 100 images")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with clean-up
    try:
        with tempfile.TemporaryDirectory(prefix="clf-large-data-") as folder:
            result = measure(Path(folder), images, arguments.layout, arguments.model)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(json.dumps(result))
    return 0 if result["passed"] else 1


def measure(folder: Path, images: int, layout: str, model: str) -> dict[str, object]:
    """Make the source, train on it, and return what is printed as JSON."""
    size = images * IMAGE_BYTES
    print(f"source       {images:,} images float32 3x32x32, {size / 1e9:.2f} GB, {layout}", flush=True)
    start = time.perf_counter()
    data = folder / "data"
    data.mkdir()
    make_tensors(data, images) if layout == "tensors" else make_npz(data, images)
    print(f"written in   {time.perf_counter() - start:.1f} s", flush=True)
    command = [sys.executable, "-m", "clf_train", "--data", str(data), "--model", model, "--epochs", "1"]
    start = time.perf_counter()
    code, anonymous, mapped, output = watch([*command, "--out", str(folder / "run")], folder)
    seconds = time.perf_counter() - start
    if code:
        print(output)
    print(f"trained in   {seconds:.1f} s, exit code {code}: {model}, one epoch, with reading and testing")
    print(f"anonymous    {anonymous / 1e6:,.0f} MB at most, limit {LIMIT_BYTES / 1e6:,.0f} MB")
    print(f"mapped       {mapped / 1e6:,.0f} MB at most, pages of files")
    return {
        "layout": layout,
        "source_bytes": size,
        "images": images,
        "peak_anonymous_bytes": anonymous,
        "peak_file_bytes": mapped,
        "limit_bytes": LIMIT_BYTES,
        "seconds": round(seconds, 1),
        "passed": code == 0 and 0 < anonymous <= LIMIT_BYTES,
    }


def watch(command: list[str], folder: Path) -> tuple[int, int, int, str]:
    """Run a command; returns its exit code, the peaks of its anonymous and file memory in bytes, and its output."""
    log = folder / "output.txt"
    anonymous = mapped = 0
    environment = {**os.environ, "TMPDIR": str(folder)}  # what it spills lies beside the source
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment) as child,
    ):
        try:
            while child.poll() is None:
                memory = read_status(child.pid)
                anonymous = max(anonymous, memory.get("RssAnon", 0))
                mapped = max(mapped, memory.get("RssFile", 0) + memory.get("RssShmem", 0))
                time.sleep(SAMPLE_SECONDS)
        except BaseException:
            child.kill()
            raise
    return child.returncode, anonymous, mapped, log.read_text(errors="replace")


def read_status(pid: int) -> dict[str, int]:
    """The sizes in /proc/PID/status, in bytes; nothing of a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: int(value.split()[0]) << 10 for key, _, value in (x.partition(":") for x in lines) if "kB" in value}


def make_tensors(folder: Path, images: int) -> None:
    """Four files of torch.save: five sixths to train on, one sixth to test on."""
    import torch

    test = images // 6
    for part, count, seed in (("train", images - test, 0), ("test", test, 1)):
        raw = folder / f".{part}"
        torch.save(torch.from_numpy(make_images(raw, count, seed)), folder / f"{part}_data_2")
        raw.unlink()
        torch.save(torch.arange(count) % CLASSES, folder / f"{part}_labels_2")


def make_npz(folder: Path, images: int) -> None:
    """One file of numpy.savez without a test part, so that clf-train has to hold one out."""
    raw = folder / ".train"
    np.savez(folder / "train.npz", images=make_images(raw, images, 0), labels=np.arange(images) % CLASSES)
    raw.unlink()


def make_images(raw: Path, count: int, seed: int) -> np.ndarray:
    """Noise in 0..1 that is a little brighter in one of ten rows of each class, float32 [count, 3, 32, 32], mapped."""
    images = np.memmap(raw, np.float32, "w+", shape=(count, *IMAGE))
    generator = np.random.default_rng(seed)
    for first in range(0, count, _ROWS):
        block = generator.random((min(_ROWS, count - first), *IMAGE), np.float32) * 0.8
        rows = np.arange(len(block))
        block[rows, :, 3 * ((first + rows) % CLASSES)] += 0.2
        images[first : first + len(block)] = block
    return images.view(np.ndarray)


if __name__ == "__main__":
    sys.exit(main())
