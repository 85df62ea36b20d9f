"""Where nothing may be written: among the images that are read."""

import os
from collections.abc import Iterator
from pathlib import Path

from clf_runtime.datasets.listing import is_sheet
from clf_runtime.inputs.picture_formats import SUFFIXES
from clf_train.data.sources import WORDS
from clf_train.errors import RunError


def refuse_among_images(place: Path, source: str) -> None:
    """Raise RunError if `place`, to be made, lies in the folder of a source, or over it.

    In it a run folder would be a class the next time, and a sheet of samples an image; over it the images would go with
    a run that is replaced. What is left when a command is called in the folder itself has names that sources know:
    `artifacts`, which holds folders, and `*-samples.png`.
    """
    if source in WORDS:
        return
    data = Path(os.path.realpath(Path(source).expanduser()))
    resolved = Path(os.path.realpath(place))
    if resolved in data.parents:
        raise RunError(f"{place}: holds the images ({data}); choose another --out")
    for folder in (data, *_linked_folders(data)):
        if resolved == folder:
            raise RunError(f"{place}: is where the images are; choose an --out outside of it")
        if folder in resolved.parents and not _is_known(resolved, data):
            raise RunError(
                f"{place}: lies among the images in {folder}, and would be taken for some of them; choose an --out "
                "outside of it"
            )


def _is_known(place: Path, data: Path) -> bool:
    """Whether a place below a source's folder has a name that a source passes over."""
    if not place.is_relative_to(data):
        return False
    first, *rest = place.relative_to(data).parts
    if first == "artifacts":  # with a picture of its own it would be the class of artifacts
        return len(rest) > 1 or (len(rest) == 1 and place.suffix.lower() not in SUFFIXES)
    return not rest and is_sheet(place)


def _linked_folders(folder: Path, depth: int = 2) -> Iterator[Path]:
    """The folders that links in a folder, and in those in it, lead to: a class may be one."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.is_symlink():
                    yield Path(os.path.realpath(entry))
                elif depth > 1:
                    yield from _linked_folders(Path(entry), depth - 1)
