"""How long work is followed on stderr: a passing line on a terminal, a line now and then where there is none."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clf_runtime.commands.shell import one_line, say

_TERMINAL_SECONDS, _LOG_SECONDS = 0.1, 10.0


@contextmanager
def following(name: str, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Give what is told the state of a command's work, as often as it likes, and shows it: nothing if `quiet`.

    On a terminal a text takes the place of the one before, and the last one is wiped away when the block ends. Else a
    text is a line, at most one each ten seconds: the first comes when ten have passed.
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
