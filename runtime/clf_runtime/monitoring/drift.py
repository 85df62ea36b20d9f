"""DriftMonitor: what a stream of images looks like beside held-out images, and when that has changed."""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from clf_runtime.model.card import ModelCard
from clf_runtime.monitoring.two_samples import Comparison
from clf_runtime.monitoring.windows import LEAST, Windows
from clf_runtime.prediction import Prediction


@dataclass(frozen=True)
class Summary:
    """What the images from `first` to `last` of a stream, counted from 1, look like.

    `unknown` is the share of rejected ones, `mean` the mean of `value`: the `probability` of the predicted class, or
    the `familiarity`; `held_out_mean` is that of held-out images, None without a reference. `shares` are those of the
    predicted classes, rejected or not, and `held_out_shares` those of held-out images, None where they are not known.
    `appearance` and `mix` say at which image of the stream a change was noticed, and are None where none was. `tested`
    says whether one could be: there were enough images, not too much alike.
    """

    first: int
    last: int
    unknown: float
    value: str
    mean: float
    held_out_mean: float | None
    shares: tuple[float, ...]
    held_out_shares: tuple[float, ...] | None
    appearance: int | None
    mix: int | None
    tested: bool

    @property
    def images(self) -> int:
        """The number of images."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Change:
    """A change that was noticed at the image number `image` of a stream, counted from 1.

    `appearance`: the values are others than those of held-out images of the same predicted classes, whatever their mix;
    `mix`: the predicted classes are others. Each is told once, and None otherwise.
    """

    image: int
    appearance: Comparison | None
    mix: Comparison | None


class DriftMonitor:
    """Counts the predictions of a stream, and compares them with the reference on the model's card."""

    def __init__(self, card: ModelCard) -> None:
        self._reference = card.reference
        self._windows = None if card.reference is None else Windows(card.reference)
        self._totals = _Totals(len(card.names))
        self._before = _Totals(len(card.names))  # at the end of the last interval
        self._noticed: dict[str, int] = {}
        self._classes: list[int] = []  # of the images that have not been tested
        self._bins: list[int] = []

    @property
    def images(self) -> int:
        """The number of images so far."""
        return self._totals.images

    def add(self, prediction: Prediction) -> Change | None:
        """Count a prediction; returns the change that shows with it, if one does.

        Raises ValueError for a rejected prediction without a distribution: its class is not known.
        """
        index = prediction.index
        if index is None:
            if prediction.distribution is None:
                raise ValueError("a rejected prediction has no class; predict with distribution=True")
            index = int(prediction.distribution.argmax())
        familiarity = prediction.familiarity
        value = prediction.probability if familiarity is None else familiarity
        totals = self._totals
        totals.is_familiarity = familiarity is not None
        totals.images += 1
        totals.classes[index] += 1
        totals.unknown += prediction.index is None
        totals.value += value
        if self._windows is None or self._reference is None:
            return None
        if self._reference.value == "probability":
            value = prediction.probability
        elif familiarity is None:
            return None
        self._classes.append(index)
        self._bins.append(bisect_right(self._reference.edges, value))
        return self._test(self._windows) if len(self._bins) == LEAST else None

    def _test(self, windows: Windows) -> Change | None:
        """Test the images that have been collected; the change that shows and that was not told before."""
        found = windows.add(np.array(self._classes), np.array(self._bins))
        self._classes, self._bins = [], []
        new = {question: comparison for question, comparison in found.items() if question not in self._noticed}
        self._noticed |= dict.fromkeys(new, self._totals.images)
        return Change(self._totals.images, new.get("appearance"), new.get("mix")) if new else None

    def summary(self) -> Summary:
        """What the whole stream looks like so far. Raises ValueError before the first image."""
        return self._summarise(_Totals(len(self._totals.classes)))

    def interval(self) -> Summary:
        """What the images since the last call of this look like. Raises ValueError if there are none."""
        found = self._summarise(self._before)
        self._before = self._totals.copy()
        return found

    def _summarise(self, before: "_Totals") -> Summary:
        now, reference = self._totals, self._reference
        images = now.images - before.images
        if not images:
            raise ValueError("there are no images to summarise")
        value = "familiarity" if now.is_familiarity else "probability"
        held_out = reference if reference is not None and reference.value == value else None
        shares = None
        if reference is not None and len(reference.counts) == len(now.classes):
            shares = tuple(sum(row) / reference.images for row in reference.counts)
        return Summary(
            first=before.images + 1,
            last=now.images,
            unknown=(now.unknown - before.unknown) / images,
            value=value,
            mean=(now.value - before.value) / images,
            held_out_mean=None if held_out is None else held_out.mean,
            shares=tuple((a - b) / images for a, b in zip(now.classes, before.classes, strict=True)),
            held_out_shares=shares,
            appearance=self._noticed.get("appearance"),
            mix=self._noticed.get("mix"),
            tested=self._windows is not None and self._windows.tested,
        )


class _Totals:
    """Sums over the images of a stream."""

    def __init__(self, classes: int) -> None:
        self.images = self.unknown = 0
        self.value = 0.0
        self.classes = [0] * classes
        self.is_familiarity = False

    def copy(self) -> "_Totals":
        """Another one, of the same sums."""
        other = _Totals(0)
        vars(other).update(vars(self), classes=self.classes.copy())
        return other
