"""Calls of libraries that print, log, warn, or swallow Ctrl-C."""

import contextlib
import io
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Suppress what Python code prints, logs and warns while the block runs; errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """End the block with KeyboardInterrupt if SIGINT arrived, even if the code inside swallowed it.

    Interrupted during its lazy imports, PyTorch's exporter reports missing modules, or carries on.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield  # SIGINT is ignored, or handled by someone else
        return
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception:
        if not came:
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
