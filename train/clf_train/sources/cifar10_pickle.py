"""Read the pickles of CIFAR-10's python version without running any: a reader that knows only what they hold.

A pickle is a program that may call anything. Ours may not: the opcodes are checked against a short list first, with a
reader that bounds every length by the data (`pickletools`), and the few names that numpy's arrays need stand for
inert records here, never for numpy's own functions. Arrays are made from the records afterwards.
"""

import io
import pickle
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from clf_train.errors import DataError

_OPCODES = frozenset(
    """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 INT LONG STRING BINSTRING SHORT_BINSTRING
    BINBYTES SHORT_BINBYTES UNICODE BINUNICODE SHORT_BINUNICODE EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND
    APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL
    STACK_GLOBAL REDUCE BUILD
    """.split()  # noqa: SIM905
)


@dataclass
class _Array:
    """Stands for a numpy array: what its pickle says of it, (version, shape, dtype, fortran order, bytes)."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass
class _Dtype:
    """Stands for a numpy dtype: its code, such as u1."""

    code: Any = None

    def __setstate__(self, state: Any) -> None:
        pass  # byte order and alignment, which one byte does not have


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _dtype(code: Any = None, *_: Any) -> _Dtype:
    return _Dtype(code)


def _encode(text: Any = "", encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes in an unknown form")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _reconstruct,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _NAMES[module, name]


def unpickle(data: bytes, where: str) -> dict[str, Any]:
    """Read one batch or meta file: a dict of texts to lists, texts, numbers and uint8 arrays.

    Raises DataError if the pickle is damaged or holds anything else.
    """
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name not in _OPCODES:
                raise pickle.UnpicklingError(f"it uses {opcode.name}")
            if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(data):
                raise pickle.UnpicklingError("it reserves absurd memory")
        value = _Reader(io.BytesIO(data), encoding="latin1").load()
        if not isinstance(value, dict):
            raise pickle.UnpicklingError("it holds no dict")
        return {_text(key): _plain(item) for key, item in value.items()}
    except Exception as error:  # a hostile pickle makes the reader raise nearly anything
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{where}: not a file of CIFAR-10's python version, so it is not read: {reason}") from None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise pickle.UnpicklingError("a key that is no text")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        _, shape, dtype, fortran_order, raw = value.state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", b"u1"):
            raise pickle.UnpicklingError("an array that is not uint8")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran_order else "C")
    if isinstance(value, list):
        return [_text(item) if isinstance(item, bytes) else item for item in value]
    return value
