"""How a command starts and ends: an error is one line on stderr and exit code 2, never a traceback."""

import gc
import io
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, cast

from clf_runtime.errors import ClfError, UsageError

EXIT_FAILED = 1  # a check, such as the self-test, failed
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as in shells


def run(work: Callable[[], Any], name: str, extras: str) -> NoReturn:
    """Do the work of the command `name` and exit: with the code it returns, 2 on any error, 130 if interrupted.

    `extras` are the extras of clf-edge that the command needs, for the install line if a package is missing.
    """
    _repair_streams()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of a damaged tag: one line of ours says it if it matters
    code: Any = 0
    try:
        code = work()
        sys.stdout.flush()
    except UsageError as error:
        code = fail(name, f"{str(error).rstrip('.')}. See {name} --help.")
    except ClfError as error:
        code = fail(name, str(error))
    except KeyboardInterrupt:
        code = fail(name, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        pass  # the reader of our output has gone, which is not an error
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("clf_"):
            raise
        code = fail(name, f'{name} needs {error.name}, which is not installed: pip install "clf-edge[{extras}]"')
    except MemoryError:
        code = fail(name, "not enough memory")
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        code = fail(name, "not enough memory; smaller images, models or batches need less")
    except OSError as error:
        code = fail(name, f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # reported already, or no error; Python would report it again when it flushes on exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    gc.freeze()  # nothing to collect in a process that ends: saves 15 ms of a cold start
    sys.exit(code if isinstance(code, int) else 0)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether PyTorch, which is not imported here, lacked memory: on the CPU it has no exception of its own for it."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def _repair_streams() -> None:
    """Let a closed stdout or stderr discard what is printed, and escape what a terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def standard_input() -> io.BufferedIOBase:
    """Standard input as bytes; an empty stream if it is closed."""
    if sys.stdin is None:
        return io.BytesIO()
    if hasattr(os, "set_blocking"):
        os.set_blocking(sys.stdin.fileno(), True)  # another process at the pipe may have made it non-blocking
    return cast(io.BufferedIOBase, sys.stdin.buffer)


def fail(name: str, message: str, code: int = EXIT_ERROR) -> int:
    """Print one line on stderr and return the exit code."""
    say(name, message)
    return code


def say(name: str, message: str) -> None:
    """Print one line on stderr, with control characters escaped; a closed stderr is ignored."""
    with suppress(OSError):
        print(f"{name}: {one_line(message)}\n", end="", file=sys.stderr, flush=True)


def noting(name: str, quiet: bool) -> Callable[[str], None]:
    """What prints the notes of the command `name`, one line each on stderr; with `quiet`, nothing."""
    return (lambda text: None) if quiet else (lambda text: say(name, text))


def one_line(text: str) -> str:
    """Escape what would break a line or a terminal (file names may contain anything)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
