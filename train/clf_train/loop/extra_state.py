"""A net's state outside of its state_dict: non-persistent buffers, and plain attributes of its modules.

Weights are saved as a state_dict, so none of this is in weights.safetensors. The state of a training includes what has
changed of it, for --resume; a finished net must not depend on it (see rebuild.py).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_MOST_VALUES = 1 << 22  # of one tensor; larger ones are recorded activations
_OWN_OF_MODULES = frozenset(vars(nn.Module()))
_OTHER = object()  # marks anything but a plain value


def outside_state(net: nn.Module) -> dict[str, Any]:
    """Return copies of the values that can be saved, by the dotted name of the module and the attribute.

    Plain values are numbers, strings, booleans, None, tensors, and lists, tuples and dicts of these. Parameters,
    modules and other objects are left out, and so are tensors of more than four million values.
    """
    found = {}
    for path, module in net.named_modules():
        lasting = module.state_dict(keep_vars=True).keys()
        buffers = {name: b for name, b in module.named_buffers(recurse=False) if name not in lasting}
        attributes = {name: value for name, value in vars(module).items() if name not in _OWN_OF_MODULES}
        for name, value in (buffers | attributes).items():
            if (plain := _plain(value)) is not _OTHER:
                found[f"{path}.{name}".lstrip(".")] = plain
    return found


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is new or changed in `after` compared with `before`."""
    return {name: value for name, value in after.items() if name not in before or not _equal(before[name], value)}


def restore(net: nn.Module, kept: Mapping[str, Any]) -> None:
    """Restore what `outside_state` returned, tensors on the net's device. Raises AttributeError if it does not fit.

    Tensors, lists and dicts are filled in place where possible: modules may share one, or view a parameter.
    """
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    for name, value in kept.items():
        path, _, attribute = name.rpartition(".")
        module = net.get_submodule(path)
        there = getattr(module, attribute, None)
        if not _fill(there, value):
            setattr(module, attribute, value.to(device, copy=True) if isinstance(value, Tensor) else value)


def _fill(there: Any, value: Any) -> bool:
    """Assign the value in place, and return whether that was possible."""
    if isinstance(there, Tensor) and isinstance(value, Tensor):
        if (there.shape, there.dtype) != (value.shape, value.dtype):
            return False
        try:
            with torch.no_grad():
                there.copy_(value)
        except RuntimeError:  # an expanded tensor: several elements share memory
            return False
        return True
    if type(there) is type(value) and isinstance(there, dict | list):
        there.clear()
        there.update(value) if isinstance(there, dict) else there.extend(value)
        return True
    return False


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, nn.Parameter):
        return _OTHER
    if isinstance(value, Tensor):
        is_kept = value.layout == torch.strided and value.numel() <= _MOST_VALUES
        return value.detach().cpu().clone() if is_kept else _OTHER
    if type(value) in (list, tuple):
        items = [_plain(item) for item in value]
        return _OTHER if any(item is _OTHER for item in items) else type(value)(items)
    if type(value) is dict:
        items_by_key = {key: _plain(item) for key, item in value.items()}
        is_plain = all(type(key) in (str, int) and item is not _OTHER for key, item in items_by_key.items())
        return items_by_key if is_plain else _OTHER
    return _OTHER


def _equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bool(torch.equal(a.nan_to_num(), b.nan_to_num()))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return bool(a == b or (a != a and b != b))
