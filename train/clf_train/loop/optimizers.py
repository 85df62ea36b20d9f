"""The optimizers of the recipes: PyTorch's, and Muon, computed exactly for small nets.

Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/) replaces the gradient of a weight matrix by the
nearest matrix whose singular values are all one, so that rare directions are learned as fast as common ones. The
original approximates it by Newton-Schulz iterations for large matrices on a GPU; these nets' matrices have at most 256
rows, for which an eigendecomposition of the smaller side gives it exactly.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from clf_train.models.recipe import Recipe

# Of the largest entry, on the diagonal: a filter that no longer learns has a momentum that goes to zero, and with rows
# of 1e-14 beside rows of 1e-2 LAPACK's float32 eigenvectors can be NaN.
_SHIFT = 1e-7
_RIDGE = 1e-6  # of the largest eigenvalue, so that directions below its square root, noise, are not amplified


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of a net."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    match recipe.optimizer:
        case "sgd":
            # foreach is faster, but without momentum it rounds differently from plain SGD.
            fused = recipe.momentum > 0
            return torch.optim.SGD(
                net.parameters(), rate, recipe.momentum, weight_decay=decay, nesterov=recipe.nesterov, fused=fused
            )
        case "adam":
            return torch.optim.Adam(net.parameters(), rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(net.parameters(), rate, weight_decay=decay)
        case "muon":
            return Muon(net.parameters(), rate, recipe.momentum, decay, recipe.bias_share)


class Muon(torch.optim.Optimizer):
    """Muon for weights with two or more axes (flattened to [outputs, rest]), Nesterov SGD for the others.

    `lr` is the length of a step in the matrix's spectral norm, times the square root of outputs/rest; `weight_decay`
    is decoupled from the gradient and applies to the matrices only. The others' rate is `bias_share` of `lr`.
    """

    def __init__(self, params: Any, lr: float, momentum: float, weight_decay: float, bias_share: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.bias_share = bias_share

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step, for the parameters that have gradients."""
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                average: Tensor = state["momentum"]
                if p.ndim < 2:
                    average.mul_(momentum).add_(p.grad)
                    p.sub_(p.grad.add(average, alpha=momentum), alpha=lr * self.bias_share)
                    continue
                average.lerp_(p.grad, 1 - momentum)
                ahead = p.grad.lerp(average, momentum).flatten(1)
                step = orthogonalise(ahead).view_as(p)
                p.mul_(1 - lr * decay).sub_(step, alpha=lr * math.sqrt(ahead.shape[0] / ahead.shape[1]))


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest matrix [m, n] with orthonormal rows (or columns, if there are fewer): U·V of its U·S·V.

    Directions with a singular value below a thousandth of the largest are damped; a zero matrix stays zero.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalise(matrix.T).T
    gram = matrix @ matrix.T
    gram.diagonal().add_(gram.diagonal().max(), alpha=_SHIFT)
    eigenvalues, vectors = torch.linalg.eigh(gram)
    smallest = _RIDGE * eigenvalues[-1].clamp_min(0) + torch.finfo(matrix.dtype).tiny
    nearest: Tensor = (vectors * (eigenvalues.clamp_min(0) + smallest).rsqrt()) @ (vectors.T @ matrix)
    return nearest
