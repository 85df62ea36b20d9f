"""Convert what callers pass as an image to a plain array, or refuse it in one line that says what is expected.

numpy makes an array of nearly anything, and silently drops what it cannot represent: above all a mask.
"""

import sys
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from clf_runtime.errors import ImageError, brief, called
from clf_runtime.inputs.pictures import is_picture

_EXPECTED = "expected a path, an array, or something that numpy converts to one"
_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__")
_NUMBERS = (int, float, bool, complex)
_MAX_DEPTH = 8  # of lists in lists


def is_array(value: object) -> TypeGuard[ArrayLike]:
    """Whether a value supports an array protocol of numpy, or the buffer protocol, and is not mere bytes."""
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
    """Convert an array of any kind, or nested lists of numbers, to a plain array; `values` itself if it is one.

    Of an unknown subclass (with units, say) only the numbers are used. Raises ImageError, naming `where`, for masked
    values, and if the conversion fails.
    """
    if type(values) is np.ndarray:
        return values
    if isinstance(values, list | tuple):
        values = _members(values, where, 1)
    elif not is_array(values):
        raise ImageError(f"{where}: {called(values)}; {_EXPECTED}")
    try:
        found = np.asanyarray(values)  # which keeps a mask, also that of what an `__array__` gives
    except MemoryError:
        raise
    except Exception as error:  # from foreign code: on a device, not dense, no fixed shape, ...
        raise ImageError(f"{where}: cannot convert {called(values)} to an array: {brief(error)}") from None
    ma = sys.modules.get("numpy.ma")
    if ma is not None and isinstance(found, ma.MaskedArray) and found.dtype.names is None:
        masked = np.count_nonzero(ma.getmaskarray(found))
        if masked:
            fill = "fill them as in the training images: image.filled(0)"
            raise ImageError(f"{where}: {masked:,} of {found.size:,} values are masked, so unknown; {fill}")
    return np.asarray(found)


def _members(values: list[Any] | tuple[Any, ...], where: str, depth: int) -> list[Any]:
    """The members of a list, ready for numpy, which would drop the masks of arrays in a list."""
    if depth > _MAX_DEPTH:
        raise ImageError(f"{where}: lists nested more than {_MAX_DEPTH} deep; {_EXPECTED}")
    found = []
    for value in values:
        if type(value) in _NUMBERS:
            found.append(value)
        elif isinstance(value, list | tuple):
            found.append(_members(value, where, depth + 1))
        elif is_array(value):
            found.append(as_array(value, where))
        else:
            raise ImageError(f"{where}: a list with {called(value)} in it; {_EXPECTED}; use predict_batch for several")
    return found
