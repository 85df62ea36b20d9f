"""int8 with a verdict: a handful of settings is tried, and the best one that keeps float32's accuracy is chosen.

Calibration and choice use no test images: see `held_out`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx

from clf_export.errors import QuantisationError
from clf_export.int8.passes import before_quantisation
from clf_export.int8.qdq import Setting, kept_in_float, to_int8
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

# Of the 55 settings that were compared once, those that won, or come as close and are as fast as one that did.
_SETTINGS = (
    Setting("U8S8 reduced, per channel", "all"),
    Setting("U8S8 reduced, per channel", "first in float"),
    Setting("U8S8 reduced, per channel", "last in float"),
    Setting("U8S8 reduced, per channel", "first and last in float"),
    Setting("U8S8 reduced, per tensor", "all"),  # the fastest where layers are dense
    Setting("weights only, per channel", "all"),
    Setting("weights only, per channel", "first in float"),
)
_NEARLY_AS_FAST = 0.9  # of the fastest: less speed than that is not worth changed predictions
_SURELY_SLOWER = 0.8  # of the fastest, in a first quick measurement
_SECONDS = 0.3  # of that measurement; candidates for the fastest are measured again for four times as long


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: its figures, and in `problem` the reason why it cannot be used, if any.

    `size` is in bytes; `batch_1_ratio` is None where `problem` is not.
    """

    setting: Setting
    problem: str | None
    judgement: Judgement | None = None
    processor_difference: float | None = None
    size: int | None = None
    batch_1_ratio: float | None = None


@dataclass(frozen=True)
class Quantised:
    """An int8 file, without metadata, the verdict on it, and all settings that were tried."""

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

    `calibration` and `validation` are images as the model takes them, uint8 or float32 [N, C, H, W], disjoint and none
    of the test; `labels`, int64 [N], belong to `validation`, and `unseen` says whether the net was trained without
    those images. `watch` is called with the progress.

    The candidates are the settings that pass (see `verdict.judge`), whose integer kernels compute here what the file
    specifies, and which run one image at 90 % of the fastest's speed or more (and at float32's speed, if any does). The
    one whose predictions differ least from the float model's is chosen, since differences of accuracy are mostly noise,
    or the smallest within one standard error of it (the one-standard-error rule of Breiman et al., 1984). If none
    passes, the most accurate is chosen, and its verdict says so.
    The file is a function of the setting and the images; the choice is not, since it depends on measured speed.

    Raises QuantisationError, with the reason, if no setting gives a model that runs.
    """
    try:
        prepared = before_quantisation(onnx.load_from_string(model))
        settings = [s for s in _SETTINGS if kept_in_float(prepared, s.placement) is not None]
        if not settings:
            raise ValueError("there is no layer with constant weights")
        expected = run_onnx(model, validation)
    except Exception as error:  # of onnx or onnxruntime, whose errors share no base
        raise QuantisationError(f"the net cannot be quantised: {brief(error)}") from None
    tried: list[Trial] = []
    made: dict[Setting, bytes] = {}
    for i, setting in enumerate(settings, 1):
        watch(f"int8: trying {i} of {len(settings)}: {setting}")
        try:
            made[setting] = to_int8(prepared, setting, calibration)
            tried.append(_judge(setting, made[setting], expected, validation, labels))
        except Exception as error:  # the quantizer, the checker and onnxruntime each have their own
            tried.append(Trial(setting, brief(error)))
    working = [trial for trial in tried if trial.judgement is not None]
    if not working:
        raise QuantisationError(f"none of {len(tried)} int8 settings works: {tried[0].problem}")

    good = [trial for trial in working if trial.problem is None]
    if good:
        watch("int8: measuring the speed of the best settings")

        def time(trials: list[Trial], seconds: float) -> list[Trial]:
            return [
                replace(t, batch_1_ratio=speed_ratio(model, made[t.setting], validation, 1, seconds)) for t in trials
            ]

        timed = time(good, _SECONDS)
        again = time(_nearly_fastest(timed, _SURELY_SLOWER), 4 * _SECONDS)
        chosen = _choose(again)
        ratios = {t.setting: t.batch_1_ratio for t in (*timed, *again)}
        tried = [replace(trial, batch_1_ratio=ratios.get(trial.setting)) for trial in tried]
    else:
        chosen = max(working, key=lambda t: (_of(t).int8_accuracy, -_of(t).differing))
        chosen = replace(chosen, batch_1_ratio=speed_ratio(model, made[chosen.setting], validation, 1, 4 * _SECONDS))
    data = made[chosen.setting]
    return Quantised(data, _verdict(chosen, model, data, validation, unseen), tuple(tried))


def _judge(setting: Setting, data: bytes, expected: np.ndarray, validation: np.ndarray, labels: np.ndarray) -> Trial:
    judgement = judge(expected, run_onnx(data, validation), labels)
    difference = processor_difference(data, validation)
    problem = judgement.problem
    if difference > MOST_PROCESSOR_DIFFERENCE:
        problem = f"sums overflow on this processor: a probability is off by {difference:.2f} from ONNX's reference"
    return Trial(setting, problem, judgement, difference, len(data))


def _of(trial: Trial) -> Judgement:
    assert trial.judgement is not None
    return trial.judgement


def _choose(timed: list[Trial]) -> Trial:
    """Of the nearly fastest, the closest to the float net; of those within one standard error of it, the smallest.

    If any is as fast as the float net, those that are not are left out.
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
    """Distance from the float net: whether the accuracy is undecided, then the fraction of changed predictions."""
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
