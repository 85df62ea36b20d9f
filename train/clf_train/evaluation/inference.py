"""From images to probabilities with PyTorch: the code path shared by training, testing and the export's proof.

Letters in shapes: B images in a batch, N images in all, C channels, H height, W width, K classes.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from clf_train.data.normalisation import Normalisation, as_tensor

_BLOCK = 500  # images at a time, fewer of large ones; bounds memory, changes nothing else
_BLOCK_BYTES = 8 << 20  # of a block as float32: what a net makes of an image may be ten times as large


@torch.inference_mode()
def class_scores(
    net: nn.Module,
    images: np.ndarray,
    normalise: Normalisation,
    device: torch.device,
    rows: np.ndarray | None = None,
) -> Tensor:
    """Run a net in evaluation mode on uint8 or float32 [N, C, H, W] and return its output, float32 [N, K] on the CPU.

    With `rows`, int64 [M], only those images are run, and the result is [M, K]. The scores are logits or
    log-probabilities; their softmax is the same.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    tensor = as_tensor(images)
    count = len(tensor) if rows is None else len(rows)
    scores: Tensor | None = None
    size = max(1, min(_BLOCK, _BLOCK_BYTES // (4 * math.prod(images.shape[1:]))))
    for first in range(0, max(1, count), size):
        block = slice(first, first + size)
        chosen = tensor[block] if rows is None else tensor[as_tensor(rows[block])]
        answers = net(normalise(chosen.to(device))).cpu()
        if scores is None:  # one array: small ones between large blocks fragment the heap, 0.3 GB for 40,000 images
            scores = torch.empty(count, answers.shape[1])
        scores[block] = answers
    net.train(modes[0][1])  # a user's own train() may do more than set the modes
    for module, training in modes:
        module.training = training
    assert scores is not None
    return scores


def probabilities(
    net: nn.Module, images: np.ndarray, normalise: Normalisation, device: torch.device, temperature: float = 1.0
) -> np.ndarray:
    """Class probabilities, float32 [N, K]: a softmax of the scores divided by the temperature (Guo et al., 2017)."""
    return softmax(class_scores(net, images, normalise, device), temperature)


def softmax(scores: Tensor, temperature: float = 1.0) -> np.ndarray:
    """Turn logits or log-probabilities [N, K] into probabilities at a temperature, float32 [N, K]."""
    array: np.ndarray = torch.softmax(scores / temperature, dim=1).numpy()
    return array
