"""Files behind a URI, with pyarrow's file systems; see storage.py.

Each function raises OSError, as pyarrow does, and MissingExtraError without pyarrow.
"""

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from clf_runtime.errors import ImageError, MissingExtraError, brief
from clf_runtime.scoring.storage import File

_OBJECT_STORES = ("s3", "gcs", "abfs")  # where a file appears when it is complete
_PIECE = 1 << 20


def status(uri: str) -> File | None:
    """See storage.status."""
    system, path = _of(uri)
    info = system.get_file_info(path)
    if info.type.name == "NotFound":
        return None
    return File(uri, info.size if info.type.name == "File" else -1, info.mtime_ns or 0)


def entries(uri: str) -> list[tuple[str, File | None]]:
    """See storage.entries."""
    from pyarrow.fs import FileSelector

    system, path = _of(uri)
    found: list[tuple[str, File | None]] = []
    for info in system.get_file_info(FileSelector(path)):
        name = info.base_name
        file = File(f"{uri}/{name}", info.size, info.mtime_ns or 0) if info.type.name == "File" else None
        found.append((name, file))
    return sorted(found, key=lambda each: each[0])


def read_file(uri: str, most: int) -> bytes | None:
    """See storage.read_file."""
    system, path = _of(uri)
    with system.open_input_stream(path) as stream:
        data: bytes = stream.read(most + 1)
    return data if len(data) <= most else None


def read_range(uri: str, offset: int, length: int) -> bytes:
    """See storage.read_range."""
    system, path = _of(uri)
    with system.open_input_file(path) as stream:
        data: bytes = stream.read_at(length, offset)
    return data


@contextmanager
def copied(uri: str) -> Iterator[Path]:
    """See storage.as_local."""
    system, path = _of(uri)
    with tempfile.TemporaryDirectory(prefix="clf-score-") as folder:
        copy = Path(folder, os.path.basename(path))
        with system.open_input_stream(path) as stream, copy.open("wb") as file:
            shutil.copyfileobj(stream, file, _PIECE)
        yield copy


@contextmanager
def written_whole(uri: str) -> Iterator[Path]:
    """See storage.written_whole: written to a temporary file, then sent in one go, and renamed where that is needed."""
    system, path = _of(uri)
    with tempfile.TemporaryDirectory(prefix="clf-score-") as folder:
        partial = Path(folder, "partial")
        yield partial
        above, name = os.path.split(path)
        is_store = system.type_name in _OBJECT_STORES
        target = path if is_store else f"{above}/.{name}.{os.getpid()}.partial"
        if not is_store:
            system.create_dir(above, recursive=True)
        with partial.open("rb") as file, system.open_output_stream(target) as stream:
            shutil.copyfileobj(file, stream, _PIECE)
        if not is_store:
            system.move(target, path)


def _of(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the path in it."""
    scheme, _, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    system, root = _system(scheme.lower(), host)
    return system, f"{root}/{path}" if path else root


@functools.lru_cache(maxsize=16)
def _system(scheme: str, host: str) -> tuple[Any, str]:
    """The file system of a bucket or host, and the path of its root."""
    try:
        from pyarrow.fs import FileSystem
    except ImportError:
        raise MissingExtraError(f'{scheme}://: URIs need pyarrow: pip install "clf-edge[parquet]"') from None
    try:
        system, root = FileSystem.from_uri(f"{scheme}://{host}{_options() if scheme == 's3' else ''}")
    except Exception as error:  # ArrowInvalid, ArrowNotImplementedError, OSError, KeyError, ...
        raise ImageError(f"{scheme}://{host}: not a file system that can be reached: {brief(error, 120)}") from None
    return system, root.rstrip("/")


def _options() -> str:
    """What AWS's environment variables say of an S3 that is not Amazon's, which pyarrow takes in the URI."""
    found = {"region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        scheme, _, rest = endpoint.rpartition("://")
        found |= {"scheme": scheme or "https", "endpoint_override": rest.rstrip("/")}
    return "?" + urlencode({name: value for name, value in found.items() if value})
