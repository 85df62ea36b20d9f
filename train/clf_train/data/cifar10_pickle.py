"""Read the pickles of CIFAR-10's python version without running any: a reader that knows only what they hold.

A pickle is a program that may call anything. Ours may not: it is taken apart by `pickletools`, which bounds every
length by the data, and the few opcodes that such files need are carried out here. The names that numpy's arrays need
stand for inert records, never for numpy's own functions; arrays are made from the records afterwards. Keys are texts,
so that nothing of a file's choosing is hashed, and nothing is copied more often than the file holds it.
"""

import pickle
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from clf_runtime.errors import brief
from clf_train.errors import DataError

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    """
    BININT BININT1 BININT2 LONG1 INT LONG STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES UNICODE BINUNICODE
    SHORT_BINUNICODE
    """.split()  # noqa: SIM905
)
_NAMES = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "array",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}


@dataclass(frozen=True)
class _Name:
    """Stands for one of the names that numpy's pickles call."""

    kind: str


@dataclass
class _Array:
    """Stands for a numpy array: what its pickle says of it, (version, shape, dtype, fortran order, bytes)."""

    state: Any = None


@dataclass
class _Dtype:
    """Stands for a numpy dtype: its code, such as u1."""

    code: Any = None


class _Mark:
    pass


def unpickle(data: bytes, where: str) -> dict[str, Any]:
    """Read one batch or meta file: a dict of texts to lists, texts, numbers and uint8 arrays.

    Raises DataError if the pickle is damaged or holds anything else.
    """
    try:
        value = _Reader(data).value
        if not isinstance(value, dict):
            raise pickle.UnpicklingError("it holds no dict")
        return {key: _plain(item) for key, item in value.items()}
    except Exception as error:  # a hostile pickle makes the reader raise nearly anything
        raise DataError(
            f"{where}: not a file of CIFAR-10's python version, so it is not read: {brief(error, 120)}"
        ) from None


class _Reader:
    """A stack machine for the opcodes of such files; `value` is what the pickle leaves."""

    def __init__(self, data: bytes) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.size = self.to_encode = len(data)
        for opcode, argument, _ in pickletools.genops(data):
            self._step(opcode.name, argument)
        (self.value,) = self.stack

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "STOP":
                pass
            case "PROTO" | "FRAME":
                if argument > (pickle.HIGHEST_PROTOCOL if name == "PROTO" else self.size):
                    raise pickle.UnpicklingError(f"a {name} of {argument}")
            case "MARK":
                stack.append(_Mark)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[name])
            case _ if name in _VALUES:
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                if len(stack) < count:
                    raise pickle.UnpicklingError("an empty stack")
                stack[-count:] = [tuple(stack[-count:])]
            case "TUPLE":
                stack.append(tuple(self._to_mark()))
            case "LIST":
                stack.append(self._to_mark())
            case "DICT":
                items = self._to_mark()
                stack.append({})
                self._set(items)
            case "APPEND":
                self._extend([stack.pop()])
            case "APPENDS":
                self._extend(self._to_mark())
            case "SETITEM":
                item = stack.pop()
                self._set([stack.pop(), item])
            case "SETITEMS":
                self._set(self._to_mark())
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                if not 0 <= argument <= self.size:
                    raise pickle.UnpicklingError("it reserves absurd memory")
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GLOBAL":
                self._name(argument)
            case "STACK_GLOBAL":
                function = stack.pop()
                self._name(f"{stack.pop()} {function}")
            case "REDUCE":
                arguments = stack.pop()
                stack.append(self._call(stack.pop(), arguments))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], _Array):
                    stack[-1].state = state
                elif not isinstance(stack[-1], _Dtype):  # whose byte order and alignment one byte does not have
                    raise pickle.UnpicklingError("a state for what has none")
            case _:
                raise pickle.UnpicklingError(f"it uses {name}")

    def _to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _Mark:
            items.append(item)
        return items[::-1]

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise pickle.UnpicklingError("an item for what is no list")
        self.stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise pickle.UnpicklingError("a key for what is no dict")
        for key, item in zip(items[::2], items[1::2], strict=True):
            target[_text(key)] = item

    def _name(self, name: str) -> None:
        if name not in _NAMES:
            raise pickle.UnpicklingError(f"it names {name.replace(' ', '.')}")
        self.stack.append(_Name(_NAMES[name]))

    def _call(self, name: Any, arguments: Any) -> Any:
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("a call of what is no function")
        if name.kind == "array":
            return _Array()
        if name.kind == "dtype":
            return _Dtype(*arguments[:1])
        text, encoding = arguments
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("bytes in an unknown form")
        self.to_encode -= len(text)
        if self.to_encode < 0:
            raise pickle.UnpicklingError("it makes more of its texts than it holds")
        return text.encode("latin1")


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
        value = [item.decode("utf-8") if isinstance(item, bytes) else item for item in value]
        if not all(item is None or isinstance(item, str | int) for item in value):
            raise pickle.UnpicklingError("a list of neither texts nor numbers")
    elif not (value is None or isinstance(value, str | bytes | int)):
        raise pickle.UnpicklingError(f"a {type(value).__name__.strip('_').lower()}")
    return value
