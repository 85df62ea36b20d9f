"""metrics.csv of a run folder: a header, and one line per epoch, written during the training."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from clf_train.loop.checkpoint import Epoch

FILE = "metrics.csv"


def write_metrics(folder: Path, history: Sequence[Epoch]) -> None:
    """Write the file with these epochs. Raises OSError as the system does."""
    with (folder / FILE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([f.name for f in fields(Epoch)])
        writer.writerows([asdict(epoch).values() for epoch in history])


def add_epoch(folder: Path, epoch: Epoch) -> None:
    """Append one line, and close the file, so that it can be followed. Raises OSError as the system does."""
    with (folder / FILE).open("a", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerow(asdict(epoch).values())
