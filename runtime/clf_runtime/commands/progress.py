"""Progress of long work on stderr: a line that is updated on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clf_runtime.commands.shell import one_line, say

_TERMINAL_SECONDS, _LOG_SECONDS = 0.1, 10.0


@contextmanager
def following(name: str, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Give a function to call with the progress, as often as desired; it prints nothing if `quiet`.

    On a terminal each text replaces the one before, and the last is erased when the block ends. Otherwise a text is
    printed as a line, at most every ten seconds and not before ten have passed.
    """
    if quiet:
        yield lambda text: None
        return
    is_terminal = sys.stderr.isatty()
    seconds = _TERMINAL_SECONDS if is_terminal else _LOG_SECONDS
    shown = time.monotonic()

    def show(text: str) -> None:
        nonlocal shown
        if time.monotonic() - shown < seconds:
            return
        shown = time.monotonic()
        if is_terminal:
            print(f"\r\x1b[K{one_line(text)}", end="", file=sys.stderr, flush=True)
        else:
            say(name, text)

    try:
        yield show
    finally:
        if is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
