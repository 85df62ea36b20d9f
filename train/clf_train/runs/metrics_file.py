"""metrics.csv of a run folder: a header, and one line an epoch, written as the training goes."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from clf_train.loop.checkpoint import Epoch

FILE = "metrics.csv"


def write_metrics(folder: Path, history: Sequence[Epoch]) -> None:
    """Write the file anew, with these epochs. Raises OSError as the system does."""
    with (folder / FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([f.name for f in fields(Epoch)])
        writer.writerows([asdict(epoch).values() for epoch in history])


def add_epoch(folder: Path, epoch: Epoch) -> None:
    """Add one line to the file, which is closed at once: whoever follows it sees the line. Raises OSError likewise."""
    with (folder / FILE).open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(asdict(epoch).values())
