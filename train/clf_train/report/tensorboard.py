"""Optional scalars for TensorBoard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from clf_runtime.errors import MissingExtraError
from clf_train.loop.checkpoint import Epoch


def check_installed() -> None:
    """Raise MissingExtraError if TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError(
            'TensorBoard is not installed: pip install "clf-edge[tensorboard]", or omit --tensorboard'
        ) from None


@contextmanager
def scalars(folder: Path | None) -> Iterator[Callable[[Epoch], None]]:
    """Give a function that writes an epoch's figures to `folder`/tensorboard, or does nothing without a folder.

    Raises MissingExtraError if TensorBoard is not installed.
    """
    if folder is None:
        yield lambda epoch: None
        return
    check_installed()
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder / "tensorboard") as writer:

        def log(epoch: Epoch) -> None:
            for name, value in asdict(epoch).items():
                if value is not None and name != "epoch":
                    writer.add_scalar(name, value, epoch.epoch)
            writer.flush()

        yield log
