"""How a command starts and ends: one line on stderr and exit code 2 for what goes wrong, never a traceback."""

import gc
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, NoReturn, cast

import typer

from clf_runtime.errors import ClfError

EXIT_FAILED = 1  # a self-test, or what stands for one
EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|PROVIDER",
        help="auto takes CUDA when it works, else the CPU, and says so; any other, by the name of an onnxruntime "
        "execution provider, runs there or fails.",
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="Threads that share a large batch; 0: as many as this process may use."),
]
LogOption = Annotated[
    str | None,
    typer.Option(
        metavar="LEVEL",
        help="Show onnxruntime's own log on stderr from a level on: verbose, info, warning, error or fatal.  "
        "[default: none of it]",
        show_default=False,
    ),
]


def make_app(command: Callable[..., Any]) -> typer.Typer:
    """Make the one command of a program: plain help and plain errors, no completion, no decorated tracebacks."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.command()(command)
    return app


def run(app: typer.Typer, name: str, extras: str) -> NoReturn:
    """Run a command and exit: 0 all well, 2 any error (usage errors too), 130 interrupted.

    `extras` are those of clf-edge that the command needs, for the install line where a package is missing.
    """
    _mend_streams()
    command = typer.main.get_command(app)
    code: Any = 0
    try:
        # Not app(): typer would turn an interrupt and a closed pipe into exits of its own.
        with command.make_context(name, sys.argv[1:]) as context:
            code = command.invoke(context)
        sys.stdout.flush()
    except ClfError as error:
        code = fail(name, str(error))
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = fail(name, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        pass  # whoever read our results has gone: no fault of ours, nor does it undo one
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("clf_"):
            raise
        code = fail(name, f'{name} needs {error.name}, which is not installed: pip install "clf-edge[{extras}]"')
    except MemoryError:
        code = fail(name, "not enough memory")
    except OSError as error:
        code = fail(name, f"{error.filename or 'system'}: {error.strerror or error}")
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's usage errors have it; all else is a bug that must show
            raise
        code = fail(name, f"{error.format_message().rstrip('.')}. See {name} --help.")
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # said already, or no fault; Python would complain once more when it flushes on exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    gc.freeze()  # there is nothing to collect in what ends now: 15 ms of a cold prediction
    sys.exit(code if isinstance(code, int) else 0)


def _mend_streams() -> None:
    """Let a closed stdout or stderr swallow what is printed, and show what a terminal's encoding lacks as escapes."""
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
        os.set_blocking(sys.stdin.fileno(), True)  # whoever shares the pipe may have made it otherwise
    return cast(io.BufferedIOBase, sys.stdin.buffer)


def fail(name: str, message: str, code: int = EXIT_ERROR) -> int:
    """Print one line on stderr and return the exit code."""
    say(name, message)
    return code


def say(name: str, message: str) -> None:
    """Print one line on stderr, with control characters made visible; nobody need be there to read it."""
    with suppress(OSError):
        print(f"{name}: {one_line(message)}\n", end="", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """Escape what would break a line or a terminal (file names may hold anything)."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def show_version(value: bool) -> None:
    """Callback of `--version`."""
    if value:
        from clf_runtime import __version__

        print(f"clf-edge {__version__}")
        raise typer.Exit
