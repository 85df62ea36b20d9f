"""How well a familiarity tells images of no class from a model's test images, by kind of image and of coding.

    python benchmarks/familiarity.py DATA STAMPS SCENES MODEL.onnx...

DATA is the CIFAR-10 that the models were trained on, in any layout that clf-train takes. STAMPS is a folder of cut-out
pictures sorted by subject, such as usr/share/tuxpaint/stamps of Debian's tuxpaint-stamps-default; SCENES one of
photographs, such as those of mate-backgrounds, gnome-backgrounds and plasma-workspace-wallpapers.

Sets of 1,000: other subjects on white and pasted on scenes, scenes, symbols, plain and covered frames, noise; and as a
control *known* kinds (birds, mammals, vehicles) on white and pasted in the same way: what is noticed of them is how
they were made, not what they show. Each crisp, and JPEG-coded as the data are (quality 75, 4:2:0).

Prints a table, and one JSON line last: AUROC of familiarity, of the softmax and of the energy (Liu et al., 2020), share
accepted at the threshold, share of the test images that is unknown, time of one image with and without the output, in
one interleaved run.
"""

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from clf_export.familiarity.features import logits_of
from clf_export.familiarity.outputs import named_outputs
from clf_runtime import Classifier
from clf_runtime.engine.engine import open_engine
from clf_runtime.evaluation.unknown import auroc
from clf_train import read_source

COUNT, SIDE, LARGE = 1000, 32, 128
OTHER = ("clothes", "food", "hobbies", "household", "medical", "plants", "seasonal", "sports", "space")
OTHER_ANIMALS = ("insects", "fish", "shellfish")
SYMBOLS = ("alphabets", "chess", "math", "music")
KNOWN = ("animals/birds", "animals/mammals", "vehicles")


def foreign_sets(stamps: Path, scenes: Path, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The sets by name, uint8 [COUNT, 3, SIDE, SIDE] each."""

    def pictures(*folders: str) -> list[Path]:
        return sorted(file for folder in folders for file in (stamps / folder).rglob("*.png"))

    views = []
    for file in sorted(p for p in scenes.rglob("*") if p.suffix in (".jpg", ".png", ".webp") and p.is_file()):
        with Image.open(file) as image:
            if min(image.size) >= 400:
                view = image.convert("RGB")
                view.thumbnail((900, 900))
                views.append(view)

    def scene() -> Image.Image:
        view = views[random.integers(len(views))]
        side = int(random.uniform(0.3, 0.95) * min(view.size))
        x, y = (int(random.integers(n - side + 1)) for n in view.size)
        return view.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)

    def placed(files: list[Path], on_scene: bool) -> Image.Image:
        stamp = Image.open(files[random.integers(len(files))]).convert("RGBA")
        stamp = stamp.crop(stamp.getbbox())
        scale = random.uniform(0.7, 1.0) * LARGE / max(stamp.size)
        width, height = (max(1, round(n * scale)) for n in stamp.size)
        stamp = stamp.resize((width, height), Image.Resampling.BILINEAR)
        ground = scene() if on_scene else Image.new("RGB", (SIDE, SIDE), "white")
        ground = ground.resize((LARGE, LARGE), Image.Resampling.BILINEAR).convert("RGBA")
        ground.alpha_composite(
            stamp, (int(random.integers(LARGE - width + 1)), int(random.integers(LARGE - height + 1)))
        )
        return ground.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)

    def many(make) -> np.ndarray:
        return np.stack([np.asarray(make()) for _ in range(COUNT)]).transpose(0, 3, 1, 2)

    others = pictures(*OTHER, *(f"animals/{kind}" for kind in OTHER_ANIMALS))
    symbols, known = pictures(*(f"symbols/{kind}" for kind in SYMBOLS)), pictures(*KNOWN)
    frame = (COUNT, 3, SIDE, SIDE)
    grain = random.standard_normal(frame)
    colours = random.uniform(0, 255, (COUNT, 3, 1, 1))
    ramp = np.linspace(-1, 1, SIDE) * random.uniform(-20, 20, (COUNT, 1, 1, 1))
    return {
        "subjects on white": many(lambda: placed(others, False)),
        "subjects on scenes": many(lambda: placed(others, True)),
        "scenes": many(scene),
        "symbols": many(lambda: placed(symbols, False)),
        "plain frames": _pixels(colours + grain * random.uniform(0, 4, (COUNT, 1, 1, 1))),
        "covered frames": _pixels(random.uniform(0, 25, (COUNT, 1, 1, 1)) + ramp + grain * 3),
        "noise": random.integers(0, 256, frame).astype(np.uint8),
        "known kinds on white": many(lambda: placed(known, False)),
        "known kinds on scenes": many(lambda: placed(known, True)),
    }


def _pixels(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8)


def coded(images: np.ndarray) -> np.ndarray:
    """The images after JPEG."""
    out = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(stream, "JPEG", quality=75)
        out.append(np.asarray(Image.open(stream)))
    return np.stack(out).transpose(0, 3, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "stamps", "scenes"):
        parser.add_argument(name)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=200)
    asked = parser.parse_args()
    dataset = read_source(asked.data)
    sets = foreign_sets(Path(asked.stamps), Path(asked.scenes), np.random.default_rng(0))
    results = {}
    for file in asked.models:
        threshold = Classifier.load(file, device="cpu").card.familiarity.threshold
        whole = onnx.load(file)
        plain = onnx.utils.Extractor(whole).extract_model([whole.graph.input[0].name], [whole.graph.output[0].name])
        before, after = (open_engine(m.SerializeToString(), file, device="cpu") for m in (plain, whole))

        def values(batch: np.ndarray, engine=after) -> tuple[np.ndarray, np.ndarray]:
            blocks = [engine.run_all(np.ascontiguousarray(batch[i : i + 500])) for i in range(0, len(batch), 500)]
            return np.concatenate([b[1] for b in blocks]), np.concatenate([b[0] for b in blocks]).max(axis=1)

        def energy(images: np.ndarray, model=whole) -> np.ndarray:
            [logits] = named_outputs(model, [logits_of(model.graph)], images)
            return np.log(np.exp(logits.astype(np.float64)).sum(axis=1))

        familiar, certain = values(dataset.test.images)
        energetic = energy(dataset.test.images)
        table = {}
        for name, crisp in sets.items():
            for coding, foreign in (("crisp", crisp), ("coded", coded(crisp))):
                familiarity, probability = values(foreign)
                table[f"{name}, {coding}"] = {
                    "familiarity_auroc": round(auroc(familiar, familiarity), 3),
                    "softmax_auroc": round(auroc(certain, probability), 3),
                    "energy_auroc": round(auroc(energetic, energy(foreign)), 3),
                    "accepted": round(float((familiarity >= threshold).mean()), 3),
                }
        ratio = _dearer(before, after, dataset.test.images[:1], asked.rounds)
        rejected = round(float((familiar < threshold).mean()), 3)
        results[Path(file).name] = {
            "sets": table,
            "rejected": rejected,
            "time_ratio": ratio,
        }
        print(f"{file}: {100 * rejected:.1f} % of the test images unknown, one image {ratio} times as long")
        for name, row in table.items():
            print(
                f"  {name:32} {row['familiarity_auroc']:.3f}  softmax {row['softmax_auroc']:.3f}"
                f"  energy {row['energy_auroc']:.3f}"
                f"  accepted {100 * row['accepted']:.1f} %"
            )
    print(json.dumps({"benchmark": "familiarity", "images": COUNT, "models": results}))


def _dearer(before, after, image: np.ndarray, rounds: int) -> float:
    """The ratio of the times of one image, by bound buffers as a Classifier runs it.

    They are the thread's processor time, the lower quartile of the rounds: other people's work hardly changes these.
    """
    single = before.bind_single(10), after.bind_single(10, 2)
    times: tuple[list[float], list[float]] = [], []
    for i in range(2 * rounds):
        for side in (0, 1) if i % 2 else (1, 0):
            run = single[side]
            run(image)
            start = time.thread_time()
            for _ in range(10):
                run(image)
            times[side].append(time.thread_time() - start)
    return round(float(np.quantile(times[1], 0.25) / np.quantile(times[0], 0.25)), 3)


if __name__ == "__main__":
    main()
