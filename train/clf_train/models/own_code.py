"""Where in a user's own code an exception arose."""

import os
import sysconfig
import traceback
from pathlib import Path

from clf_runtime.errors import brief

_PLACES = sysconfig.get_paths()
_NOT_OWN = tuple(
    str(Path(folder).resolve()) + os.sep
    for folder in {_PLACES["stdlib"], _PLACES["platstdlib"], _PLACES["purelib"], _PLACES["platlib"]}
)
_OURS = ("clf_runtime", "clf_train", "clf_export")


def place(error: BaseException) -> str | None:
    """`FILE, line N` of the deepest frame that is neither Python's, nor an installed package's, nor ours.

    None where there is no such frame. A file below the working folder is named from there.
    """
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if os.path.isfile(file) and package not in _OURS and not str(Path(file).resolve()).startswith(_NOT_OWN):
            found = f"{_short(file)}, line {line}"
    return found


def told(error: BaseException, *, limit: int = 200) -> str:
    """An exception as one line: its type, its message, and where in the user's own code it arose, if it did there."""
    where = place(error)
    return f"{type(error).__name__}: {brief(error, limit)}" + (f" ({where})" if where else "")


def _short(file: str) -> str:
    relative = os.path.relpath(file)
    return file if relative.startswith(os.pardir) else relative
