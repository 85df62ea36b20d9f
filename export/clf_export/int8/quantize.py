"""int8 with a verdict: every setting is tried, and the best that is as good as float32 is kept.

Calibration and choice are made on images that are not of the test: see `held_out`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx

from clf_export.errors import QuantisationError
from clf_export.int8.layer_order import put_in_order
from clf_export.int8.qdq import EXACT, PLACEMENTS, Scheme, Setting, kept_in_float, to_int8, watched_tensors
from clf_export.int8.ranges import Method, Ranges, find_ranges
from clf_export.int8.verdict import (
    AS_FAST,
    MOST_PROCESSOR_DIFFERENCE,
    Judgement,
    Verdict,
    judge,
    processor_difference,
    speed_ratio,
)
from clf_export.proof.parity import run_onnx
from clf_runtime.errors import brief

# Scheme, scale of each output channel or one, method; each is tried with every placement.
_TRIED: tuple[tuple[Scheme, bool, Method], ...] = (
    ("U8S8 reduced", True, "minmax"),
    ("U8S8 reduced", True, "percentile"),
    ("U8S8 reduced", True, "entropy"),
    ("U8S8 reduced", False, "minmax"),
    ("U8S8 reduced", False, "percentile"),
    ("U8U8", True, "minmax"),
    ("U8U8", True, "percentile"),
    ("U8U8", False, "minmax"),
    ("U8S8", True, "minmax"),
    ("S8S8", True, "minmax"),
    ("weights only", True, "minmax"),
)
_NEARLY_AS_FAST = 0.9  # of the fastest: differences below that are not worth wrong answers
_SURELY_SLOWER = 0.8  # of the fastest, by a first quick measurement
_SECONDS = 0.3  # of it; those that may be the fastest are measured again for four times as long


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: its figures, or in `problem` the reason why it cannot be used.

    `size` is in bytes; `batch_1_ratio` is measured only where the rest is good: None elsewhere.
    """

    setting: Setting
    problem: str | None
    judgement: Judgement | None = None
    processor_difference: float | None = None
    size: int | None = None
    batch_1_ratio: float | None = None


@dataclass(frozen=True)
class Quantised:
    """An int8 file, without metadata, what it is worth, and all that was tried on the way."""

    model: bytes
    verdict: Verdict
    tried: tuple[Trial, ...]


def quantise(
    model: bytes,
    calibration: np.ndarray,
    validation: np.ndarray,
    labels: np.ndarray,
    *,
    unseen: bool = True,
    watch: Callable[[str], object] = lambda text: None,
) -> Quantised:
    """Make the best int8 version of a float model, the bytes of an ONNX file with one input and one output.

    `calibration` and `validation` are images as the model takes them, uint8 or float32 [N, C, H, W], none of them in
    both and none of the test; `labels`, int64 [N], are those of the validation, and `unseen` says whether
    the net was trained without it. `watch` is told what is being done.

    Of the settings that pass (see `verdict.judge`) and answer here as the file means, those that overflow on no
    processor are taken if there is one. Of these, the ones count that run one image at 90 % of the fastest's speed or
    more, and at float's if one does. Of them, that is kept whose predictions differ least from the float model's, since
    a difference of accuracies is mostly noise, or the smallest within one standard error of that (the rule of Breiman
    et al., 1984, for pruning trees). If none passes, the most accurate is kept, and its verdict says so.
    The file is a function of the setting and the images; the choice among settings is measured, so it is not.

    Raises QuantisationError, with the reason, if no setting gives a model that runs.
    """
    try:
        ordered = put_in_order(onnx.load_from_string(model))
        settings = _settings(ordered)
        if not settings:
            raise ValueError("there is no layer with constant weights")
        watch(f"int8: finding the ranges of values on {len(calibration):,} training images")
        ranges = find_ranges(ordered, watched_tensors(ordered), calibration)
        expected = run_onnx(model, validation)
    except Exception as error:  # of onnx or onnxruntime, whose errors share no base
        raise QuantisationError(f"the net cannot be made int8: {brief(error)}") from None
    tried = []
    for i, setting in enumerate(settings, 1):
        watch(f"int8: trying {i} of {len(settings)}: {setting}")
        tried.append(_try(ordered, setting, ranges, expected, validation, labels))
    working = [trial for trial in tried if trial.judgement is not None]
    if not working:
        raise QuantisationError(f"none of {len(tried)} ways to make the net int8 works: {tried[0].problem}")

    def build(trial: Trial) -> bytes:
        return to_int8(ordered, trial.setting, ranges[trial.setting.method])

    good = [trial for trial in working if trial.problem is None]
    good = [trial for trial in good if trial.setting.scheme in EXACT] or good
    if good:
        watch("int8: measuring the speed of the best")

        def time(trials: list[Trial], seconds: float) -> list[Trial]:
            return [replace(t, batch_1_ratio=speed_ratio(model, build(t), validation, 1, seconds)) for t in trials]

        timed = time(_best_of_each_kind(good), _SECONDS)
        again = time(_nearly_fastest(timed, _SURELY_SLOWER), 4 * _SECONDS)
        chosen = _choose(again)
        ratios = {t.setting: t.batch_1_ratio for t in (*timed, *again)}
        tried = [replace(trial, batch_1_ratio=ratios.get(trial.setting)) for trial in tried]
    else:
        chosen = max(working, key=lambda t: (t.setting.scheme in EXACT, _of(t).int8_accuracy, -_of(t).differing))
        chosen = replace(chosen, batch_1_ratio=speed_ratio(model, build(chosen), validation, 1, 4 * _SECONDS))
    data = build(chosen)
    return Quantised(data, _verdict(chosen, model, data, validation, unseen), tuple(tried))


def _settings(model: onnx.ModelProto) -> list[Setting]:
    return [
        Setting(scheme, per_channel, method, placement)
        for placement in PLACEMENTS
        if kept_in_float(model, placement) is not None
        for scheme, per_channel, method in _TRIED
    ]


def _try(
    ordered: onnx.ModelProto,
    setting: Setting,
    ranges: dict[Method, Ranges],
    expected: np.ndarray,
    validation: np.ndarray,
    labels: np.ndarray,
) -> Trial:
    try:
        data = to_int8(ordered, setting, ranges[setting.method])
        judgement = judge(expected, run_onnx(data, validation), labels)
        difference = processor_difference(data, validation)
    except Exception as error:  # the quantizer, the checker and onnxruntime each have their own
        return Trial(setting, brief(error))
    problem = judgement.problem
    if difference > MOST_PROCESSOR_DIFFERENCE:
        problem = f"sums overflow on this processor: a probability is {difference:.2f} off what the file means"
    return Trial(setting, problem, judgement, difference, len(data))


def _of(trial: Trial) -> Judgement:
    assert trial.judgement is not None
    return trial.judgement


def _best_of_each_kind(trials: list[Trial]) -> list[Trial]:
    """Of the trials that differ only in how ranges are found, which costs no time, that nearest to the float net."""
    best: dict[Setting, Trial] = {}
    for trial in trials:
        kind = replace(trial.setting, method="minmax")
        if kind not in best or _distance(trial) < _distance(best[kind]):
            best[kind] = trial
    return list(best.values())


def _choose(timed: list[Trial]) -> Trial:
    """Of the nearly fastest, that which is nearest to the float net; of those as near as can be told, the smallest.

    If one is as fast as the float net, those that are not do not count.
    """
    fast = _nearly_fastest(timed, _NEARLY_AS_FAST)
    as_float = [trial for trial in fast if _speed(trial) >= AS_FAST]
    nearest = min(as_float or fast, key=_distance)
    undecided, differing = _distance(nearest)
    noise = math.sqrt(differing * (1 - differing) / _of(nearest).images)  # its standard error
    near = [t for t in as_float or fast if _distance(t) <= (undecided, differing + noise)]
    return min(near, key=lambda trial: trial.size or 0)


def _nearly_fastest(timed: list[Trial], share: float) -> list[Trial]:
    fastest = max(map(_speed, timed))
    return [trial for trial in timed if _speed(trial) >= share * fastest]


def _speed(trial: Trial) -> float:
    assert trial.batch_1_ratio is not None
    return trial.batch_1_ratio


def _distance(trial: Trial) -> tuple[bool, float]:
    """How far from the float net: an accuracy within its bounds is nearer than one that the images cannot decide."""
    return _of(trial).undecided, _of(trial).differing


def _verdict(chosen: Trial, model: bytes, data: bytes, images: np.ndarray, unseen: bool) -> Verdict:
    assert chosen.processor_difference is not None
    return Verdict(
        setting=str(chosen.setting),
        judgement=_of(chosen),
        unseen=unseen,
        problem=chosen.problem,
        processor_difference=chosen.processor_difference,
        size=len(data),
        float_size=len(model),
        batch_1_ratio=_speed(chosen),
        batch_256_ratio=speed_ratio(model, data, images, 256, 4 * _SECONDS),
    )
