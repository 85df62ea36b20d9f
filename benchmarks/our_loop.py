"""Our training with a recipe, with the output format of reference_loops.py: one line per epoch, with test accuracy.

    python benchmarks/our_loop.py SOURCE MODEL [RECIPE] [SEED]

The test accuracy after each epoch is for the benchmark only: clf-train uses the test images once, at the end. Seconds
are those of the training loop, including what it prepares before its first step.
"""

import sys

from clf_train.loop.process import configure_process

configure_process()

import torch  # noqa: E402 - after the process is settled

from clf_train import find_recipe, read_source  # noqa: E402
from clf_train.data.preparation import choose_normalisation, fit_recipe, validation_rows  # noqa: E402
from clf_train.evaluation.inference import class_scores  # noqa: E402
from clf_train.loop.checkpoint import Epoch  # noqa: E402
from clf_train.loop.fit import Watcher, fit  # noqa: E402
from clf_train.models.registry import build_model, find_architecture  # noqa: E402


def main(source: str, model: str, name: str = "fast", seed: int = 0) -> None:
    dataset = read_source(source)
    device = torch.device("cpu")
    recipe = fit_recipe(find_recipe(name, model), dataset, seed)
    normalise = choose_normalisation(dataset, recipe)
    torch.manual_seed(seed)
    net = build_model(model, dataset.image_shape, len(dataset.names))
    seconds = 0.0

    def tell(epoch: Epoch) -> None:
        nonlocal seconds
        seconds += epoch.seconds
        scores = class_scores(net, dataset.test.images, normalise, device)
        accuracy = (scores.argmax(1).numpy() == dataset.test.labels).mean()
        line = f"{model} epoch {epoch.epoch} train_seconds {seconds:.2f} loss {epoch.loss:.3f}"
        print(line, f"test_accuracy {accuracy:.4f}", flush=True)

    held_out = validation_rows(dataset, recipe, seed)
    tricks = find_architecture(model).tricks
    fit(net, dataset.train, recipe, normalise, device, seed, Watcher(epoch=tell), held_out, tricks=tricks)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
