"""Read the pickles of CIFAR-10's python version and of torch.save without executing them.

A pickle is a program that may call anything. Here it is parsed by `pickletools`, which bounds every length by the data,
and only the few opcodes that such files need are interpreted. The names that they call become inert records, never the
functions themselves; arrays are made from the records afterwards. Keys are strings, so that no object of the file's
choosing is hashed, and nothing is copied more often than the file contains it.
"""

import pickle
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clf_runtime.errors import ImageError, brief

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    """
    BININT BININT1 BININT2 LONG1 INT LONG STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES UNICODE BINUNICODE
    SHORT_BINUNICODE
    """.split()  # noqa: SIM905
)
_NUMPY = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "array",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}


class UnknownNameError(pickle.UnpicklingError):
    """A pickle uses a name that its reader does not know: `name` is `module function`."""

    def __init__(self, name: str) -> None:
        """Keep the name."""
        super().__init__(f"it names {name.replace(' ', '.')}")
        self.name = name


@dataclass(frozen=True)
class Name:
    """A placeholder for a name that a pickle uses, with the kind that its reader gives it."""

    kind: str


@dataclass(eq=False)
class Record:
    """A placeholder for the result of a call: the kind of the function, its arguments, and the state that is set.

    A persistent id, which refers to an array outside of the pickle, is a record of kind `persistent`.
    """

    kind: str
    arguments: tuple[Any, ...]
    state: Any = None


class _Mark:
    pass


def read_pickle(data: bytes, names: Mapping[str, str]) -> Any:
    """Read a pickle that uses the given names only, `module function` to kind: plain values, records and names.

    Raises UnknownNameError for another name, and almost any exception for a damaged or hostile pickle.
    """
    return _Reader(data, names).value


def unpickle(data: bytes, where: str) -> dict[str, Any]:
    """Read one batch or meta file of CIFAR-10: a dict from strings to lists, strings, numbers and uint8 arrays.

    Raises ImageError if the pickle is damaged or contains anything else.
    """
    try:
        value = read_pickle(data, _NUMPY)
        if not isinstance(value, dict):
            raise pickle.UnpicklingError("it is not a dict")
        return {key: _plain(item) for key, item in value.items()}
    except Exception as error:  # a hostile pickle makes the reader raise almost anything
        raise ImageError(f"{where}: not a file of CIFAR-10's python version: {brief(error, 120)}") from None


class _Reader:
    """A stack machine for the opcodes of such files; `value` is the result of the pickle."""

    def __init__(self, data: bytes, names: Mapping[str, str]) -> None:
        self.names = names
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
                    raise pickle.UnpicklingError("an invalid memo index")
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
                if not isinstance(stack[-1], Record):
                    raise pickle.UnpicklingError("a state for an object without one")
                stack[-1].state = state
            case "BINPERSID":
                stack.append(Record("persistent", (stack.pop(),)))
            case _:
                raise pickle.UnpicklingError(f"it uses {name}")

    def _to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _Mark:
            items.append(item)
        return items[::-1]

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise pickle.UnpicklingError("an item for something that is not a list")
        self.stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise pickle.UnpicklingError("a key for something that is not a dict")
        for key, item in zip(items[::2], items[1::2], strict=True):
            target[_text(key)] = item

    def _name(self, name: str) -> None:
        if name not in self.names:
            raise UnknownNameError(name)
        self.stack.append(Name(self.names[name]))

    def _call(self, name: Any, arguments: Any) -> Any:
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise pickle.UnpicklingError("a call of something that is not a function")
        if name.kind != "encode":
            return Record(name.kind, arguments)
        text, encoding = arguments
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("bytes in an unknown encoding")
        self.to_encode -= len(text)
        if self.to_encode < 0:
            raise pickle.UnpicklingError("it encodes more text than it contains")
        return text.encode("latin1")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, str):
        raise pickle.UnpicklingError("a key that is not a string")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Record) and value.kind == "array":
        _, shape, dtype, fortran_order, raw = value.state
        if not isinstance(dtype, Record) or dtype.kind != "dtype" or dtype.arguments[0] not in ("u1", b"u1"):
            raise pickle.UnpicklingError("an array that is not uint8")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran_order else "C")
    if isinstance(value, list):
        value = [item.decode("utf-8") if isinstance(item, bytes) else item for item in value]
        if not all(item is None or isinstance(item, str | int) for item in value):
            raise pickle.UnpicklingError("a list of neither strings nor numbers")
    elif not (value is None or isinstance(value, str | bytes | int)):
        raise pickle.UnpicklingError(f"a {type(value).__name__.strip('_').lower()}")
    return value
