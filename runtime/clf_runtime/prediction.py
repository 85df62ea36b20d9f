"""Prediction: the result for one image; Predictions: for a batch."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Literal, NamedTuple, overload

import numpy as np

UNKNOWN = "unknown"  # the name of a rejected image
Reject = Literal["auto"] | None  # whether an image that is less familiar than the card's threshold is rejected
Rejected = Literal["unfamiliar", "ambiguous"]
_NO_ORDER = "predictions have no order: sort by a field, as with key=lambda p: p.probability"


class Prediction(NamedTuple):
    """The predicted class of one image.

    `probability` is that of the class `index`, called `name`; `distribution` holds the probabilities of all classes,
    float32 [classes], if requested. `model_sha256` is the hash of the model file, `provider` the onnxruntime execution
    provider that ran it. `familiarity` is the share of held-out images that are less familiar, None if the file has no
    such output. A rejected image has the index None and the name UNKNOWN; `probability` is still that of the most
    likely class. `rejected` says why: it is `unfamiliar`, by `reject="auto"`, or `ambiguous`, its probability is below
    `reject_below`.

    A tuple, because a frozen dataclass takes three times as long to create, and a batch creates hundreds. Equality
    ignores distributions. There is no order, since a tuple's would compare class indices: `<` etc. raise TypeError.
    """

    index: int | None  # type: ignore[assignment]  # a tuple's own index() is not needed
    name: str
    probability: float
    model_sha256: str
    provider: str
    distribution: np.ndarray | None = None
    familiarity: float | None = None
    rejected: Rejected | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prediction) and _compared(self) == _compared(other)

    def __ne__(self, other: object) -> bool:  # a tuple's own would compare the distributions
        return not self == other

    def __lt__(self, other: object) -> bool:
        raise TypeError(_NO_ORDER)

    def __le__(self, other: object) -> bool:
        raise TypeError(_NO_ORDER)

    def __gt__(self, other: object) -> bool:
        raise TypeError(_NO_ORDER)

    def __ge__(self, other: object) -> bool:
        raise TypeError(_NO_ORDER)

    def __hash__(self) -> int:
        return hash(_compared(self))


def _compared(prediction: Prediction) -> tuple[object, ...]:
    return (*prediction[:5], *prediction[6:])


class Predictions(Sequence[Prediction]):
    """The predictions for a batch: a sequence of Prediction, and the same as arrays.

    `familiarity` is float32 [batch], or None if the file has no such output.

    Both are created on first use: hundreds of records take a fiftieth of the time of a small model's batch, which using
    only `indices` and `probabilities` saves (docs/runtime.md). The arrays are read-only, a slice is a list of records,
    and equality compares the records.
    """

    def __init__(
        self,
        probabilities: np.ndarray,
        names: Sequence[str],
        model_sha256: str,
        provider: str,
        *,
        distribution: bool = False,
        reject_below: float = 0.0,
        familiarity: np.ndarray | None = None,
        unfamiliar_below: float = 0.0,
    ) -> None:
        """Take probabilities float32 [batch, classes] of the classes `names`, without copying them.

        With `distribution` each record holds its row; images with a probability below `reject_below`, in 0..1, are
        rejected, as are those whose `familiarity`, float32 [batch], is below `unfamiliar_below`.
        Raises ValueError if `reject_below` is not a probability.
        """
        check_probability(reject_below)
        self._rows, self._names, self._whose = probabilities, names, (model_sha256, provider)
        self._distribution, self._reject_below = distribution, reject_below
        self._unfamiliar_below = 0.0 if familiarity is None else unfamiliar_below
        self.familiarity = None if familiarity is None else _read_only(familiarity)

    @cached_property
    def indices(self) -> np.ndarray:
        """The predicted class of each image, int64 [batch]; -1 where it is rejected."""
        if not (self._reject_below or self._unfamiliar_below):
            return self._best
        return _read_only(np.where(self._ambiguous | self._unfamiliar, -1, self._best))

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The probability of the most likely class of each image, float32 [batch], rejected or not."""
        return _read_only(np.maximum.reduce(self._rows, 1))

    @cached_property
    def _ambiguous(self) -> np.ndarray:
        return np.asarray(self.probabilities.astype(np.float64) < self._reject_below)  # as for a single image

    @cached_property
    def _unfamiliar(self) -> np.ndarray:
        if self.familiarity is None:
            return np.zeros(len(self), bool)
        return np.asarray(self.familiarity.astype(np.float64) < self._unfamiliar_below)

    @cached_property
    def _best(self) -> np.ndarray:
        return _read_only(self._rows.argmax(axis=1).astype(np.int64, copy=False))  # int32 on a 32-bit processor

    @cached_property
    def _records(self) -> list[Prediction]:
        indices: list[int | None] = self.indices.tolist()
        chosen: list[str] = np.array(self._names, dtype=object)[self._best].tolist()
        rejected: list[Rejected | None] | repeat[None] = repeat(None)
        if self._reject_below or self._unfamiliar_below:
            rejected = [None] * len(self)
            for i in np.flatnonzero(self.indices < 0).tolist():
                indices[i], chosen[i] = None, UNKNOWN
                rejected[i] = "unfamiliar" if self._unfamiliar[i] else "ambiguous"
        wholes = list(self._rows.copy()) if self._distribution else repeat(None)
        whose = map(repeat, self._whose)
        familiar = repeat(None) if self.familiarity is None else self.familiarity.tolist()
        rows = zip(indices, chosen, self.probabilities.tolist(), *whose, wholes, familiar, rejected, strict=False)
        # All steps run in C: a third of a microsecond per image matters for a small model.
        return list(map(tuple.__new__, repeat(Prediction), rows))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, i: int) -> Prediction: ...
    @overload
    def __getitem__(self, i: slice) -> list[Prediction]: ...
    def __getitem__(self, i: int | slice) -> Prediction | list[Prediction]:
        return self._records[i]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self._records)

    def __eq__(self, other: object) -> bool:
        return self._records == list(other) if isinstance(other, Predictions | list) else NotImplemented

    def __repr__(self) -> str:
        return f"Predictions({self._records})"


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False  # records created later must agree with it
    return array


def check_probability(reject_below: float) -> None:
    """Raise ValueError unless a number is a probability in 0..1."""
    if not 0 <= reject_below <= 1:
        raise ValueError(f"reject_below must be a probability in 0..1, not {reject_below}")
