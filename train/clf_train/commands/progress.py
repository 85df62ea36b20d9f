"""Progress of a training: a bar on a terminal, else one line per epoch."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from clf_runtime.commands.shell import say
from clf_train.data.dataset import Dataset
from clf_train.data.preparation import validation_rows
from clf_train.loop.checkpoint import Epoch
from clf_train.loop.fit import Watcher
from clf_train.models.recipe import Recipe
from clf_train.models.registry import Model

_FEW = 50  # validation images, of which one is two points of accuracy


def follow(
    name: str, dataset: Dataset, seed: int, bars: ExitStack, quiet: bool, stopping: Callable[[], bool], folds: int = 0
) -> Callable[[Model, Recipe, str], Watcher]:
    """The `on_start` of `train`: a progress bar per model on a terminal, which `bars` closes, else lines on stderr.

    `name` is the command's, which lines begin with. A bar shows epoch, loss and images/s, those of `folds` included.
    """

    def on_start(model: Model, recipe: Recipe, device: str) -> Watcher:
        from tqdm import tqdm

        bars.close()
        held_out = validation_rows(dataset, recipe, seed)
        count = 0 if held_out is None else len(held_out)
        if not quiet:
            say(name, f"training {model} with recipe {recipe.name} on {device}")
            if held_out is None and recipe.validation_share:
                say(name, "a class has only one training image, so nothing is held out: the last epoch is kept")
            if 0 < count < _FEW:
                say(name, f"{count} validation images are few to choose an epoch by; --folds 5 gives better figures")
        is_terminal = sys.stderr.isatty()
        total = max(1, recipe.epochs) * (len(dataset.train) - count) * (folds if folds and recipe.epochs else 1)
        hidden = quiet or not is_terminal
        bar = bars.enter_context(tqdm(total=total, unit=" images", unit_scale=True, disable=hidden, dynamic_ncols=True))

        def on_step(epoch: int, images: int, loss: float) -> None:
            bar.set_description(f"{model} epoch {epoch}/{recipe.epochs} loss {loss:.3f}", refresh=False)
            bar.update(images)

        def on_epoch(epoch: Epoch) -> None:
            if not quiet and not is_terminal:
                say(name, f"{model}, {epoch_line(epoch, max(1, recipe.epochs))}")

        def on_begin(behind: Sequence[Epoch]) -> None:
            if behind and not quiet and not is_terminal:
                say(name, f"{model}, resuming after {epoch_line(behind[-1], max(1, recipe.epochs))}")

        def on_note(text: str) -> None:
            if not quiet:
                say(name, text)

        return Watcher(on_step, on_epoch, stopping, on_begin, on_note)

    return on_start


def follow_open_set(
    name: str, bars: ExitStack, quiet: bool, stopping: Callable[[], bool]
) -> Callable[[Model, str, int], Watcher]:
    """The `on_open_set` of `train`: what is about to be done, and a progress bar on a terminal."""

    def on_start(model: Model, said: str, images: int) -> Watcher:
        from tqdm import tqdm

        bars.close()
        if not quiet:
            say(name, f"{model}, {said}")
        hidden = quiet or not sys.stderr.isatty()
        bar = bars.enter_context(
            tqdm(total=images, unit=" images", unit_scale=True, disable=hidden, dynamic_ncols=True)
        )
        bar.set_description(f"{model} without some classes", refresh=False)

        def on_note(text: str) -> None:
            if not quiet:
                say(name, text)

        return Watcher(step=lambda epoch, images, loss: bar.update(images), stopping=stopping, note=on_note)

    return on_start


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """One line of text for an epoch out of `epochs`."""
    parts = [f"loss {epoch.loss:.3f}", f"accuracy {100 * epoch.accuracy:.2f} %"]
    if epoch.validation_accuracy is not None:
        parts.append(f"validation accuracy {100 * epoch.validation_accuracy:.2f} %")
    return f"epoch {epoch.epoch}/{epochs}: {', '.join(parts)}, {epoch.seconds:.1f} s"
