"""Which file it is: the SHA-256 of a model's bytes, and the refusal of any other."""

import re
from importlib import import_module

from clf_runtime.card import told
from clf_runtime.errors import ModelError

_LARGE = 8 << 20  # bytes from which on OpenSSL's SHA-256 is worth its loading


def sha256_of(data: bytes) -> str:
    """SHA-256 in hexadecimal digits, of small data by Python's own code: hashlib loads OpenSSL, 4 MB and 5 ms."""
    for name in ("_sha2", "_sha256") if len(data) < _LARGE else ():  # of Python 3.12 and 3.11
        try:
            digest: str = import_module(name).sha256(data).hexdigest()
        except (ImportError, AttributeError):
            continue
        return digest
    import hashlib

    return hashlib.sha256(data).hexdigest()


def refuse_another(found: str, wanted: str | None, where: str) -> None:
    """Raise ModelError, naming the file `where`, if a SHA-256 was asked for and is none, or is not the one found."""
    if wanted is None:
        return
    if not re.fullmatch("[0-9a-fA-F]{64}", wanted):
        raise ModelError(f"a SHA-256 has 64 hexadecimal digits, {told(wanted)} is none")
    if found != wanted.lower():
        raise ModelError(f"{where}: is not the file that was asked for: its SHA-256 is {found}")
