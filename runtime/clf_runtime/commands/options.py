"""The options of the commands, declared once for typer's parser and for the fast parser of plain arguments.

On a small device loading typer takes as long as loading numpy, a sixth of a cold start. So `clf-predict` parses simple
command lines with `parse_plain`: options under their full names, each value a separate word. Everything else, help and
usage errors above all, goes to typer (typer_app.py), which gets its options from the same table.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option: its names (the longest first), the type of its value (bool: a flag), its default and its help.

    `keyword` is the parameter of the command's function. `least` is the minimum of a number. `show_default` is off
    where the help describes the default.
    """

    keyword: str
    names: tuple[str, ...]
    type: type
    default: Any
    help: str
    metavar: str | None = None
    least: int | None = None
    show_default: bool = True


def parse_plain(options: Sequence[Option], words: Sequence[str]) -> tuple[list[str], dict[str, Any]] | None:
    """Parse words into arguments and the keywords of all options; None if typer has to parse them."""
    by_name = {name: option for option in options for name in option.names}
    arguments: list[str] = []
    found = {option.keyword: option.default for option in options}
    rest = iter(words)
    for word in rest:
        option = by_name.get(word)
        if option is None:
            if not word or (word.startswith("-") and word != "-"):
                return None
            arguments.append(word)
        elif option.type is bool:
            found[option.keyword] = True
        else:
            value = next(rest, "")
            if not value or value.startswith("-"):
                return None
            try:
                found[option.keyword] = _read(option, value)
            except ValueError:
                return None
    return arguments, found


def _read(option: Option, word: str) -> Any:
    """The value of an option. Raises ValueError if typer has to judge it."""
    if option.type is int and not (word.isascii() and word.isdigit()):
        raise ValueError
    value = option.type(word)
    if option.least is not None and value < option.least:
        raise ValueError
    return value


HUB_TOO = ", or hf://owner/name[@revision][/file.onnx] on the Hugging Face Hub"  # what a model may be besides a file

DEVICE = Option(
    "device",
    ("--device",),
    str,
    "auto",
    "auto: CUDA if it works, else the CPU, with a note. Otherwise cpu, cuda or the name of an onnxruntime execution "
    "provider, without fallback.",
    "auto|cpu|cuda|PROVIDER",
)
THREADS = Option(
    "threads",
    ("--threads",),
    int,
    1,
    "Threads among which a large batch or a folder of pictures is split; 0: as many as this process may use.",
    "N",
    least=0,
)
ASSUME = Option(
    "assume",
    ("--assume",),
    str,
    None,
    "The preprocessing of a model without a card: range=LOW..HIGH of the input values, mean=A,B,C and std=A,B,C for "
    "normalisation, names=FILE|A,B,C, layout=NCHW|NHWC, channels=RGB|BGR, output=logits|probabilities; for example "
    "'range=0..1 mean=0.485,0.456,0.406 std=0.229,0.224,0.225'.",
    "'WORDS'",
    show_default=False,
)
ORT_LOG = Option(
    "ort_log",
    ("--ort-log",),
    str,
    None,
    "Show onnxruntime's log on stderr, from this level: verbose, info, warning, error or fatal.  [default: no log]",
    "LEVEL",
    show_default=False,
)
QUIET = Option("quiet", ("--quiet", "-q"), bool, False, "Print results and errors only.")
