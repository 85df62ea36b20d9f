"""SIGINT and SIGTERM as a wish to stop, which a training asks for between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """What came: the first signal is a wish, and a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self._came: list[int] = []

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take a signal. Raises KeyboardInterrupt if it is not the first."""
        self._came.append(number)
        if len(self._came) > 1 and number == signal.SIGINT:
            raise KeyboardInterrupt

    def asked(self) -> bool:
        """Whether a signal came."""
        return bool(self._came)

    def exit_code(self) -> int:
        """128 and the number of the first signal, as shells count; of SIGTERM if it came to another process."""
        return 128 + (self._came[0] if self._came else signal.SIGTERM)


@contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """Take SIGINT and SIGTERM as wishes to stop while the block runs."""
    stop = Stop()
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
