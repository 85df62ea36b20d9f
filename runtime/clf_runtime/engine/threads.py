"""Blocks of a large batch, answered by several threads."""

import threading
from collections.abc import Callable, Iterator

import numpy as np

_LEAST_BLOCK = 32  # images of a block: smaller ones cost more than they save


def share(count: int, threads: int, most: int) -> int:
    """The size of blocks, at most `most`, that gives so many threads equal parts of `count` images."""
    rounds = -(-count // (threads * most)) or 1
    return min(most, max(_LEAST_BLOCK, -(-count // (threads * rounds))))


def run_blocks(answer: Callable[[slice], np.ndarray], answers: np.ndarray, block: int, threads: int) -> None:
    """Fill `answers` [n, ...] block by block: `answer` gives those of a slice of rows, of at most `block`.

    `threads` of them work at a time, on blocks of their own, where there are that many; at most so many blocks are in
    memory. They live for this call only, so that a process can fork between two. Raises what `answer` raises first.
    """
    count = len(answers)
    starts = iter(range(0, count, block))
    helpers = min(threads, -(-count // block)) - 1
    lock, failures = threading.Lock(), list[BaseException]()

    def take() -> Iterator[int]:
        while not failures:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            yield start

    def work() -> None:
        try:
            for start in take():
                rows = slice(start, min(start + block, count))
                answers[rows] = answer(rows)
        except BaseException as error:  # KeyboardInterrupt too: it is raised in the calling thread
            failures.append(error)

    others = [threading.Thread(target=work, daemon=True) for _ in range(helpers)]
    for thread in others:
        thread.start()
    work()
    for thread in others:
        thread.join()
    if failures:
        raise failures[0]
