"""Output may not be written among the images that are read."""

import os
from collections.abc import Iterator
from pathlib import Path

from clf_runtime.datasets.listing import is_sheet
from clf_runtime.inputs.picture_formats import SUFFIXES
from clf_train.data.sources import WORDS
from clf_train.errors import RunError


def refuse_among_images(place: Path, source: str) -> None:
    """Raise RunError if `place`, to be created, is inside the folder of a source, or contains it.

    Inside, a run folder would become a class the next time, and a sheet of samples an image; a folder that contains the
    images would take them along when it is replaced. The default outputs, `artifacts` and `*-samples.png`, have names
    that sources ignore.
    """
    if source in WORDS:
        return
    data = Path(os.path.realpath(Path(source).expanduser()))
    resolved = Path(os.path.realpath(place))
    if resolved in data.parents:
        raise RunError(f"{place}: contains the images ({data}); choose another --out")
    for folder in (data, *_linked_folders(data)):
        if resolved == folder:
            raise RunError(f"{place}: is the folder of the images; choose an --out outside of it")
        if folder in resolved.parents and not _is_known(resolved, data):
            raise RunError(
                f"{place}: is among the images in {folder}, and would be read as one of them; choose an --out outside "
                "of it"
            )


def _is_known(place: Path, data: Path) -> bool:
    """Whether a path in a source's folder has a name that sources ignore."""
    if not place.is_relative_to(data):
        return False
    first, *rest = place.relative_to(data).parts
    if first == "artifacts":  # with images directly in it, it would be a class
        return len(rest) > 1 or (len(rest) == 1 and place.suffix.lower() not in SUFFIXES)
    return not rest and is_sheet(place)


def _linked_folders(folder: Path, depth: int = 2) -> Iterator[Path]:
    """The targets of links in a folder and its subfolders: a class may be one."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.is_symlink():
                    yield Path(os.path.realpath(entry))
                elif depth > 1:
                    yield from _linked_folders(Path(entry), depth - 1)
