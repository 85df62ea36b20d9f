"""What a worker does: load the model once, and score one partition after another into its file."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clf_runtime.classifier import Classifier
from clf_runtime.model.assumptions import Assumptions
from clf_runtime.model.file import MAX_MODEL_BYTES
from clf_runtime.pipeline import Answer
from clf_runtime.prediction import Reject
from clf_runtime.record import to_record
from clf_runtime.scoring import plan, results
from clf_runtime.scoring.images import answer_partition
from clf_runtime.scoring.storage import join, read_file, status


@dataclass(frozen=True)
class Job:
    """All that a worker needs, in any process on any machine that reads the folder of results, in which the model is.

    `where` names the model in errors, `sha256` is its hash.
    """

    out: str
    form: results.Form
    where: str
    sha256: str
    device: str
    assume: Assumptions | None
    top: int
    reject_below: float
    reject: Reject


@dataclass(frozen=True)
class Scored:
    """A partition that is done: how many rows and how many of them with an error, and what it took.

    `seconds` are those of the clock, `processor_seconds` those that the worker ran.
    """

    number: int
    images: int
    errors: int
    seconds: float
    processor_seconds: float


class Scorer:
    """A session of the model, of one worker."""

    def __init__(self, job: Job) -> None:
        """Load the model. Raises OSError, and what Classifier.load does."""
        self._job = job
        model = read_file(join(job.out, results.MODEL), MAX_MODEL_BYTES)
        self._classifier = Classifier(
            model or b"", job.where, device=job.device, sha256=job.sha256, assume=job.assume, threads=1
        )

    def score(self, entry: plan.Entry) -> Scored:
        """Score a partition, unless its results are there. Raises OSError, MissingExtraError."""
        job, start, ran = self._job, time.perf_counter(), time.process_time()
        path = results.part(job.out, entry.number, job.form)
        if status(path) is not None:
            return Scored(entry.number, 0, 0, 0.0, 0.0)
        partition = plan.read(join(job.out, results.PLAN), entry)
        count = _Count()
        asked: Any = {"distribution": True, "reject_below": job.reject_below, "reject": job.reject}
        answers = answer_partition(self._classifier, partition, **asked)
        results.write_rows(path, self._rows(answers, count), job.form)
        seconds, ran = time.perf_counter() - start, time.process_time() - ran
        return Scored(entry.number, count.images, count.errors, seconds, ran)

    def _rows(self, answers: Iterator[Answer], count: "_Count") -> Iterator[dict[str, object]]:
        names = self._classifier.card.names
        for answer in answers:
            count.images += 1
            count.errors += answer.error is not None
            row = to_record(answer, names, self._job.top)
            row["model_sha256"] = self._job.sha256  # of a row with an error too
            yield row


class _Count:
    images = 0
    errors = 0
