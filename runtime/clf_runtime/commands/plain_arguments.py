"""Plain arguments of `clf-predict`, read directly: loading typer for them would be a sixth of a cold prediction.

Only what is beyond doubt is read here: options under their full names, each value a word of its own. All else, help and
mistakes above all, is left to typer (predict_cli.py), which says the same of what is read here; a test holds the two
together.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FLAGS: Mapping[str, str] = {  # and the keyword of classify that each sets
    "--json": "as_json",
    "--csv": "as_csv",
    "--tf32": "tf32",
    "--card": "card",
    "--self-test": "test",
    "--quiet": "quiet",
    "-q": "quiet",
}


def _count(least: int) -> Callable[[str], int]:
    def read(word: str) -> int:
        if not (word.isascii() and word.isdigit()) or int(word) < least:
            raise ValueError
        return int(word)

    return read


VALUES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "--model": ("model", Path),
    "--top": ("top", _count(1)),
    "--reject-below": ("reject_below", float),
    "--device": ("device", str),
    "--threads": ("threads", _count(0)),
    "--sha256": ("sha256", str),
    "--assume": ("assume", str),
    "--ort-log": ("ort_log", str),
}


def read_arguments(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The keywords of classify that plain arguments mean; None for arguments that typer has to look at."""
    images: list[str] = []
    found: dict[str, Any] = {"images": images}
    words = iter(arguments)
    for word in words:
        if word in FLAGS:
            found[FLAGS[word]] = True
        elif word in VALUES:
            keyword, read = VALUES[word]
            value = next(words, "")
            if not value or value.startswith("-"):
                return None
            try:
                found[keyword] = read(value)
            except ValueError:
                return None
        elif not word or (word.startswith("-") and word != "-"):
            return None
        else:
            images.append(word)
    return found
