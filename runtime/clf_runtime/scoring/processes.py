"""The local engine: worker processes, each with a session of its own, replaced if they die.

Not concurrent.futures, whose pool is broken once a worker is killed, as the system does where memory runs out.
"""

import signal
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.resource_tracker import ensure_running
from typing import Any

from clf_runtime.errors import ClfError, ScoringError
from clf_runtime.scoring.plan import Entry
from clf_runtime.scoring.scorer import Job, Scored, Scorer

TRIES = 3  # of a partition whose worker dies
_LOADING = -1  # for the number of a partition, while the model is loaded


@dataclass
class _Worker:
    """A process, and the partition that it works on; None while it loads the model."""

    process: Any
    entry: Entry | None = None


def score_in_processes(job: Job, todo: Iterator[Entry], workers: int) -> Iterator[Scored | Entry]:
    """Yield each partition when it is done, scored by `workers` processes; an Entry is one that killed TRIES of them.

    What a worker raises, which no image is to blame for, is raised. The processes have ended when the iterator has: if
    it is closed early they are killed, and their partitions dropped. Raises ScoringError if workers die while they
    load the model.
    """
    context: Any = get_context("spawn")
    live: dict[Connection, _Worker] = {}
    again: deque[Entry] = deque()
    deaths: Counter[int] = Counter()

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, job), daemon=True)
        with _sigint_blocked():  # which the process inherits: Ctrl-C reaches all, and this one tells the others
            process.start()
        theirs.close()
        live[ours] = _Worker(process)

    def give(connection: Connection, worker: _Worker) -> None:
        worker.entry = again.popleft() if again else next(todo, None)
        if worker.entry is None:
            del live[connection]
        with suppress(OSError):  # a process that has died is noticed by wait()
            connection.send(worker.entry)

    ended: list[Any] = []
    try:
        for _ in range(workers):
            start()
        while live:
            for connection in wait(list(live)):
                assert isinstance(connection, Connection)
                worker = live[connection]
                try:
                    answer = connection.recv()
                except (EOFError, OSError):
                    del live[connection]
                    entry, number = worker.entry, _LOADING if worker.entry is None else worker.entry.number
                    deaths[number] += 1
                    worker.process.join()
                    if entry is None and deaths[number] >= TRIES:
                        code = worker.process.exitcode
                        said = f"the worker processes end while they load the model (exit code {code})"
                        raise ScoringError(said) from None
                    if entry is not None and deaths[number] >= TRIES:
                        yield entry
                    elif entry is not None:
                        again.append(entry)
                    start()
                    continue
                if isinstance(answer, Exception):
                    raise answer
                if answer is not None:
                    yield answer
                give(connection, worker)
                if worker.entry is None:
                    ended.append(worker.process)
        for process in ended:
            process.join()
    finally:
        for worker in live.values():
            worker.process.kill()
        for process in (*ended, *(worker.process for worker in live.values())):
            process.join()


def _work(connection: Connection, job: Job) -> None:
    """Score partitions until there is none, or the parent has died."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        scorer = Scorer(job)
        connection.send(None)
        while (entry := connection.recv()) is not None:
            connection.send(scorer.score(entry))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # of the pipe to a parent that has died
        pass
    except (OSError, ClfError, MemoryError) as error:
        with suppress(OSError):
            connection.send(error)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """A block in which SIGINT waits."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ensure_running()  # multiprocessing's own process, after whose start Python 3.11 unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
