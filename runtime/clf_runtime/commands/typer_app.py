"""Commands parsed by typer: shared options, plain help, and usage errors as UsageError.

On a small device loading typer takes as long as loading numpy: clf-predict avoids it where it can (options.py).
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, NoReturn

import typer

from clf_runtime.commands.options import ASSUME, DEVICE, ORT_LOG, THREADS, Option
from clf_runtime.commands.shell import run
from clf_runtime.errors import UsageError


def declared(option: Option) -> Any:
    """An option of the table, in the form that typer expects in Annotated."""
    return typer.Option(
        *option.names,
        metavar=option.metavar,
        help=option.help,
        min=option.least,
        show_default=option.show_default,
        readable=False,
    )


DeviceOption = Annotated[str, declared(DEVICE)]
ThreadsOption = Annotated[int, declared(THREADS)]
LogOption = Annotated[str | None, declared(ORT_LOG)]
AssumeOption = Annotated[str | None, declared(ASSUME)]


def make_app(command: Callable[..., Any]) -> typer.Typer:
    """Make the single command of a program: plain help and plain errors, no completion, no decorated tracebacks."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.command()(command)
    return app


def make_app_of(command: Callable[..., Any], options: Sequence[Option], metavar: str, about: str) -> typer.Typer:
    """Make the app of a command that takes a list of arguments (`metavar`, with help `about`) and `options`."""

    def parsed(arguments: list[str] | None, version: bool, **values: Any) -> Any:
        return command(arguments or [], **values)

    def parameter(name: str, kind: Any, info: Any, default: Any) -> inspect.Parameter:
        its_type = kind | None if default is None else kind
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[its_type, info]
        )

    parsed.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # which typer inspects
        [
            parameter("arguments", list[str], typer.Argument(metavar=metavar, help=about), None),
            *(parameter(option.keyword, option.type, declared(option), option.default) for option in options),
            parameter("version", bool, _VERSION, False),
        ]
    )
    parsed.__doc__ = command.__doc__
    return make_app(parsed)


def run_app(app: typer.Typer, name: str, extras: str) -> NoReturn:
    """Run the single command of a program on the arguments of the process, and exit; see shell.run."""
    run(lambda: call(app, name, sys.argv[1:]), name, extras)


def call(app: typer.Typer, name: str, arguments: list[str]) -> Any:
    """Call a command with arguments, and return its result. Raises UsageError for invalid arguments."""
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
        if not hasattr(error, "format_message"):  # typer's usage errors have it, but no common public base class
            raise
        raise UsageError(error.format_message()) from None


def _refuse_empty(name: str, arguments: list[str]) -> None:
    """Raise UsageError for an empty word: as a path it would be the current folder, as a list have an empty item."""
    for before, word in pairwise((name, *arguments)):
        if not word or (word.startswith("--") and word.endswith("=")):
            what = word.removesuffix("=") or f"the argument after {before}"
            raise UsageError(f"{what} is empty (an unset shell variable?)")


def show_version(value: bool) -> None:
    """Print the version and exit: the callback of `--version`."""
    if value:
        from clf_runtime import __version__

        print(f"clf-edge {__version__}")
        raise typer.Exit


_VERSION = typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
