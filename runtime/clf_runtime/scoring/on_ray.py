"""The engine on Ray Data: partitions are its rows, and each actor has one session of the model.

Only the places of partitions in the plan, and counts, pass through Ray: a worker reads its images itself and writes its
file itself, so that no pixel is copied into the object store.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import astuple
from typing import Any
from warnings import catch_warnings, simplefilter

from clf_runtime.errors import ClfError, DeviceError, MissingExtraError, ScoringError, brief
from clf_runtime.scoring.plan import Entry
from clf_runtime.scoring.processes import TRIES
from clf_runtime.scoring.scorer import Job, Scored, Scorer

_MOST_BLOCKS = 10_000  # of Ray Data, each of one or more partitions


class _Actor:
    """The callable of Ray Data's map_batches, created once per actor."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._scorer: Scorer | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score the partitions of a batch; what no image is to blame for is returned: Ray would wrap what is raised."""
        rows: dict[str, list[Any]] = {
            name: [] for name in ("number", "images", "errors", "seconds", "processor", "fault", "file")
        }
        for number, offset, length in zip(batch["number"], batch["offset"], batch["length"], strict=True):
            scored, fault, file = Scored(int(number), 0, 0, 0.0, 0.0), "", ""
            try:
                self._scorer = self._scorer or Scorer(self._job)
                scored = self._scorer.score(Entry(int(number), int(offset), int(length)))
            except (OSError, ClfError, MemoryError) as error:
                fault = (error.strerror if isinstance(error, OSError) else None) or brief(error) or "not enough memory"
                file = str(getattr(error, "filename", None) or "")
            row = (*astuple(scored), fault, file)
            for name, value in zip(rows, row, strict=True):
                rows[name].append(value)
        return rows


def score_on_ray(job: Job, todo: Iterator[Entry], workers: int) -> Iterator[Scored | Entry]:
    """Yield each partition when it is done, scored by `workers` actors, 0 for one per processor of the cluster.

    An Entry is one that has no result after TRIES tries of an actor that died. The cluster is the one that RAY_ADDRESS
    names or that this process is connected to, else the one that runs on this machine, else one that is started and
    ended here. Raises MissingExtraError without Ray, DeviceError without a cluster, and what Scorer.score raises, as a
    ScoringError.
    """
    ray = require_ray()
    is_ours = not ray.is_initialized()
    with redirect_stdout(sys.stderr):  # Ray prints there that a worker died
        try:
            if is_ours:
                with _own_sigterm():
                    ray.init(log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            raise DeviceError(f"no Ray cluster: {brief(error)}; see RAY_ADDRESS") from None
        try:
            yield from _score(ray, job, list(todo), workers)
        finally:
            if is_ours:
                ray.shutdown()


def _score(ray: Any, job: Job, entries: list[Entry], workers: int) -> Iterator[Scored | Entry]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1  # that of a partition that kills its actors must not end the others
    usable = int(ray.cluster_resources().get("CPU", 1))
    actors = min(workers or usable, len(entries))
    if actors > usable:
        raise DeviceError(f"{actors} Ray actors, but the cluster has {usable} processors; ask for fewer workers")
    data = ray.data.from_items(
        [{"number": each.number, "offset": each.offset, "length": each.length} for each in entries],
        override_num_blocks=min(len(entries), _MOST_BLOCKS),
    )
    with catch_warnings():
        simplefilter("ignore")  # Ray 2.64 is to have another way to say max_task_retries, which is infinite by default
        answers = data.map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=TRIES - 1,
        )
    missing = {each.number: each for each in entries}
    for row in answers.iter_rows():
        if row["fault"]:
            raise ScoringError(f"{row['file'] or job.out}: {row['fault']}")
        del missing[row["number"]]
        yield Scored(row["number"], row["images"], row["errors"], row["seconds"], row["processor"])
    yield from missing.values()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces by one that prints a stack."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_ray() -> Any:
    """Ray, with its usage statistics off. Raises MissingExtraError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError('--engine ray needs Ray: pip install "clf-edge[ray]"') from None
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are told of here
    return ray
