"""What tests of scoring share: a folder of coloured pictures, the rows of a folder of results, one process for all."""

import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from clf_runtime.scoring import score as scoring
from clf_runtime.scoring.scorer import Scorer

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


@pytest.fixture
def here(monkeypatch):
    """Partitions are scored in the test's own process, where no process is what is tested."""

    def in_this_process(job, todo, workers):
        scorer = Scorer(job)
        for entry in todo:
            yield scorer.score(entry)

    monkeypatch.setattr(scoring, "score_in_processes", in_this_process)


@pytest.fixture
def photos(tmp_path):
    """Seven files in three folders: five pictures, one damaged, one array of two images."""
    folder = tmp_path / "photos"
    for name, colour in COLOURS.items():
        (folder / name / "deep").mkdir(parents=True)
        Image.new("RGB", (8, 8), colour).save(folder / name / "same.png")
    Image.new("RGB", (30, 20), COLOURS["red"]).save(folder / "red" / "deep" / "A.JPG")
    Image.new("RGB", (8, 8), COLOURS["red"]).save(folder / "red" / "deep" / "ü [1]*.png")
    (folder / "green" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n, but no more")
    batch = np.zeros((2, 3, 8, 8), np.uint8)
    batch[0, 0], batch[1, 2] = 200, 200
    np.savez(folder / "blue" / "two.npz", images=batch)
    (folder / "readme.md").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def rows_of(out):
    """The rows of a folder of results, in the order of its partitions."""
    rows = []
    for file in sorted(out.glob("part-*")):
        if file.suffix == ".jsonl":
            rows += map(json.loads, file.read_text().splitlines())
        else:
            rows += parquet.read_table(file).to_pylist()
    return rows


@pytest.fixture
def rows():
    return rows_of
