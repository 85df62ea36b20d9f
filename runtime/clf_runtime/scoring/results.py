"""The folder of results: its manifest, what is in it already, and the files of rows, each written whole."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from clf_runtime.bounded import open_regular
from clf_runtime.errors import MissingExtraError, ScoringError
from clf_runtime.scoring.storage import entries, is_remote, join, read_file, status, written_whole
from clf_runtime.system import lock_file
from clf_runtime.whole_file import made_folder

Form = Literal["parquet", "jsonl"]

MANIFEST, PLAN, MODEL = "_manifest.json", "_plan.jsonl", "_model.onnx"  # readers of a folder of parquet skip these
_LOCK = ".lock"
_SCHEMA = 1
_MOST_MANIFEST = 1 << 20
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Manifest:
    """What a folder of results was made from: each of these, or it is another one's.

    `plan_sha256` covers the names, sizes and times of all files of the source, and how they are divided.
    """

    source: str
    partitions: int
    files: int
    bytes: int
    plan_sha256: str
    model_sha256: str
    form: Form
    options: dict[str, Any]


def part(out: str, number: int, form: Form) -> str:
    """The file of the results of a partition."""
    return join(out, f"part-{number:08}.{form}")


def read_manifest(out: str) -> Manifest | None:
    """The manifest of a folder; None if it is absent or empty. Raises ScoringError if it holds something else."""
    found = status(out)
    if found is None:
        return None
    if found.size >= 0:
        raise ScoringError(f"{out}: a file, not a folder; results need a folder")
    path = join(out, MANIFEST)
    if status(path) is None:
        others = [name for name, _ in entries(out) if name not in (PLAN, MODEL) and not name.startswith(".")]
        if others:
            raise ScoringError(f"{out}: contains {others[0]}, but no {MANIFEST}; give a folder that is new or empty")
        return None
    try:
        values = json.loads(read_file(path, _MOST_MANIFEST) or b"")
        if values.pop("schema") != _SCHEMA:
            raise ScoringError(f"{path}: written by another version of clf-edge; give another folder")
        return Manifest(**values)
    except (ValueError, TypeError, AttributeError, KeyError):
        raise ScoringError(f"{path}: damaged; give another folder") from None


def write_manifest(out: str, manifest: Manifest) -> None:
    """Write the manifest. Raises OSError."""
    with written_whole(join(out, MANIFEST)) as partial:
        partial.write_text(json.dumps({"schema": _SCHEMA, **asdict(manifest)}, indent=1) + "\n", "utf-8")


def refuse_another(out: str, there: Manifest, now: Manifest) -> None:
    """Raise ScoringError, naming the first difference, if a folder was made from something else."""
    if there.model_sha256 != now.model_sha256:
        raise ScoringError(
            f"{out}: holds the results of another model (sha256 {there.model_sha256[:16]}..., "
            f"now {now.model_sha256[:16]}...); give another folder"
        )
    for name in sorted({*there.options, *now.options}):
        before, after = there.options.get(name), now.options.get(name)
        if before != after:
            raise ScoringError(f"{out}: was begun with {name} {before}, not {after}; use that, or another folder")
    if there.form != now.form:
        raise ScoringError(f"{out}: was begun with the format {there.form}; use that, or another folder")
    if there.source != now.source:
        raise ScoringError(f"{out}: holds the results of {there.source}; give another folder")
    if there.plan_sha256 != now.plan_sha256:
        raise ScoringError(
            f"{out}: {there.source} has changed since: then {there.files:,} files of {there.bytes:,} bytes, now "
            f"{now.files:,} of {now.bytes:,} (names, sizes and times count); give another folder"
        )


def done(out: str, form: Form) -> set[int]:
    """The numbers of the partitions whose results are there; what killed processes left behind is removed."""
    numbers = set()
    for name, _ in entries(out):
        stem, _, suffix = name.partition(".")
        if suffix == form and stem.startswith("part-") and stem[5:].isdigit():
            numbers.add(int(stem[5:]))
        elif name.startswith(".") and name.endswith(".partial") and not is_remote(out):
            with suppress(OSError):
                os.unlink(join(out, name))
    return numbers


@contextmanager
def locked(out: str) -> Iterator[None]:
    """Keep other processes out of a local folder while the block runs; elsewhere nothing is locked.

    The system releases the lock when the process ends, however it does. If the block fails before there is a manifest,
    nothing is left behind. Raises ScoringError if another process has it.
    """
    if is_remote(out):
        yield
        return
    with made_folder(Path(out)):
        new = [path for path in (join(out, name) for name in (PLAN, MODEL, _LOCK)) if not os.path.lexists(path)]
        with open(join(out, _LOCK), "wb") as stream:
            if not lock_file(stream):
                raise ScoringError(f"{out}: another clf-score is writing into this folder")
            try:
                yield
            except BaseException:
                if not os.path.lexists(join(out, MANIFEST)):
                    for path in new:
                        with suppress(OSError):
                            os.unlink(path)
                raise


def write_rows(path: str, rows: Iterable[dict[str, Any]], form: Form) -> None:
    """Write the records of a partition whole, a few thousand in memory at a time. Raises OSError."""
    with written_whole(path) as partial:
        if form == "jsonl":
            with partial.open("w", encoding="utf-8") as lines:
                for row in rows:
                    lines.write(json.dumps(row, allow_nan=False) + "\n")
            return
        pyarrow, parquet = require_pyarrow()
        schema = _schema(pyarrow)
        with partial.open("wb") as stream, parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
            taken = iter(rows)
            while block := list(islice(taken, _ROWS_AT_ONCE)):
                writer.write_table(pyarrow.Table.from_pylist([_in_utf8(row) for row in block], schema))


def require_pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet. Raises MissingExtraError."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError(
            'results as parquet need pyarrow: pip install "clf-edge[parquet]", or ask for --format jsonl'
        ) from None
    return pyarrow, parquet


def _schema(pyarrow: Any) -> Any:
    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    top = pyarrow.list_(pyarrow.struct([("name", text), ("probability", real)]))
    kinds = {"index": whole, "class": whole, "probability": real, "familiarity": real, "top": top}
    names = ("image", "index", "class", "name", "probability", "model_sha256", "provider", "familiarity", "rejected")
    return pyarrow.schema([(name, kinds.get(name, text)) for name in (*names, "top", "error")])


def _in_utf8(row: dict[str, Any]) -> dict[str, Any]:
    """A record whose path is UTF-8: bytes that are none, which file names may contain, are escaped."""
    for name in ("image", "error"):
        text = row[name]
        if text is not None and not text.isascii():
            row[name] = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return row


def digest(path: str) -> str:
    """The SHA-256 of a local file. Raises OSError."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def plan_lines(path: str) -> Iterator[bytes]:
    """The lines of a local plan. Raises OSError."""
    with open_regular(path) as stream:
        yield from stream
