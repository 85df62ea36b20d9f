"""The files of an export: where they go, and how they get their names: after the proof, and all or none."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from clf_export.errors import OutputError, ParityError
from clf_export.proof.self_test import prove_self_test
from clf_runtime.model.card import ModelCard
from clf_runtime.model.integrity import CHECKSUM_KEY, UNSEALED, seal
from clf_runtime.model.metadata import to_metadata
from clf_train.files import refuse_place, whole_file


@dataclass(frozen=True)
class ModelFile:
    """A file that was written: its path, SHA-256, size in bytes, and card.

    Of `damages` corruptions of a weight that were tried, the golden cases do not detect those `unnoticed`.
    """

    path: Path
    sha256: str
    size: int
    card: ModelCard
    damages: int
    unnoticed: tuple[str, ...]


def output_files(
    folders: Sequence[Path], out: Path | None, *, overwrite: bool = False, with_int8: bool = False
) -> list[Path]:
    """Where the files of these run folders go: beside each, to the `.onnx` file `out`, or into the folder `out`.

    Raises OutputError if `out` is one file for several runs, if a file or its int8 file exists already (unless
    `overwrite`) or cannot be created, or if `out` exists and is neither a folder nor named `.onnx`.
    """
    if out is None:
        files = [folder.with_name(folder.name + ".onnx") for folder in folders]
    elif out.suffix.lower() == ".onnx" and not out.is_dir():
        if len(folders) > 1:
            raise OutputError(f"{out}: is one file, but there are {len(folders)} models; pass a folder as --out")
        files = [out]
    else:
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out}: exists already; pass a folder, or a name that ends in .onnx, as --out")
        files = [out / f"{folder.name}.onnx" for folder in folders]
    everything = [*files, *(int8_beside(file) for file in files if with_int8)]
    for file in everything:
        refuse_existing(file, overwrite=overwrite)
        if everything.count(file) > 1:
            raise OutputError(f"{file}: would be written twice, for two models; export them one by one")
    return files


def refuse_existing(file: Path, *, overwrite: bool) -> None:
    """Raise OutputError if a file exists already (unless `overwrite`), or cannot be created."""
    try:
        if file.is_dir():
            raise OutputError(f"{file}: is a folder; choose another --out")
        if file.exists() and not overwrite:
            raise OutputError(f"{file}: exists already; choose another --out, or pass --overwrite")
        refuse_place(file)
    except OSError as error:  # also a name that is too long, a folder that may not be looked into
        raise OutputError(f"{file}: cannot be written: {error.strerror or error}; choose another --out") from None


def int8_beside(file: Path) -> Path:
    """The path of the int8 file that belongs to a float32 file."""
    return file.with_name(f"{file.stem}.int8.onnx")


@contextmanager
def named_together() -> Iterator[ExitStack]:
    """Give a stack for the files of one or several exports: all get their names when the block succeeds, or none.

    Raises OutputError if one cannot be written.
    """
    try:
        with ExitStack() as files:
            yield files
    except OSError as error:
        raise OutputError(f"{error.filename or 'a file'}: cannot be written: {error.strerror or error}") from None


def write_model(
    files: ExitStack, path: Path, model: bytes, card: ModelCard, check: Callable[[bytes], object]
) -> ModelFile:
    """Write a model with its card, and verify what is on disk; the file gets its name when `files` is closed."""
    proto = onnx.ModelProto.FromString(model)
    onnx.helper.set_model_props(proto, {**to_metadata(card), CHECKSUM_KEY: UNSEALED})
    partial = files.enter_context(whole_file(path))
    partial.write_bytes(seal(proto.SerializeToString(deterministic=True)))
    data = partial.read_bytes()
    check(data)
    unnoticed, damages = prove_self_test(partial, card)
    return ModelFile(path, hashlib.sha256(data).hexdigest(), len(data), card, damages, unnoticed)


@contextmanager
def removed_at_end(file: Path) -> Iterator[None]:
    """Remove a file if the block succeeds."""
    yield
    file.unlink(missing_ok=True)


@contextmanager
def keeping_rejected(model: bytes, file: Path | None) -> Iterator[None]:
    """Keep a model that is rejected, as `<name>.rejected.onnx` beside `file`; None keeps nothing."""
    try:
        yield
    except ParityError as error:
        if file is None:
            raise
        rejected = file.with_name(f"{file.stem}.rejected.onnx")
        try:
            with whole_file(rejected) as partial:
                partial.write_bytes(model)
        except OSError as failed:
            raise OutputError(f"{rejected}: cannot be written: {failed.strerror or failed}") from None
        raise ParityError(f"{error}; it was kept as {rejected}", error.table) from None
