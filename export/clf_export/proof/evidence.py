"""The reference of the proof: for a run PyTorch's outputs on the CPU, by the code path of the test.

Letters in shapes: N images, C channels, H height, W width, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from clf_train.data.dataset import Dataset
from clf_train.evaluation.inference import probabilities
from clf_train.runs.run import Run


@dataclass(frozen=True)
class Evidence:
    """The test images [N, C, H, W] with their labels int64 [N], and the outputs of the `origin`, such as PyTorch.

    `reference` holds its probabilities, float32 [N, K], for the test images; `answer` computes those of any batch, by
    another path than the file. Synthetic images lie within `value_range`.
    """

    images: np.ndarray
    labels: np.ndarray
    reference: np.ndarray
    answer: Callable[[np.ndarray], np.ndarray]
    value_range: tuple[float, float]
    origin: str = "PyTorch"


def gather_evidence(run: Run, net: nn.Module, dataset: Dataset) -> Evidence:
    """What the file of a run is compared with: the net's probabilities, on the CPU, by the code path of the test."""

    def answer(images: np.ndarray) -> np.ndarray:
        return probabilities(net, images, run.normalisation, torch.device("cpu"), run.temperature)

    images, labels = dataset.test.images, dataset.test.labels
    return Evidence(images, labels, answer(images), answer, run.value_range)
