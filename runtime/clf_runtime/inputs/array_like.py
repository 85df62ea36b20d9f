"""What callers give for an image, made a plain array, or refused in one line that says what is wanted.

numpy makes an array of nearly anything, and silently leaves out what it has no place for: a mask above all.
"""

import sys
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from clf_runtime.errors import ImageError, brief, called
from clf_runtime.inputs.pictures import is_picture

_WANTED = "wanted: a path, an array, or what numpy takes for one"
_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__")
_NUMBERS = (int, float, bool, complex)
_MAX_DEPTH = 8  # of lists in lists


def is_array(value: object) -> TypeGuard[ArrayLike]:
    """Whether a value has an array's own ways to be read: numpy's protocols, or a buffer that is no mere bytes."""
    if isinstance(value, list | tuple | str | bytes | bytearray) or is_picture(value):
        return False
    if any(hasattr(value, name) for name in _PROTOCOLS):
        return True
    try:
        memoryview(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        return False
    return True


def as_array(values: ArrayLike, where: str) -> np.ndarray:
    """A plain array of an array of any kind, or of numbers in nested lists; `values` itself if it is plain.

    Of a subclass that is not known (with units, say) the numbers are taken. Raises ImageError, naming `where`, for
    masked values, and for what no array can be made of.
    """
    if type(values) is np.ndarray:
        return values
    if isinstance(values, list | tuple):
        values = _members(values, where, 1)
    elif not is_array(values):
        raise ImageError(f"{where}: {called(values)}; {_WANTED}")
    try:
        found = np.asanyarray(values)  # which keeps a mask, also that of what an `__array__` gives
    except MemoryError:
        raise
    except Exception as error:  # whatever the other's code raises: on a device, not dense, of no fixed shape, ...
        raise ImageError(f"{where}: no array can be made of {called(values)}: {brief(error)}") from None
    ma = sys.modules.get("numpy.ma")
    if ma is not None and isinstance(found, ma.MaskedArray) and found.dtype.names is None:
        masked = np.count_nonzero(ma.getmaskarray(found))
        if masked:
            fill = "fill them with what stood there in the training images: image.filled(0)"
            raise ImageError(f"{where}: {masked:,} of {found.size:,} values are masked, so not known; {fill}")
    return np.asarray(found)


def _members(values: list[Any] | tuple[Any, ...], where: str, depth: int) -> list[Any]:
    """The members of a list, each of which numpy may take: it would drop the masks of arrays in a list."""
    if depth > _MAX_DEPTH:
        raise ImageError(f"{where}: lists more than {_MAX_DEPTH} deep; {_WANTED}")
    found = []
    for value in values:
        if type(value) in _NUMBERS:
            found.append(value)
        elif isinstance(value, list | tuple):
            found.append(_members(value, where, depth + 1))
        elif is_array(value):
            found.append(as_array(value, where))
        else:
            raise ImageError(f"{where}: a list with {called(value)} in it; {_WANTED}; several go to predict_batch")
    return found
