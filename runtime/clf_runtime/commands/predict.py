"""The command `clf-predict`: it starts without typer where its arguments are plain."""

import gc
import sys
from typing import Any, NoReturn

from clf_runtime.commands.classify import NAME, classify
from clf_runtime.commands.plain_arguments import read_arguments
from clf_runtime.commands.shell import run


def main() -> NoReturn:
    """Run `clf-predict`."""
    gc.set_threshold(50_000)  # what is imported stays: looking through it for garbage costs a cold prediction 10 ms
    run(_predict, NAME, "cpu")


def _predict() -> Any:
    arguments = sys.argv[1:]
    keywords = read_arguments(arguments)
    if keywords is not None:
        return classify(**keywords)
    from clf_runtime.commands.predict_options import app
    from clf_runtime.commands.typer_app import call

    return call(app, NAME, arguments)
