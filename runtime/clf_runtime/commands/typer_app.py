"""Commands as typer parses them: their options in common, plain help, and errors of usage as ours.

Loading typer takes a small device as long as loading numpy. What a command does is in modules that do without it, and
clf-predict reads plain arguments without it too (direct.py).
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer

from clf_runtime.commands.shell import run
from clf_runtime.errors import UsageError

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
AssumeOption = Annotated[
    str | None,
    typer.Option(
        metavar="'WORDS'",
        help="What is known of a model file without a card: range=LOW..HIGH of an image's values, mean=A,B,C and "
        "std=A,B,C that they are then normalised by, names=FILE|A,B,C, layout=NCHW|NHWC, channels=RGB|BGR, "
        "output=logits|probabilities; for instance 'range=0..1 mean=0.485,0.456,0.406 std=0.229,0.224,0.225'.",
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


def run_app(app: typer.Typer, name: str, extras: str) -> NoReturn:
    """Run the one command of a program on the arguments of the process, and exit; see command.run."""
    run(lambda: call(app, name, sys.argv[1:]), name, extras)


def call(app: typer.Typer, name: str, arguments: list[str]) -> Any:
    """Call a command with arguments, and return what it returns. Raises UsageError for those that it does not take."""
    _refuse_empty(name, arguments)
    try:
        # Not app(): typer would turn an interrupt and a closed pipe into exits of its own.
        with typer.main.get_command(app).make_context(name, arguments) as context:
            return context.command.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's errors of usage have it, which share no public base
            raise
        raise UsageError(error.format_message()) from None


def _refuse_empty(name: str, arguments: list[str]) -> None:
    """Raise UsageError for an empty word: as a path it would be this folder, as a list one with a nameless item."""
    for before, word in pairwise((name, *arguments)):
        if not word or (word.startswith("--") and word.endswith("=")):
            what = word.removesuffix("=") or f"the argument after {before}"
            raise UsageError(f"{what} is empty (a shell variable that is not set?)")


def show_version(value: bool) -> None:
    """Print the version and exit: the callback of `--version`."""
    if value:
        from clf_runtime import __version__

        print(f"clf-edge {__version__}")
        raise typer.Exit
