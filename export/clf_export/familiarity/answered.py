"""A model as it will answer: its familiarity, where one can be fitted, its golden cases, and what the card says.

Letters in shapes: N images, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import onnx

from clf_export.errors import FamiliarityError
from clf_export.familiarity.control import measure_control
from clf_export.familiarity.golden import golden_cases, with_golden
from clf_export.familiarity.images import FrozenImages, Images
from clf_export.proof.evidence import Evidence
from clf_export.proof.golden import make_golden
from clf_runtime.model.familiarity import Control, Familiarity
from clf_runtime.model.records import Golden

Known = TypeVar("Known", bound=Images | FrozenImages)


@dataclass(frozen=True, eq=False)
class Answered(Generic[Known]):
    """A `model`, and `data`, the same as bytes: with a second output, if it has a `familiarity`, else as it was.

    `golden` is of what it answers. `known` are the images that the familiarity was fitted to and `control` how it takes
    changed ones; all three are None if it has none, for the reason `problem`, which is None if none was asked for.
    """

    model: onnx.ModelProto
    data: bytes
    golden: Golden | None
    known: Known | None = None
    familiarity: Familiarity | None = None
    control: Control | None = None
    problem: str | None = None


def answered(
    model: onnx.ModelProto,
    evidence: Evidence,
    gather: Callable[[], Known] | None,
    fit: Callable[[onnx.ModelProto, Known], tuple[onnx.ModelProto, Familiarity]],
) -> Answered[Known]:
    """Add to a model the familiarity that is fitted to what `gather` returns, None for none; `fit` as with_familiarity.

    Where one of the two raises FamiliarityError, the model stays as it is, and `problem` says why.
    Raises ModelError if onnxruntime cannot run the model.
    """
    made, known, familiarity, control, problem = model, None, None, None, None
    if gather is not None:
        try:
            known = gather()
            made, familiarity = fit(model, known)
        except FamiliarityError as error:
            known, problem = None, str(error)
    data = made.SerializeToString(deterministic=True)
    cases = golden_cases(evidence, known)
    golden = make_golden(data, cases)
    if known is not None and familiarity is not None:
        familiarity = with_golden(data, familiarity, golden, cases, known)
        control = measure_control(model, data, known, evidence.value_range, familiarity.threshold)
    return Answered(made, data, golden, known, familiarity, control, problem)
