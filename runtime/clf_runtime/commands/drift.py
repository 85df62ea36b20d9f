"""`clf-predict` on a long stream: what it looks like, now and then, on a signal, and at its end, on stderr."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from clf_runtime.commands.shell import one_line, say
from clf_runtime.monitoring.drift import Change, DriftMonitor, Summary
from clf_runtime.system import signal_named

if TYPE_CHECKING:
    from clf_runtime.model.card import ModelCard
    from clf_runtime.prediction import Prediction

LEAST_AT_END = 256  # images for a summary that nobody asked for
_FEW = 3  # classes that are listed


class Watch:
    """Says on stderr, as the command `name`, what a stream looks like `every` so many images, and when it changes."""

    def __init__(self, card: "ModelCard", name: str, every: int | None) -> None:
        self._monitor, self._card, self._name, self._every = DriftMonitor(card), card, name, every

    def add(self, prediction: "Prediction") -> None:
        """Count a prediction, and say what there is to say with it."""
        change = self._monitor.add(prediction)
        if change is not None:
            say(self._name, change_line(change))
        if self._every is not None and self._monitor.images % self._every == 0:
            say(self._name, summary_line(self._monitor.interval(), self._card))

    def at_end(self) -> None:
        """Say what the whole stream looked like, or that it was too short and no summaries were asked for."""
        images = self._monitor.images
        if images and (images >= LEAST_AT_END or self._every is not None):
            say(self._name, summary_line(self._monitor.summary(), self._card))
        elif images > 1:  # a single picture is no stream
            asked = "--drift-every N gives one of fewer"
            say(self._name, f"{images:,} images are too few for a summary, which takes {LEAST_AT_END:,}; {asked}")

    def on_signal(self, *_: Any) -> None:
        """Write what the stream looks like so far; not by print, which the signal may have interrupted."""
        images = self._monitor.images
        text = summary_line(self._monitor.summary(), self._card) if images else "no images so far"
        with suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), f"{self._name}: {one_line(text)}\n".encode(errors="replace"))


@contextmanager
def watching(card: "ModelCard", name: str, every: int | None) -> Iterator[Watch]:
    """Give a Watch that also answers SIGUSR1, where the system has it, and speaks when the block ends, in any way."""
    watch = Watch(card, name, every)
    number = signal_named("SIGUSR1")
    usual = signal.signal(number, watch.on_signal) if number else None
    try:
        yield watch
    finally:
        watch.at_end()
        if number:
            signal.signal(number, usual)


def change_line(change: Change) -> str:
    """The one line that is said when the world has changed: which of the two, and by how much."""
    said = []
    if change.appearance is not None:
        share = 100 * change.appearance.distance
        said.append(f"their appearance ({share:.0f} % answered otherwise than held-out images of the same classes)")
    if change.mix is not None:
        said.append(f"the mix of classes ({100 * change.mix.distance:.0f} % are of other classes than held-out images)")
    return f"the images have changed: {' and '.join(said)}, noticed at image {change.image:,}"


def summary_line(summary: Summary, card: "ModelCard") -> str:
    """A summary in one line: share unknown, mean, the classes that differ most, and what has changed."""
    whole = summary.first == 1
    images = f"{summary.images:,} images" if whole else f"images {summary.first:,} to {summary.last:,}"
    mean = f"mean {summary.value} {summary.mean:.3f}"
    if summary.held_out_mean is not None:
        mean += f" (held-out images {summary.held_out_mean:.3f})"
    first = f"{images}: {100 * summary.unknown:.1f} % unknown, {mean}"
    return "; ".join((first, _classes(summary, card), _test(summary, card)))


def _classes(summary: Summary, card: "ModelCard") -> str:
    usual = summary.held_out_shares
    apart = [abs(share - (usual[i] if usual else 0)) for i, share in enumerate(summary.shares)]
    listed = sorted(range(len(apart)), key=lambda i: -apart[i])[:_FEW]
    words = []
    for i in listed:
        beside = f" ({100 * usual[i]:.1f})" if usual else ""
        words.append(f"{card.names[i]} {100 * summary.shares[i]:.1f} %{beside}")
    return f"classes {', '.join(words)}{', ...' * (len(apart) > _FEW)}"


def _test(summary: Summary, card: "ModelCard") -> str:
    if card.reference is None:
        return "no test of drift: the model file has no reference (clf-export writes one)"
    if not summary.tested:
        from clf_runtime.monitoring.windows import FIRST

        return f"no test of drift yet: it takes {FIRST:,} images, more where they resemble each other"
    states = []
    for what, at in (("appearance", summary.appearance), ("mix of classes", summary.mix)):
        states.append(f"{what} {'as in held-out images' if at is None else f'changed, noticed at image {at:,}'}")
    return ", ".join(states)
