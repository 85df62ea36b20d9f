"""Whether an int8 net is as accurate as the float net that it was made from, and whether it is worth having.

Both run on the same images, so the comparison is paired: what matters are the images that only one of them classifies
correctly. Letters in shapes: N images, K classes.
"""

import math
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from clf_export.proof.parity import at_once, run_onnx
from clf_runtime.engine.engine import Engine, open_engine
from clf_runtime.evaluation.interval import stated

MOST_DROP, MOST_CLASS_DROP = 0.5, 2.0  # percentage points of accuracy, and of any class's recall
SIGNIFICANT = 0.05
MOST_PROCESSOR_DIFFERENCE = 0.03  # of a probability
AS_FAST = 0.97  # a file measured against itself scores above this, even on a shared machine
PROCESSOR_IMAGES = 32
_ONE_SIDED = 1.645  # standard errors, at 5 %
# On fewer images a net whose true loss is MOST_DROP shows none with a probability above 5 %: the rule of three
# (Hanley and Lippman-Hand, 1983, https://doi.org/10.1001/jama.1983.03330370053031).
ENOUGH_IMAGES = math.ceil(math.log(SIGNIFICANT) / math.log(1 - MOST_DROP / 100))
_CLEARLY_FASTER, _CLEARLY_SMALLER = 1.1, 0.75  # images/s and bytes relative to float32: either makes int8 worth it
# A session of one thread runs in the caller's, so thread time leaves out what other programs do meanwhile; on Windows
# that clock has a resolution of 16 ms.
_clock = time.perf_counter if os.name == "nt" else time.thread_time


@dataclass(frozen=True)
class Judgement:
    """How an int8 net compares with the float net on the same images.

    Accuracies are fractions in 0..1. `worst_class` is the class whose recall drops most, `worst_drop` by how many
    percentage points (negative if it rises). `p_value` is that of McNemar's test for a drop of the accuracy, None if
    the nets are correct on the same images. `differing` is the fraction of images whose predicted class differs.
    `undecided` means that a bound is exceeded, but within sampling error. `problem` says why it did not pass, None if
    it did.
    """

    images: int
    float_accuracy: float
    int8_accuracy: float
    worst_class: int
    worst_drop: float
    p_value: float | None
    differing: float
    undecided: bool
    problem: str | None

    @property
    def passed(self) -> bool:
        """Whether the int8 net is as accurate as the float net, as far as these images can tell."""
        return self.problem is None

    @property
    def drop(self) -> float:
        """The drop of the accuracy, in percentage points."""
        return 100 * (self.float_accuracy - self.int8_accuracy)


@dataclass(frozen=True)
class Verdict:
    """How an int8 file compares with its float32 file, on this machine.

    `setting` says how it was made. `processor_difference` is the largest difference of a probability between
    onnxruntime's integer kernels on this processor and ONNX's reference evaluator, on 32 images: above a few
    hundredths, sums overflow here, and results differ between processors. Sizes are in bytes. The ratios are int8's
    images/s relative to float32's, one thread, for batches of 1 and of 256. `unseen` says whether the net was trained
    without the images it is judged on. `problem` is the judgement's, or that processors differ; None if it passed.
    """

    setting: str
    judgement: Judgement
    unseen: bool
    problem: str | None
    processor_difference: float
    size: int
    float_size: int
    batch_1_ratio: float
    batch_256_ratio: float

    @property
    def passed(self) -> bool:
        """Whether the accuracy is preserved, here and on other processors."""
        return self.problem is None

    @property
    def recommended(self) -> bool:
        """Whether to use int8: as accurate on enough images, not slower, and clearly faster or smaller."""
        return self.passed and self._against is None

    @property
    def _against(self) -> str | None:
        """The reason against int8 where its accuracy passes, None if there is none."""
        if self.judgement.images < ENOUGH_IMAGES:
            return f"{self.judgement.images:,} images are too few to compare accuracies, {ENOUGH_IMAGES} are needed"
        if self.batch_1_ratio < AS_FAST:
            return "int8 is slower"
        if self.size >= self.float_size:
            return "int8 is no smaller"
        if self.batch_1_ratio < _CLEARLY_FASTER and self.size > _CLEARLY_SMALLER * self.float_size:
            return "int8 gains too little"
        return None

    def reason(self) -> str:
        """One sentence: which file to use, and why."""
        size = f"{self.size / self.float_size:.0%} of the size"
        speed = f"{self.batch_1_ratio:.2f} times float32's speed for one image, {self.batch_256_ratio:.2f} for 256"
        found = self.judgement
        accuracy = f"accuracy {stated(found.int8_accuracy, found.images)}, float32 {100 * found.float_accuracy:.2f} %"
        if found.undecided and found.images >= ENOUGH_IMAGES:
            accuracy += f" (within the sampling error of {found.images:,} images)"
        if not self.unseen:
            accuracy += " (on images that it was trained on)"
        if self.recommended:
            return f"int8 is recommended: {accuracy}, {size}, {speed}"
        if self.problem is not None:
            return f"float32 is recommended: int8 is less accurate, {self.problem}"
        return f"float32 is recommended: {self._against}; {accuracy}, {size}, {speed}"


@dataclass(frozen=True)
class _Pairs:
    """Of some images, how many only the float net classifies correctly (lost), and how many only the int8 net (won)."""

    images: int
    lost: int
    won: int

    @property
    def drop(self) -> float:
        """The drop of the accuracy, in percentage points."""
        return 100 * (self.lost - self.won) / self.images

    @property
    def noise(self) -> float:
        """How far the drop may exceed the true one by chance: 1.645 standard errors, in percentage points.

        The standard error of a difference of paired proportions: Agresti, 2013, Categorical Data Analysis, 11.1.1.
        """
        variance = self.lost + self.won - (self.lost - self.won) ** 2 / self.images
        return 100 * _ONE_SIDED * math.sqrt(max(0.0, variance)) / self.images

    @property
    def p_value(self) -> float | None:
        """The probability of so many losses or more if losses and wins were equally likely: McNemar's exact test.

        McNemar, 1947, Note on the sampling error of the difference between correlated proportions or percentages,
        https://doi.org/10.1007/BF02295996. None without losses and wins.
        """
        from scipy.stats import binomtest

        if self.lost + self.won == 0:
            return None
        return float(binomtest(self.lost, self.lost + self.won, 0.5, alternative="greater").pvalue)


def judge(float_answers: np.ndarray, int8_answers: np.ndarray, labels: np.ndarray) -> Judgement:
    """Compare two nets' probabilities, float32 [N, K], for the same images with labels, int64 [N].

    int8 passes if the accuracy drops by at most 0.5 percentage points and the recall of each class by at most 2. Where
    a bound is exceeded, it still passes if that is within sampling error and no drop is significant: the bound is
    smaller than 1.645 standard errors of the drop in question, and McNemar's one-sided test finds no drop at the 5 %
    level, neither over all images nor in any class (with Bonferroni correction).
    Raises ValueError without images, or for outputs that are not finite or of different shapes.
    """
    if not len(labels) or float_answers.shape != int8_answers.shape or len(float_answers) != len(labels):
        raise ValueError(f"outputs of shapes {float_answers.shape} and {int8_answers.shape} for {len(labels)} images")
    if not (np.isfinite(float_answers).all() and np.isfinite(int8_answers).all()):
        raise ValueError("the net gives NaN or infinite outputs")
    ours, theirs = float_answers.argmax(axis=1), int8_answers.argmax(axis=1)
    before, after = ours == labels, theirs == labels
    overall = _pairs(before, after)
    of_class = {int(k): _pairs(before[labels == k], after[labels == k]) for k in np.unique(labels)}
    beyond, problem = _weigh(overall, of_class)
    worst = max(of_class, key=lambda k: (of_class[k].drop, -k))
    return Judgement(
        images=len(labels),
        float_accuracy=float(before.mean()),
        int8_accuracy=float(after.mean()),
        worst_class=worst,
        worst_drop=of_class[worst].drop,
        p_value=overall.p_value,
        differing=float((ours != theirs).mean()),
        undecided=beyond and problem is None,
        problem=problem,
    )


def _pairs(before: np.ndarray, after: np.ndarray) -> _Pairs:
    return _Pairs(len(before), int((before & ~after).sum()), int((~before & after).sum()))


def _weigh(overall: _Pairs, of_class: dict[int, _Pairs]) -> tuple[bool, str | None]:
    """Whether a bound is exceeded, and why the int8 net fails, None if it passes: see `judge`."""
    parts = [("the accuracy", overall, MOST_DROP, SIGNIFICANT)]
    parts += [
        (f"the recall of class {k}", pairs, MOST_CLASS_DROP, SIGNIFICANT / len(of_class))
        for k, pairs in of_class.items()
    ]
    beyond = [(what, pairs, most) for what, pairs, most, _ in parts if pairs.drop > most]
    if not beyond:
        return False, None
    for what, pairs, most in beyond:
        if pairs.noise <= most:
            return True, f"{what} drops by {pairs.drop:.2f} points (at most {most:g} allowed)"
    for what, pairs, _, level in parts:
        p_value = pairs.p_value
        if p_value is not None and p_value < level:
            return True, f"{what} drops by {pairs.drop:.2f} points, which is significant (p = {p_value:.2g})"
    return True, None


def processor_difference(model: bytes, images: np.ndarray) -> float:
    """The largest difference of a probability between onnxruntime here and ONNX's reference, on up to 32 images.

    The reference is ONNX's ReferenceEvaluator. Where that lacks an operator, it is onnxruntime without graph
    optimisations, which dequantises before it multiplies. Infinity if an output is not finite.
    """
    images = images[: at_once(images.shape[1:], PROCESSOR_IMAGES)]
    difference = np.abs(run_onnx(model, images).astype(np.float64) - _as_meant(model, images))
    return float(difference.max()) if np.isfinite(difference).all() else math.inf


def _as_meant(model: bytes, images: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator
    from onnx.version_converter import convert_version

    loaded = onnx.load_from_string(model)
    name = loaded.graph.input[0].name
    try:
        with np.errstate(all="ignore"):
            # The evaluator implements DequantizeLinear from opset 19 on, with the same semantics.
            evaluator: Any = ReferenceEvaluator(convert_version(loaded, 19))
            answer: np.ndarray = evaluator.run(None, {name: images})[0]
    except Exception:  # whatever an operator raises that it lacks or only half implements
        answer = open_engine(model, "the int8 model", device="cpu", optimised=False).run(images)
    return answer


def speed_ratio(float_model: bytes, int8_model: bytes, images: np.ndarray, batch: int, seconds: float = 1.0) -> float:
    """The int8 model's images/s relative to the float model's, in batches of `batch`, on one thread.

    The two alternate, a few milliseconds each, for about `seconds` and at least five times; the median ratio of the
    pairs is returned, so that other load on the machine affects both. Images [N, C, H, W] are repeated to fill a batch,
    which is smaller if they are large.
    """
    block = np.ascontiguousarray(images[np.arange(at_once(images.shape[1:], batch)) % len(images)])
    engines = [open_engine(model, "a model", device="cpu") for model in (float_model, int8_model)]

    def run(engine: Engine, times: int) -> float:
        began = _clock()
        for _ in range(times):
            engine.run(block)
        return _clock() - began

    for engine in engines:
        run(engine, 3)
    times = max(1, round(0.003 / max(1e-6, run(engines[0], 1))))
    ratios: list[float] = []
    end = time.perf_counter() + seconds
    while len(ratios) < 5 or time.perf_counter() < end:
        first, second = engines if len(ratios) % 2 else engines[::-1]
        ratio = run(first, times) / run(second, times)
        ratios.append(ratio if first is engines[0] else 1 / ratio)
    return float(np.median(ratios))
