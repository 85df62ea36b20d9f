"""SIGINT and SIGTERM as a request to stop, which a training checks between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """The received signal: the first one is a request, a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self._came: list[int] = []

    def note(self, number: int, frame: FrameType | None) -> None:
        """Record a signal. Raises KeyboardInterrupt if it is not the first."""
        self._came.append(number)
        if len(self._came) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt

    def asked(self) -> bool:
        """Whether a signal was received."""
        return bool(self._came)

    def exit_code(self) -> int:
        """128 plus the number of the first signal, as in shells; SIGTERM's if another process received it."""
        return 128 + (self._came[0] if self._came else signal.SIGTERM)


@contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """Treat SIGINT and SIGTERM as requests to stop while the block runs."""
    stop = Stop()
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
