"""Text tables, `.csv` or `.tsv`: their columns, and their rows, in lines of bounded length.

A list has a column of paths or ids and one of labels; a table of pixels has a column per pixel and one of labels. A
row is one line: a line break within quotes is an error, since its length would be unbounded.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from clf_runtime.datasets.listing import part_of_name, visible
from clf_runtime.datasets.places import Place, open_place
from clf_runtime.errors import ImageError
from clf_runtime.inputs.picture_formats import SUFFIXES

SUFFIX = (".csv", ".tsv")
MAX_LINE_BYTES = 1 << 20  # of pixels: more than 262,144 of them
MAX_LIST_LINE_BYTES = 16 << 10
MAX_LABEL_CHARACTERS = 256
PATHS = (
    *("filename", "file_name", "filepath", "file_path", "file", "path", "image_path", "img_path", "image_name"),
    *("image_file", "image_filename", "img_name", "image", "img", "image_id", "img_id", "picture", "id", "id_code"),
    "name",
)  # fmt: skip
_LABELS = (
    *("label", "labels", "class", "class_name", "classname", "class_label", "class_id", "category", "category_name"),
    *("target", "targets", "y", "breed", "species", "diagnosis", "dx"),
)  # fmt: skip
_SPLITS = ("split", "set", "subset", "part", "partition")
_INDEXES = ("", "id", "index", "unnamed: 0")  # index columns, as pandas writes them
_PIXEL = re.compile(r"(?:pixel|pix|px|p|x)?[ _]?\d+|\d+x\d+")
_FEWEST_PIXELS = 16
_WORDS = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_FEW = 8


@dataclass(frozen=True)
class Table:
    """A table: its delimiter, whether it has a header, and the indices of its columns.

    `path` is None for a table of pixels, `pixels` is empty for a list. `part` is derived from the file name.
    """

    file: Place
    delimiter: str
    header: bool
    label: int
    path: int | None
    split: int | None
    pixels: tuple[int, ...]
    part: str | None

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The number of each non-blank line, from 1, and its fields. Raises ImageError for an invalid row."""
        most = MAX_LINE_BYTES if self.pixels else MAX_LIST_LINE_BYTES
        least = 1 + max(self.label, self.path or 0, self.split or 0, *self.pixels[-1:])
        for number, line in lines(self.file, most):
            if number == 1 and self.header:
                continue
            fields = fields_of(line, self.delimiter, f"{self.file}, line {number}")
            if len(fields) < least:
                raise ImageError(f"{self.file}, line {number}: {len(fields)} columns, expected at least {least}")
            label = fields[self.label]
            if not 0 < len(label) <= MAX_LABEL_CHARACTERS:
                fault = f"a label of {len(label):,} characters" if label else "no label"
                raise ImageError(f"{self.file}, line {number}: {fault}")
            yield number, fields


def lines(file: Place, most: int) -> Iterator[tuple[int, str]]:
    """The non-blank lines of a text, numbered from 1. Raises ImageError for one of more than `most` bytes."""
    with open_place(file) as stream:
        number = 0
        while line := stream.readline(most + 1):
            number += 1
            if len(line) > most:
                raise ImageError(f"{file}, line {number}: exceeds the limit of {most:,} bytes; is this a text table?")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise ImageError(f"{file}, line {number}: not text in UTF-8; save the table as UTF-8") from None
            if text.strip():
                yield number, text


def fields_of(line: str, delimiter: str, where: str) -> list[str]:
    """The fields of a line, stripped. Raises ImageError for unbalanced quotes."""
    if '"' not in line:
        return [field.strip() for field in line.split(delimiter)]
    try:
        (row,) = csv.reader([line], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        raise ImageError(f"{where}: unbalanced quotes, or a line break within them") from None
    return [field.strip() for field in row]


def look_at(file: Place) -> Table | str:
    """Find the columns of a table from its first line; a str says why it is none. Raises ImageError as `lines` does."""
    first = next(lines(file, MAX_LINE_BYTES), None)
    if first is None:
        return "it is empty"
    line = first[1]
    delimiter = max(",;\t", key=line.count) if any(c in line for c in ",;\t") else ","
    fields = fields_of(line, delimiter, str(file))
    names = [field.lower() for field in fields]
    part = part_of_words(file.stem)
    if _are_numbers(fields) or any(name.endswith(SUFFIXES) for name in names):
        return _without_header(file, delimiter, names, part)
    label, path, split = (_first(names, known) for known in (_LABELS, PATHS, _SPLITS))
    pixels = tuple(i for i, name in enumerate(names) if i != label and _PIXEL.fullmatch(name))
    others = [name for i, name in enumerate(names) if i != label and not _PIXEL.fullmatch(name)]
    if label is not None and len(pixels) >= _FEWEST_PIXELS and all(name in _INDEXES for name in others):
        return Table(file, delimiter, True, label, None, None, pixels, part)
    if len(names) == 2 and (label is None) != (path is None):
        label, path = (1 - path, path) if path is not None else (label, 1 - (label or 0))
    found = ", ".join(fields[:_FEW]) + ", ..." * (len(fields) > _FEW)
    if path is None or path == label:
        return f"it has neither a column of paths or ids, such as filename or id, nor pixels (columns: {found})"
    if label is None:
        return f"it has no column of labels, such as label or class (columns: {found})"
    return Table(file, delimiter, True, label, path, split, (), part)


def _without_header(file: Place, delimiter: str, names: Sequence[str], part: str | None) -> Table | str:
    paths = [i for i, name in enumerate(names) if name.endswith(SUFFIXES)]
    if len(names) == 2 and len(paths) == 1:
        return Table(file, delimiter, False, 1 - paths[0], paths[0], None, (), part)
    if not paths and len(names) > _FEWEST_PIXELS:  # as MNIST is distributed
        return Table(file, delimiter, False, 0, None, None, tuple(range(1, len(names))), part)
    return "it has no header, and neither path and label nor label and pixels"


def _first(names: Sequence[str], known: Sequence[str]) -> int | None:
    """The index of the first of the known names that exists."""
    return next((names.index(name) for name in known if name in names), None)


def _are_numbers(fields: Iterable[str]) -> bool:
    try:
        return all(math.isfinite(float(field)) for field in fields)
    except ValueError:
        return False


def part_of_words(stem: str) -> str | None:
    """The part that the words of a name mean, as in trainLabels, labels_test or Val; None if none, or several."""
    found = {part for word in _WORDS.findall(stem) if (part := part_of_name(word)) is not None}
    return found.pop() if len(found) == 1 else None


def tables_in(folder: Place) -> tuple[list[Table], list[str]]:
    """The tables in a folder, and notes about files that are skipped. Raises ImageError if parts are ambiguous."""
    tables: list[Table] = []
    said: list[str] = []
    for file in visible(folder):
        if file.suffix.lower() not in SUFFIX or not file.is_file():
            continue
        table = "it is a submission form" if "submission" in file.stem.lower() else look_at(file)
        if isinstance(table, str):
            said.append(f"{file}: skipped: {table}")
        else:
            tables.append(table)
    parts = [table.part for table in tables]
    if len(tables) > 1 and (None in parts or len(set(parts)) < len(parts)):
        names = ", ".join(table.file.name for table in tables)
        raise ImageError(f"{folder}: {len(tables)} tables ({names}); keep one, or one per part, named train, val, test")
    return tables, said
