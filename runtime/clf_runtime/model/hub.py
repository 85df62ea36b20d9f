"""Models on the Hugging Face Hub: `hf://owner/name[@revision][/file.onnx]` becomes the path of a local file.

huggingface_hub fetches, checks and caches (https://huggingface.co/docs/huggingface_hub/guides/manage-cache). Of a
repository only the one `.onnx` file is fetched, and nothing of it is executed.
"""

import errno
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from clf_runtime import __version__
from clf_runtime.errors import MissingExtraError, ModelError, brief
from clf_runtime.model.values import quoted

SCHEME = "hf://"
_FORM = "hf://owner/name[@revision][/file.onnx]"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REVISION = r"refs/pr/[0-9]{1,9}|[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
_PART = r"[A-Za-z0-9_][A-Za-z0-9._+=-]{0,199}"  # of a path: never hidden, never the folder above
_ADDRESS = re.compile(
    rf"hf://(?P<repository>{_NAME}/{_NAME})(?:@(?P<revision>{_REVISION}))?(?:/(?P<file>(?:{_PART}/){{0,8}}{_PART}\.onnx))?"
)
_COMMIT = re.compile("[0-9a-f]{40}")
_SECONDS = 10.0  # to wait for an answer
_LISTED = 8  # files that a message names
_MOST_SHOWN = 100  # characters of a name that the server gave
# Modules whose exceptions say that there is no network: huggingface_hub 1 and 2 talk through them.
_NETWORK = {"httpx2", "httpcore2", "httpx", "httpcore", "ssl"}
_INSTALL = 'pip install "clf-edge[hub]"'


@dataclass(frozen=True)
class Address:
    """A model on the Hub: its repository (`owner/name`), revision (branch, tag or commit), and file, where stated."""

    repository: str
    revision: str | None
    file: str | None

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{SCHEME}{self.repository}{revision}" + ("" if self.file is None else f"/{self.file}")


def parse_address(text: str) -> Address:
    """Parse `hf://owner/name[@revision][/file.onnx]`. Raises ModelError for anything else."""
    found = _ADDRESS.fullmatch(text)
    if found is None or re.search(r"--|\.\.|\.git(?:[/@]|$)", found["repository"]) or ".." in (found["revision"] or ""):
        raise ModelError(f"{quoted(text)}: not the address of a model on the Hugging Face Hub, {_FORM}")
    return Address(found["repository"], found["revision"], found["file"])


def fetch(text: str, most: int, note: Callable[[str], object]) -> Path:
    """The local path of a model on the Hub, fetched unless it is cached; at most `most` bytes by the Hub's listing.

    `note` is called with a sentence on the revision, and on a cached file that is used because the Hub cannot be
    reached, or HF_HUB_OFFLINE is set. Without a file in the address the repository must hold exactly one `.onnx` file.
    Raises ModelError if the address is invalid, there is no such model or no access to it, it is too large, cannot be
    fetched and is not cached, or cannot be written; MissingExtraError without huggingface_hub.
    """
    address = parse_address(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hub = _import(address)
    with _silenced():
        if address.file and address.revision and _COMMIT.fullmatch(address.revision):
            found = hub.try_to_load_from_cache(address.repository, address.file, revision=address.revision)
            if isinstance(found, str):  # a commit never changes: nothing to ask for
                return Path(found)
        try:
            return _fetch(hub, address, most, note)
        except _UnreachableError as error:
            path = _cached(hub, address, str(error))
            note(f"{address}: {error}; the cached {path.name} of commit {_commit_of(path)} is used")
            return path


class _UnreachableError(Exception):
    """The Hub gives no answer; the message says why."""


def _import(address: Address) -> ModuleType:
    """huggingface_hub, without its telemetry and its progress bars, unless the user has set these variables."""
    for variable in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(variable, "1")
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils.logging  # sets the level of its messages, which is lowered afterwards
    except ImportError as error:
        what = "is needed" if error.name == "huggingface_hub" else f"cannot be imported ({brief(error)})"
        raise MissingExtraError(f"{address}: huggingface_hub {what}: {_INSTALL}") from None
    module: ModuleType = huggingface_hub
    return module


def _fetch(hub: ModuleType, address: Address, most: int, note: Callable[[str], object]) -> Path:
    """Ask the Hub, and fetch the file unless this version of it is cached. Raises ModelError or _UnreachableError."""
    with _explained(hub, address):
        api = hub.HfApi(library_name="clf-edge", library_version=__version__)
        info = api.model_info(address.repository, revision=address.revision, files_metadata=True, timeout=_SECONDS)
        sizes = {str(entry.rfilename): entry.size for entry in info.siblings or ()}
    file = address.file or _only(address, [name for name in sizes if name.endswith(".onnx")])
    whole = Address(address.repository, address.revision, file)
    if file not in sizes:
        raise ModelError(f"{whole}: the repository has no such file{_listed(sizes)}")
    size = sizes[file]
    if type(size) is not int or not 0 < size <= most:
        stated = f"{size:,} bytes" if type(size) is int else "of unknown size"
        raise ModelError(f"{whole}: {stated}; the limit for models is {most >> 20} MiB")
    with _explained(hub, whole):
        path = Path(api.hf_hub_download(address.repository, file, revision=address.revision, etag_timeout=_SECONDS))
    note(f"{address}: {file} of commit {_commit_of(path)}")
    return path


def _only(address: Address, files: list[str]) -> str:
    """The file of a repository with exactly one model. Raises ModelError for none or several, or an odd name."""
    if len(files) != 1:
        several = f"{len(files)} .onnx files" if files else "no .onnx file"
        advice = f": name one, as in {address}/FILE{_listed(files)}" if files else ""
        raise ModelError(f"{address}: the repository has {several}{advice}")
    try:
        return str(parse_address(f"{address}/{files[0]}").file)
    except ModelError:
        raise ModelError(
            f"{address}: its file {quoted(files[0][:_MOST_SHOWN])} has a name that is not accepted"
        ) from None


def _listed(files: Iterable[object]) -> str:
    """The names of some `.onnx` files, for a message; empty without any."""
    names = sorted(str(name)[:_MOST_SHOWN] for name in files if str(name).endswith(".onnx"))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f" (it has {', '.join(names[:_LISTED])}{more})" if names else ""


def _cached(hub: ModuleType, address: Address, why: str) -> Path:
    """The cached file of an address, of the revision as it was when it was last asked for. Raises ModelError."""
    missing = f"{address}: {why}, and it is not cached"
    try:
        folder = Path(hub.snapshot_download(address.repository, revision=address.revision, local_files_only=True))
    except Exception:  # no such folder, or a damaged one
        raise ModelError(missing) from None
    if address.file is not None:
        found = [folder / address.file] if (folder / address.file).is_file() else []
    else:
        found = sorted(folder.rglob("*.onnx"))
    if not found:
        raise ModelError(missing)
    if len(found) > 1:
        raise ModelError(f"{address}: {why}, and several are cached: {_listed([f.relative_to(folder) for f in found])}")
    return found[0]


def _commit_of(path: Path) -> str:
    """The abbreviated commit in the path of a cached file, `.../snapshots/COMMIT/...`."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1][:12] if "snapshots" in parts[:-1] else "unknown"


@contextmanager
def _explained(hub: ModuleType, address: Address) -> Iterator[None]:
    """Turn the exceptions of huggingface_hub into ModelError, or _UnreachableError where a cached file may be used."""
    errors: Any = hub.errors
    server = hub.constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"{address}: access is restricted: ask for it on {server}, then log in with: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        why = "or it is private: check its name, or log in with: hf auth login"
        raise ModelError(f"{address}: no such repository on {server}, {why}") from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{address}: the repository has no such revision (branch, tag or commit)") from None
    except errors.LocalEntryNotFoundError as error:  # the answer to the listing came, this one did not
        raise _UnreachableError(f"{server} cannot be reached ({brief(error.__cause__ or error, 80)})") from None
    except errors.EntryNotFoundError:
        raise ModelError(f"{address}: the repository has no such file") from None
    except errors.OfflineModeIsEnabled:
        raise _UnreachableError("HF_HUB_OFFLINE is set") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status >= 500 or status == 429:
            raise _UnreachableError(f"{server} answers with status {status}") from None
        said = ": it needs a login (hf auth login)" if status in (401, 403) else ""
        raise ModelError(f"{address}: {server} answers with status {status}{said}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            where = hub.constants.HF_HUB_CACHE
            raise ModelError(f"{address}: cannot be written to the cache {where}: {error.strerror}") from None
        if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.split(".")[0] in _NETWORK:
            raise _UnreachableError(f"{server} cannot be reached ({brief(error, 80)})") from None
        # Whatever the library makes of a file cut short, or of an answer that is not the Hub's.
        raise ModelError(f"{address}: {server} gives no proper answer: {brief(error, 120)}") from None


@contextmanager
def _silenced() -> Iterator[None]:
    """Let huggingface_hub print nothing of its own: errors and notes here say what matters."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
