"""Pictures decoded in several threads: in order, a few ahead, with a limit on the pixels in memory.

Pillow releases the GIL while it decodes and resizes, so threads are as fast as processes, which would copy the pixels
to each other. The standard library's pool is not used: Ctrl-C waits for its threads, and a JPEG may be crafted to
take hours.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from clf_runtime.inputs.pictures import MAX_FILE_BYTES, MAX_PIXELS

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2  # items per thread that are taken before the first result is yielded
_SHARING = 4  # threads that share the room of one picture of maximum size: photos of 12 megapixels do not wait


class Room:
    """Room for the pixels that `threads` decode at once: a picture of maximum size for every four of them."""

    def __init__(self, threads: int) -> None:
        """Start with all of it free."""
        self._most, self._held = MAX_PIXELS * -(-threads // _SHARING), 0
        self._freed = threading.Condition()

    @contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        """Wait until there is room for `pixels`, and hold it during the block."""
        with self._freed:
            self._freed.wait_for(lambda: not self._held or self._held + pixels <= self._most)
            self._held += pixels
        try:
            yield
        finally:
            with self._freed:
                self._held -= pixels
                self._freed.notify_all()


class _Task(Generic[T, R]):
    """One item, its weight, and its result or error."""

    def __init__(self, item: T, weight: int) -> None:
        self.items, self.weight = [item], weight
        self._results: list[R] = []
        self._error: BaseException | None = None
        self._done = threading.Event()

    def run(self, work: Callable[[T], R]) -> None:
        try:
            self._results.append(work(self.items.pop()))
        except BaseException as error:  # raised by result()
            self._error = error
        self._done.set()

    def result(self) -> R:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._results.pop()


def in_order(
    work: Callable[[T], R], items: Iterable[T], threads: int, weigh: Callable[[T], int] = lambda item: 0
) -> Iterator[R]:
    """Yield `work(item)` of each item, in order, computed in `threads` threads, or with one in the caller's.

    The items are taken in the caller's thread, at most two per thread ahead, and at most 64 MiB of them for every four
    threads, where `weigh` gives the bytes of an item. What `work` or the items raise is raised in order. All threads
    have ended when the iterator ends, so that the process can fork afterwards.
    """
    if threads <= 1:
        yield from map(work, items)
        return
    queue: SimpleQueue[_Task[T, R] | None] = SimpleQueue()

    def run() -> None:
        while (task := queue.get()) is not None:
            task.run(work)

    helpers = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for helper in helpers:
        helper.start()
    most = MAX_FILE_BYTES * -(-threads // _SHARING)
    pending: deque[_Task[T, R]] = deque()
    failure: Exception | None = None
    rest = iter(items)
    try:
        while failure is None:
            try:
                item = next(rest)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            task: _Task[T, R] = _Task(item, weigh(item))
            del item
            while pending and (
                len(pending) >= _AHEAD * threads or sum(each.weight for each in pending) + task.weight > most
            ):
                yield pending.popleft().result()
            pending.append(task)
            queue.put(task)
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        with suppress(Empty):
            while True:  # no longer needed
                queue.get_nowait()
        for _ in helpers:
            queue.put(None)
        for helper in helpers:  # a second Ctrl-C ends the wait
            helper.join()
