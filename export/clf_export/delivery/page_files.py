"""The files of a page on disk: they appear whole or not at all, and replace an earlier page and nothing else."""

from collections.abc import Callable
from pathlib import Path

from clf_export.delivery.place import named_at_end
from clf_export.errors import OutputError
from clf_train.files import refuse_place

GENERATOR = "clf-edge"  # in the head of a page, by which an earlier one is known
_HEAD = 4096  # bytes of a page in which it stands
_MARK = f'<meta name="generator" content="{GENERATOR}">'.encode()


def page_file(to: Path, model: Path) -> Path:
    """The path of a page that is one file: `to` if it ends in .html, or a file of the model's name in it."""
    return to if to.suffix.lower() == ".html" else to / f"{model.stem}.html"


def refuse_place_of_page(place: Path, *, single: bool, overwrite: bool) -> None:
    """Raise OutputError if the page cannot be written: a folder, or one file if it is `single`.

    With `overwrite` an earlier page may be there: one file of ours, or a folder with nothing but such a page in it.
    """
    try:
        if not single and place.suffix.lower() == ".html":
            raise OutputError(f"{place}: a page is a folder; for one HTML file pass --single")
        if single != place.is_file() and place.exists():
            raise OutputError(f"{place}: is {'a folder' if single else 'a file'}; choose another --page")
        if place.exists() and (single or any(place.iterdir())):
            _refuse_what_is_there(place, single, overwrite)
        refuse_place(place)
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}; choose another --page") from None


def _refuse_what_is_there(place: Path, single: bool, overwrite: bool) -> None:
    if not _is_a_page(place if single else place / "index.html"):
        raise OutputError(f"{place}: exists already, and is not a page of clf-export; choose another --page")
    if not overwrite:
        raise OutputError(f"{place}: exists already; choose another --page, or pass --overwrite")
    if not single:
        for entry in sorted(place.rglob("*")):
            if not _is_of_a_page(entry.relative_to(place)):
                raise OutputError(f"{entry}: is no file of a page, and would be lost; move it away")


def _is_a_page(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return _MARK in stream.read(_HEAD)


def _is_of_a_page(path: Path) -> bool:
    """Whether a page has such a file, or had in an earlier version."""
    if path.parts[0] == "ort":
        return len(path.parts) < 3
    suffixes = (".css", ".html", ".js", ".onnx", ".svg", ".webmanifest")
    return len(path.parts) == 1 and path.suffix in suffixes


def write_single(file: Path, html: bytes) -> None:
    """Write a page that is one file. Raises OutputError."""
    with named_at_end(file, False) as partial:
        partial.write_bytes(html)


def write_folder(folder: Path, files: dict[str, bytes], refuse: Callable[[], object]) -> None:
    """Write the files of a page, by their paths, into a new folder, which then replaces `folder`.

    Raises OutputError if it cannot be written, or what `refuse` raises if `folder` may not be replaced; it is then as
    before.
    """
    with named_at_end(folder, True, refuse) as partial:
        for path, data in files.items():
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes(data)
