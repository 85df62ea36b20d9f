"""The options of the commands, each declared once: typer's parser and the fast one for plain arguments read them here.

Loading typer takes a small device as long as loading numpy, a sixth of a cold prediction. So `clf-predict` reads what
is beyond doubt by `parse_plain`: options under their full names, each value a word of its own. All else, help and
mistakes above all, goes to typer (typer_app.py), which gets its options from the same table.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option: its names (the longest first), the type of its value (bool: a switch), its default and its help.

    `keyword` is what the command's function calls it. `least` bounds a number from below. `show_default` is off where
    the help says what happens without the option.
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
    """Split plain words into arguments and the keywords of all options; None for words that typer has to look at."""
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
    """The value of an option. Raises ValueError unless it is beyond doubt."""
    if option.type is int and not (word.isascii() and word.isdigit()):
        raise ValueError
    value = option.type(word)
    if option.least is not None and value < option.least:
        raise ValueError
    return value


DEVICE = Option(
    "device",
    ("--device",),
    str,
    "auto",
    "auto takes CUDA when it works, else the CPU, and says so; any other, by the name of an onnxruntime execution "
    "provider, runs there or fails.",
    "auto|cpu|cuda|PROVIDER",
)
THREADS = Option(
    "threads",
    ("--threads",),
    int,
    1,
    "Threads that share a large batch, or a folder of pictures; 0: as many as this process may use.",
    "N",
    least=0,
)
ASSUME = Option(
    "assume",
    ("--assume",),
    str,
    None,
    "What is known of a model file without a card: range=LOW..HIGH of an image's values, mean=A,B,C and std=A,B,C that "
    "they are then normalised by, names=FILE|A,B,C, layout=NCHW|NHWC, channels=RGB|BGR, output=logits|probabilities; "
    "for instance 'range=0..1 mean=0.485,0.456,0.406 std=0.229,0.224,0.225'.",
    "'WORDS'",
    show_default=False,
)
ORT_LOG = Option(
    "ort_log",
    ("--ort-log",),
    str,
    None,
    "Show onnxruntime's own log on stderr from a level on: verbose, info, warning, error or fatal.  "
    "[default: none of it]",
    "LEVEL",
    show_default=False,
)
QUIET = Option("quiet", ("--quiet", "-q"), bool, False, "Print results and errors only.")
