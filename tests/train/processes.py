"""clf-train in processes of its own, forked from one that has loaded PyTorch already, which takes each two seconds."""

import multiprocessing
import os
import sys
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from blank_pictures import blank_pictures

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(  # what a training loads
    [
        *("clf_train.commands.train", "clf_train.training", "safetensors.torch", "scipy.optimize", "sklearn.datasets"),
        "torch._dynamo",
    ]
)


@dataclass(frozen=True)
class Started:
    """A process, and the files that it prints into."""

    process: BaseProcess
    out: Path
    err: Path

    def ended(self, timeout: float = 300) -> tuple[int, str, str] | None:
        """Wait for its end and return exit code, stdout and stderr; None if it has not ended in time."""
        self.process.join(timeout)
        code = self.process.exitcode
        return None if code is None else (code, self.out.read_text(), self.err.read_text())

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def start(arguments: tuple[object, ...], cwd: Path, environment: dict[str, str], printed: Path) -> Started:
    """Start `clf-train ARGUMENTS` in the folder `cwd`; what it prints goes into the folder `printed`."""
    out, err = printed / "out", printed / "err"
    out.touch()
    err.touch()
    values = ([str(argument) for argument in arguments], cwd, environment, out, err)
    process = _FORKS.Process(target=_train, args=values, daemon=True)
    process.start()
    return Started(process, out, err)


def _train(arguments: list[str], cwd: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    from clf_train.commands.train import main

    multiprocessing.set_start_method("fork", force=True)  # as in any process: tqdm's lock has no name to be left behind
    os.chdir(cwd)
    os.environ |= environment
    for file, descriptor in ((out, 1), (err, 2)):
        with file.open("wb") as stream:
            os.dup2(stream.fileno(), descriptor)
    sys.argv = ["clf-train", *arguments]
    with blank_pictures():
        main()
