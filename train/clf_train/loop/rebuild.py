"""The check that a net can be rebuilt from its saved weights.

Only parameters and persistent buffers are saved. If a net's outputs depend on anything else, such as a non-persistent
buffer, an attribute that forward() changes or random numbers, it is refused: after one step of training, and again at
the end, before there is a run.
"""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from clf_runtime.errors import brief
from clf_train.data.dataset import Dataset
from clf_train.data.normalisation import Normalisation, as_tensor
from clf_train.errors import FactoryError, RunError
from clf_train.loop import probe
from clf_train.loop.extra_state import changed, outside_state
from clf_train.models.registry import Model, build_model

_REHEARSAL_IMAGES = 8


def pack_weights(net: nn.Module) -> bytes:
    """The parameters and persistent buffers of a net as the bytes of a safetensors file.

    Raises FactoryError if its state_dict has anything else, such as from `get_extra_state`.
    """
    from safetensors.torch import save

    state = net.state_dict()
    if others := [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise FactoryError(f"its state_dict has {others[0]}, which is not a tensor; keep it in a buffer")
    # Copies, since safetensors refuses tensors that share memory, such as tied weights.
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})


def build_from(weights: bytes, model: Model, image_shape: tuple[int, int, int], classes: int, where: str) -> nn.Module:
    """Build a model on the CPU with weights from `pack_weights`, in evaluation mode.

    Raises RunError, naming the file `where`, if they are damaged or of another model, and as `build_model` does.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    net = build_model(model, image_shape, classes)
    try:
        net.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as error:
        raise RunError(f"{where}: damaged, or not the weights of this run: {brief(error)}") from None
    return net.eval()


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def probe_rebuilt(
    net: nn.Module, weights: bytes, model: Model, images: np.ndarray, normalise: Normalisation
) -> probe.Probe:
    """Probe a net, which is moved to the CPU, on images [P, C, H, W], and compare it with one rebuilt from `weights`.

    Raises FactoryError if the two differ, or if the net's outputs change from call to call.
    """
    cpu = torch.device("cpu")
    net.to(cpu)
    scores = probe.answer(net, images, normalise, cpu)
    if difference := probe.differing(scores, probe.answer(net, images, normalise, cpu, draw=1)):
        raise FactoryError(
            f"{model}: not deterministic in evaluation mode, its outputs for the same images differ ({difference}): "
            "forward() must not draw random numbers unless self.training"
        )
    rebuilt = build_from(weights, model, images.shape[1:], scores.shape[1], "the weights of this net")
    if difference := probe.differing(scores, probe.answer(rebuilt, images, normalise, cpu)):
        raise FactoryError(
            f"{model}: rebuilt from its weights, the net gives other outputs ({difference}): it keeps state outside of "
            f"its state_dict{_suspects(net, rebuilt)}; make that a persistent buffer or a parameter"
        )
    return probe.Probe(images, scores)


def rehearse(net: nn.Module, model: Model, dataset: Dataset, normalise: Normalisation, images: np.ndarray) -> None:
    """Train a net, which is not used afterwards, for one small step, and probe it as at the end of a training.

    Raises FactoryError as `probe_rebuilt` does, and whatever the net raises.
    """
    few = slice(min(_REHEARSAL_IMAGES, len(dataset.train)))
    x, y = normalise(as_tensor(dataset.train.images[few])), as_tensor(dataset.train.labels[few])
    net.train()
    F.cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(net.parameters(), 1e-3).step()
    net.zero_grad()
    probe_rebuilt(net, pack_weights(net), model, images, normalise)


def _suspects(net: nn.Module, rebuilt: nn.Module) -> str:
    """What differs between two nets outside of their state_dict, in words, or nothing."""
    names = sorted(changed(outside_state(rebuilt), outside_state(net)))
    return f" ({', '.join(names[:5])}{', ...' * (len(names) > 5)})" if names else ""
