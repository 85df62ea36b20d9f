"""Images on a command line: files, folders of them, and patterns."""

import os

from clf_runtime.bounded import as_path
from clf_runtime.errors import ImageError
from clf_runtime.inputs import picture_formats

ARRAYS = (".npy", ".npz")
SUFFIXES = (*ARRAYS, *picture_formats.SUFFIXES)
MAX_FILES = 1_000_000  # of a folder or a pattern; more can be named on standard input


def find_files(argument: str | os.PathLike[str], *, below: bool = False) -> list[str]:
    """Return the files that an argument refers to, sorted.

    A folder means the files in it whose names end in one of SUFFIXES, without its subfolders, or with `below` with
    those at any depth, but for hidden ones. If there is no such file, a name with `*`, `?` or `[` is a pattern, as in a
    shell. Anything else is returned as it is.
    Raises ImageError if it is not a path, if a folder contains no such file, if a pattern matches none, or if either
    has more than MAX_FILES.
    """
    path = as_path(argument)
    if os.path.isdir(path):
        found = _below(path) if below else _in_folder(path)
        if not found:
            pass_these = f"; it has folders: pass these, or '{path.rstrip('/')}/*/*.jpg'"
            said = pass_these if not below and _has_folders(path) else ""
            raise ImageError(f"{path}: the folder contains no file that ends in {', '.join(SUFFIXES)}{said}")
    elif any(c in path for c in "*?[") and "\0" not in path and not os.path.lexists(path):
        found = _matching(path)
        if not found:
            raise ImageError(f"{path}: no file matches the pattern")
    else:
        return [path]
    if len(found) > MAX_FILES:
        raise ImageError(f"{path}: more than {MAX_FILES:,} files; pass their names on standard input instead")
    return sorted(found)


def _in_folder(folder: str) -> list[str]:
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(SUFFIXES) and not os.path.isdir(entry.path):
                    found.append(entry.path)
                    if len(found) > MAX_FILES:
                        break
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read: {error.strerror or error}") from None
    return found


def _below(top: str) -> list[str]:
    """The files in a folder and in the folders in it; one that links lead to again is taken once."""
    found: list[str] = []
    folders, seen = [top], set[str]()
    while folders and len(found) <= MAX_FILES:
        folder = folders.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        found += _in_folder(folder)
        try:
            with os.scandir(folder) as entries:
                folders += [entry.path for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
        except OSError as error:
            raise ImageError(f"{folder}: cannot be read: {error.strerror or error}") from None
    return found


def _has_folders(folder: str) -> bool:
    return bool(next(os.walk(folder), ("", [], []))[1])  # which takes a folder that vanished for an empty one


def _matching(pattern: str) -> list[str]:
    from glob import iglob
    from itertools import islice

    files = (match for match in iglob(pattern) if not os.path.isdir(match))
    try:
        return list(islice(files, MAX_FILES + 1))
    except RecursionError:
        raise ImageError(f"{pattern[:60]}: a pattern with too many parts") from None
