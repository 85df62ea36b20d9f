"""The folder of a running training: `<name>.partial`, renamed to `<name>` at the end."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from clf_runtime.system import remove_file
from clf_train.errors import RunError
from clf_train.files import made_folder, refuse_place
from clf_train.loop import checkpoint, folds
from clf_train.runs import plan
from clf_train.runs.advice import resume_command
from clf_train.runs.run import RECORD

_MARK = ".clf-train"  # marks a partial folder as ours, to be cleared


def partial_of(folder: Path) -> Path:
    """The folder of the running training that becomes `folder`."""
    return folder.with_name(folder.name + ".partial")


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """Give `<folder>.partial` to work in, and rename it to `folder` when the block succeeds.

    If the block raises, the partial folder is removed, unless it holds a state to resume from. With `resume` it must
    exist, and is left as it is.
    Raises RunError if `folder` exists (unless `overwrite`), or appears in the meantime, if another training is using
    the partial folder, or if that is not a training's or holds a state that would be lost.
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
            _remove(partial)  # of a killed training: its lock is free
        try:
            if resume:
                for unfinished in partial.rglob(".*.partial"):  # interrupted writes, see files.whole_file
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
        for name in (plan.FILE, _MARK):  # after the renaming: a kill in between must leave a resumable folder
            (folder / name).unlink(missing_ok=True)


def _remove(partial: Path) -> None:
    """Remove a partial folder, its mark last, so that after a kill the next training can clear it."""
    for entry in partial.iterdir():
        if entry.name != _MARK:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder for one training. Raises RunError if another one is using it, or nothing can be written."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), blocking=False)
    with ExitStack() as held:
        try:
            held.enter_context(made_folder(folder.parent))
            Path(lock.lock_file).touch()  # where no file can be created, FileLock may wait as if it were locked
            lock.acquire()
        except Timeout:
            raise RunError(f"{partial_of(folder)}: another training is using it") from None
        except OSError as error:
            raise _cannot_be_made(folder, error) from None
        try:
            yield
        finally:
            remove_file(Path(lock.lock_file))  # while it is held: the next training creates a new one
            lock.release()


def refuse_nothing(folder: Path) -> None:
    """Raise RunError if there is no stopped training to resume."""
    if not (partial_of(folder) / _MARK).exists():
        finished = " is finished" if folder.is_dir() and _is_a_training_s(folder) else ": no training was stopped there"
        raise RunError(f"{folder}{finished}, so there is nothing to resume")


def refuse_early(folder: Path, overwrite: bool) -> None:
    """Raise the RunError that new_folder would raise, early, as far as possible."""
    folder = folder.resolve()
    _refuse_name(folder)
    try:
        refuse_existing(folder, overwrite)
        refuse_place(partial_of(folder))
        is_at_work = partial_of(folder).exists()
    except OSError as error:
        raise _cannot_be_made(folder, error) from None
    if is_at_work:
        with _locked(folder):
            _refuse_state(folder, overwrite)


def _cannot_be_made(folder: Path, error: OSError) -> RunError:
    return RunError(f"{folder}: cannot be written: {error.strerror or error}; choose another --out")


def _refuse_name(folder: Path) -> None:
    """Raise RunError for an invalid name of a run folder."""
    if folder.name.endswith(".partial"):
        raise RunError(f"{folder}: names in .partial are for running trainings; choose another --out")
    if any(ord(c) < 32 or ord(c) == 127 for c in folder.name):
        raise RunError(f"{folder}: contains a control character; choose another --out")


def refuse_existing(folder: Path, overwrite: bool, more: str = "") -> None:
    """Raise RunError if the folder exists: if it is a run, unless `overwrite`; otherwise in any case."""
    if not folder.exists():
        return
    if not _is_a_training_s(folder):
        raise RunError(f"{folder}: exists already, and is not a run folder; choose another --out{more}")
    if not overwrite:
        raise RunError(f"{folder}: exists already; choose another --out, or pass --overwrite{more}")


def _refuse_state(folder: Path, overwrite: bool) -> None:
    """Raise RunError if the partial folder is not a training's, or holds a state, unless `overwrite`."""
    partial = partial_of(folder)
    if partial.exists() and not (partial / _MARK).exists() and any(partial.iterdir()):
        raise RunError(f"{partial}: exists, and is not of a training; remove it")
    if holds_state(partial) and not overwrite:
        try:
            how = f"or resume it: {resume_command(folder, plan.read_plan(partial))}"
        except RunError:
            how = "since its plan.json cannot be read"
        raise RunError(f"{partial}: holds a stopped training; pass --overwrite, {how}")


def _is_a_training_s(folder: Path) -> bool:
    """Whether a folder, which is about to be removed, contains only files of a training and an export."""
    if not folder.is_dir() or (folder / RECORD).is_file():
        return folder.is_dir()
    rest = [entry for entry in folder.iterdir() if entry.name not in ("comparison.html", plan.FILE, _MARK)]
    return (folder / "comparison.html").is_file() and all(
        (entry / RECORD).is_file() or (entry.is_file() and entry.suffix == ".onnx") for entry in rest
    )


def holds_state(partial: Path) -> bool:
    """Whether a partial folder can be resumed from: it has a saved state, a finished fold or model."""
    return any(any(_found(partial, name)) for name in (checkpoint.FILE, folds.FILES, RECORD))


def _found(folder: Path, name: str) -> Iterator[bool]:
    """Look for files of a name, or a pattern of names, in a folder and in its models' subfolders."""
    for pattern in (name, f"[!.]*/{name}"):
        yield from (file.is_file() for file in folder.glob(pattern))


def free_name(parent: Path, stem: str) -> Path:
    """An unused folder name in `parent`: stem, stem-2, stem-3, ..."""
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        if not folder.exists() and not partial_of(folder).exists():
            return folder
        number += 1
