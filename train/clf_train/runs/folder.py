"""The folder of a training while it is at work: `<name>.partial`, which becomes `<name>` when all is done."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from clf_train.errors import RunError
from clf_train.loop import checkpoint
from clf_train.runs import plan
from clf_train.runs.advice import resume_command
from clf_train.runs.run import RECORD

_MARK = ".clf-train"  # in a partial folder, says that it is ours to clear


def partial_of(folder: Path) -> Path:
    """Where the training that will be `folder` is at work."""
    return folder.with_name(folder.name + ".partial")


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """Give `<folder>.partial` to work in, and rename it to `folder` when the block ends well.

    If the block ends in an error the partial folder is removed, unless it holds a state to go on from. With `resume`
    it must be there already, and stays as it is.
    Raises RunError if `folder` is there already (unless `overwrite`), or appears in the meantime, if another training
    works in the partial one, or if that is not a training's or holds a state that would be lost.
    """
    folder = folder.resolve()
    partial = partial_of(folder)
    if resume:
        refuse_nothing(folder)
    else:
        _refuse_name(folder)
    refuse_existing(folder, overwrite)
    with _locked(folder):
        if partial.exists() and not resume:
            _refuse_state(folder, overwrite)
            _remove(partial)  # of a training that was killed: nobody holds its lock
        try:
            if resume:
                for unfinished in partial.rglob(".*.partial"):  # their writing was cut short, see files.whole_file
                    unfinished.unlink()
            else:
                partial.mkdir()
                (partial / _MARK).touch()
            yield partial
        except BaseException:
            if not holds_state(partial):
                _remove(partial)
            raise
        refuse_existing(folder, overwrite, f"; the finished run is in {partial}")
        with tempfile.TemporaryDirectory(prefix=".clf-train.", dir=folder.parent) as aside:
            replaced = Path(aside) / "replaced"
            if folder.exists():
                folder.rename(replaced)
            try:
                partial.rename(folder)
            except BaseException:
                if replaced.exists():
                    replaced.rename(folder)
                raise
        for name in (plan.FILE, _MARK):  # not before it has its name: a kill in between must leave what --resume takes
            (folder / name).unlink(missing_ok=True)


def _remove(partial: Path) -> None:
    """Remove a partial folder, its mark last, so that a kill in between leaves what the next training clears."""
    for entry in partial.iterdir():
        if entry.name != _MARK:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep every other training out of a folder. Raises RunError if one is at work there, or nothing can be written."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), blocking=False)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        Path(lock.lock_file).touch()  # where no file can be made, FileLock may wait for one as if another had it
        lock.acquire()
    except Timeout:
        raise RunError(f"{partial_of(folder)}: another training is at work in it") from None
    except OSError as error:
        raise _cannot_be_made(folder, error) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: whoever comes now makes a new one
        lock.release()


def refuse_nothing(folder: Path) -> None:
    """Raise RunError if there is no stopped training to go on with."""
    if not (partial_of(folder) / _MARK).exists():
        finished = " is finished" if folder.is_dir() and _is_a_training_s(folder) else ": no training was stopped there"
        raise RunError(f"{folder}{finished}, so there is nothing to go on with")


def refuse_early(folder: Path, overwrite: bool) -> None:
    """Raise the RunError that new_folder would, before there is anything to write, as far as that can be told."""
    folder = folder.resolve()
    _refuse_name(folder)
    try:
        refuse_existing(folder, overwrite)
        parent = next(parent for parent in folder.parents if parent.exists())
        if not parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        is_at_work = partial_of(folder).exists()
    except OSError as error:
        raise _cannot_be_made(folder, error) from None
    if is_at_work:
        with _locked(folder):
            _refuse_state(folder, overwrite)


def _cannot_be_made(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder}: cannot be written: {error.strerror or error}; choose another --out")


def _refuse_name(folder: Path) -> None:
    """Raise RunError for a name that a training's folder cannot have."""
    if folder.name.endswith(".partial"):
        raise RunError(f"{folder}: a folder of that name is a training at work; choose an --out without .partial")
    if any(ord(c) < 32 or ord(c) == 127 for c in folder.name):
        raise RunError(f"{folder}: holds a control character; choose another --out")


def refuse_existing(folder: Path, overwrite: bool, more: str = "") -> None:
    """Raise RunError if something is there already: a run unless `overwrite`, anything else in any case."""
    if not folder.exists():
        return
    if not _is_a_training_s(folder):
        raise RunError(f"{folder}: is there already, and is no run folder; choose another --out{more}")
    if not overwrite:
        raise RunError(f"{folder}: is there already; choose another --out, or pass --overwrite{more}")


def _refuse_state(folder: Path, overwrite: bool) -> None:
    """Raise RunError if what is at work for `folder` is nobody's training, or holds a state, unless `overwrite`."""
    partial = partial_of(folder)
    if partial.exists() and not (partial / _MARK).exists() and any(partial.iterdir()):
        raise RunError(f"{partial}: is in the way, and no training made it; move it away")
    if holds_state(partial) and not overwrite:
        try:
            how = f"or go on with it: {resume_command(folder, plan.read_plan(partial))}"
        except RunError:
            how = "since its plan.json cannot be read"
        raise RunError(f"{partial}: holds a training that was stopped; pass --overwrite, {how}")


def _is_a_training_s(folder: Path) -> bool:
    """Whether a folder holds what a training and an export leave, and nothing else: it is going to be removed."""
    if not folder.is_dir() or (folder / RECORD).is_file():
        return folder.is_dir()
    rest = [entry for entry in folder.iterdir() if entry.name not in ("comparison.html", plan.FILE, _MARK)]
    return (folder / "comparison.html").is_file() and all(
        (entry / RECORD).is_file() or (entry.is_file() and entry.suffix == ".onnx") for entry in rest
    )


def holds_state(partial: Path) -> bool:
    """Whether a partial folder holds something to go on from: a saved state, or a model that is finished."""
    return any(_found(partial, checkpoint.FILE)) or any(_found(partial, RECORD))


def _found(folder: Path, name: str) -> Iterator[bool]:
    """Look for a file in a folder and in the folders of models below it."""
    yield (folder / name).is_file()
    yield from (file.is_file() for file in folder.glob(f"[!.]*/{name}"))


def free_name(parent: Path, stem: str) -> Path:
    """A folder name below `parent` that nothing has yet: stem, stem-2, stem-3, ..."""
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists() and not partial_of(folder).exists():
            return folder
        number += 1
