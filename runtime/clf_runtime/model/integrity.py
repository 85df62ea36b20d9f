"""The identity and integrity of a model file: its SHA-256, and its CRC-32.

A file of clf-export contains its own CRC-32, in a metadata entry of fixed length whose digits count as zeros. It
detects any flipped bit, at a third of a nanosecond per byte; against malice, which can compute it too, there is the
SHA-256.
"""

import re
from binascii import crc32
from importlib import import_module

from clf_runtime.errors import ModelError
from clf_runtime.model.values import quoted

CHECKSUM_KEY, UNSEALED = "clf_edge.crc32", '"00000000"'
_KEY = CHECKSUM_KEY.encode()
_ENTRY = _KEY + b"\x12\x0a"  # the entry's value follows, field 2 of protobuf, of 10 bytes: the digits in quotes
_LARGE = 8 << 20  # bytes, from which loading OpenSSL for its SHA-256 pays


def sha256_of(data: bytes) -> str:
    """SHA-256 in hexadecimal; small data by Python's built-in code, since hashlib loads OpenSSL: 4 MB and 5 ms."""
    for name in ("_sha2", "_sha256") if len(data) < _LARGE else ():  # of Python 3.12 and 3.11
        try:
            digest: str = import_module(name).sha256(data).hexdigest()
        except (ImportError, AttributeError):
            continue
        return digest
    import hashlib

    return hashlib.sha256(data).hexdigest()


def refuse_another(found: str, wanted: str | None, where: str) -> None:
    """Raise ModelError, naming the file `where`, if the wanted SHA-256 is malformed or another than the one found."""
    if wanted is None:
        return
    if not re.fullmatch("[0-9a-fA-F]{64}", wanted):
        raise ModelError(f"a SHA-256 has 64 hexadecimal digits, unlike {quoted(wanted)}")
    if found != wanted.lower():
        raise ModelError(f"{where}: another file than requested: its SHA-256 is {found}")


def seal(model: bytes) -> bytes:
    """Write the CRC-32 of a model into its metadata entry CHECKSUM_KEY, which must exist with the value UNSEALED."""
    at = model.rfind(_ENTRY) + len(_ENTRY)
    return b"".join((model[:at], _stated(model, at), model[at + len(UNSEALED) :]))


def refuse_damaged(model: bytes, where: str) -> None:
    """Raise ModelError, naming the file `where`, if a model contains a CRC-32 that does not match."""
    if (found := model.rfind(_KEY)) < 0:
        return  # a foreign file, or one of an earlier clf-edge
    at = found + len(_ENTRY)
    if not model.startswith(_ENTRY, found) or model[at : at + len(UNSEALED)] != _stated(model, at):
        raise ModelError(f"{where}: damaged, or modified after its export: its CRC-32 does not match; copy it again")


def _stated(model: bytes, at: int) -> bytes:
    """The correct value of the entry whose value begins at byte `at`."""
    view = memoryview(model)
    checksum = crc32(view[at + len(UNSEALED) :], crc32(UNSEALED.encode(), crc32(view[:at])))
    return f'"{checksum:08x}"'.encode()
