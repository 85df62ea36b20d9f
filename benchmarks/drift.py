"""How soon a changed world is noticed by `clf-predict`'s drift test, and how often one that has not changed.

    python benchmarks/drift.py DATA [MODEL.onnx...] [--weeks N] [--repeats N]

DATA is the training's source. One half of its test images gives the reference, the other half the streams. A stream is
of independent images, or of scenes: a camera sees the same image for a geometric number of frames, of the given mean.
Each frame has its own brightness (2 %) and noise (2 of 255), in the reference too. A week is 604,800 frames, one a
second. In the streams of other classes, each week has its own mix of them, and only the appearance is a false alarm.
For the delays the first 20,000 to 40,000 frames are as in the reference, and all later ones are changed; a delay is the
median, in frames from then on, null where that is more than 200,000. The last line is JSON.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from clf_runtime import Classifier
from clf_runtime.model.reference import Reference
from clf_runtime.monitoring.reference import fit_reference
from clf_runtime.monitoring.windows import LEAST, Windows
from clf_train import read_source

SHIPPED = [str(Path(__file__).parents[1] / "artifacts" / f"{name}.onnx") for name in ("conv", "resnet8")]
WEEK = 7 * 24 * 3600
BEFORE, MOST = 20_000, 200_000  # frames before a change, and after it
FRAMES = 8  # different ones of each image
STREAMS = {"independent": 1, "scenes of 10": 10, "scenes of 30": 30, "scenes of 300": 300}
STRENGTHS = (1, 2, 3, 4, 5)
FIRST_SEED = 2000  # of the weeks: with earlier ones the least distance was chosen


def darker(image: Image.Image, strength: int) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1 - 0.15 * strength)


def blurred(image: Image.Image, strength: int) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.2 + 0.2 * strength))


def rotated(image: Image.Image, strength: int) -> Image.Image:
    return image.rotate((5, 10, 15, 30, 45)[strength - 1], Image.Resampling.BILINEAR)


def another_camera(image: Image.Image, strength: int) -> Image.Image:
    """Warmer, paler, and of another gamma."""
    values = np.asarray(ImageEnhance.Color(image).enhance(1 - 0.12 * strength)) / 255
    gains = np.array([1 + 0.06 * strength, 1.0, 1 - 0.06 * strength])
    return Image.fromarray((255 * (values * gains).clip(0, 1) ** (1 + 0.08 * strength)).astype(np.uint8))


CHANGES = {"darker": darker, "blurred": blurred, "rotated": rotated, "another camera's colours": another_camera}


def frames_of(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A frame of each image [n, 3, height, width]: with a brightness and noise of its own."""
    gains = random.uniform(0.98, 1.02, (len(images), 1, 1, 1))
    return np.rint(images * gains + random.normal(0, 2, images.shape)).clip(0, 255).astype(np.uint8)


def changed(images: np.ndarray, change: str, strength: int) -> np.ndarray:
    pictures = [Image.fromarray(image) for image in images.transpose(0, 2, 3, 1)]
    return np.stack([np.asarray(CHANGES[change](p, strength)) for p in pictures]).transpose(0, 3, 1, 2)


def table(
    classifier: Classifier, reference: Reference, images: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The predicted class, and the bin of its probability, of several frames of each image: int64 [images, FRAMES]."""
    taken = [classifier.predict_batch(frames_of(images, random)) for _ in range(FRAMES)]
    bins = [np.searchsorted(reference.edges, each.probabilities.astype(np.float64), side="right") for each in taken]
    return np.stack([each.indices for each in taken], axis=1), np.stack(bins, axis=1)


def stream(
    answers: tuple[np.ndarray, np.ndarray],
    mean: int,
    frames: int,
    random: np.random.Generator,
    weights: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The classes and bins of so many frames, 256 at a time, as DriftMonitor gives them to Windows."""
    classes, bins = answers
    scenes = random.choice(len(classes), 2 * frames // mean + 100, p=weights)
    rows = np.repeat(scenes, random.geometric(1 / mean, len(scenes)))[:frames]
    which = random.integers(0, FRAMES, len(rows))
    for first in range(0, frames - LEAST + 1, LEAST):
        part = rows[first : first + LEAST], which[first : first + LEAST]
        yield classes[part], bins[part]


def noticed(windows: Windows, parts: Iterator[tuple[np.ndarray, np.ndarray]]) -> dict[str, int]:
    """At which frame of these each kind of change is told; stops at the first of the appearance."""
    found: dict[str, int] = {}
    for i, part in enumerate(parts, 1):
        for question in windows.add(*part):
            found.setdefault(question, i * LEAST)
        if "appearance" in found:
            break
    return found


def false_alarms(
    model: str, reference: Reference, answers: tuple[np.ndarray, np.ndarray], labels: np.ndarray, weeks: int
) -> dict[str, dict[str, int]]:
    """How many of so many weeks tell a change of each kind, by the kind of stream."""
    results = {}
    for name, mean in {**STREAMS, "other classes": 1}.items():
        counts = {"appearance": 0, "mix": 0}
        for week in range(weeks):
            random, weights = np.random.default_rng(FIRST_SEED + week), None
            if name == "other classes":
                weights = random.dirichlet([0.3] * (labels.max() + 1))[labels] + 1e-9
                weights /= weights.sum()
            for which in noticed(Windows(reference), stream(answers, mean, WEEK, random, weights)):
                counts[which] += 1
        results[name] = counts
        print(
            f"{model}: {name}: of {weeks} weeks {counts['appearance']} tell appearance, {counts['mix']} the mix",
            flush=True,
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("files", metavar="MODEL.onnx", nargs="*", default=SHIPPED)
    parser.add_argument("--weeks", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    test = read_source(options.data).test
    rows = np.random.default_rng(0).permutation(len(test))
    first, second = np.sort(rows[: len(rows) // 2]), np.sort(rows[len(rows) // 2 :])
    images, labels = np.asarray(test.images[second]), test.labels[second]
    results = []
    for file in options.files:
        random = np.random.default_rng(0)
        classifier = Classifier.load(file, device="cpu")
        model = classifier.card.model
        reference = fit_reference(classifier.probabilities(frames_of(np.asarray(test.images[first]), random)))
        assert reference is not None
        plain = table(classifier, reference, images, random)
        alarms = false_alarms(model, reference, plain, labels, options.weeks)
        for change in CHANGES:
            for strength in STRENGTHS:
                answers = table(classifier, reference, changed(images, change, strength), random)
                right = float((answers[0][:, 0] == labels).mean())
                delays = {}
                for name in ("independent", "scenes of 30"):
                    found = []
                    for repeat in range(options.repeats):
                        windows, seeded = Windows(reference), np.random.default_rng(repeat)
                        before = BEFORE + int(seeded.integers(BEFORE))
                        noticed(windows, stream(plain, STREAMS[name], before, seeded))
                        told = noticed(windows, stream(answers, STREAMS[name], MOST, seeded))
                        found.append(told.get("appearance", MOST + 1))
                    delays[name] = None if median(found) > MOST else int(median(found))
                print(f"{model}: {change} {strength}: accuracy {100 * right:.1f} %, delay {delays}", flush=True)
                results.append(
                    {"model": model, "change": change, "strength": strength, "accuracy": right, "delays": delays}
                )
        results.append({"model": model, "weeks": options.weeks, "false_alarms": alarms})
    print(json.dumps(results))


if __name__ == "__main__":
    main()
