"""What may not lie in a folder that is read as a source."""

from collections.abc import Iterable
from pathlib import Path

from clf_runtime.datasets.listing import is_sheet, visible
from clf_train.errors import DataError


def refuse_extra(folder: Path, known: Iterable[str], layout: str) -> None:
    """Raise DataError if a folder holds anything that its layout does not know: it may be data that would be missed."""
    for entry in visible(folder):
        if entry.name not in known and not _is_ours(entry):
            raise DataError(f"{entry}: an extra file or folder, not part of {layout}; move it away")


def _is_ours(entry: Path) -> bool:
    """Whether clf-train itself left this, when it ran inside the folder."""
    return is_sheet(entry) or (entry.name == "artifacts" and entry.is_dir())
