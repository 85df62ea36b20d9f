"""Which processor a training runs on."""

from typing import Literal

import torch

from clf_runtime.errors import DeviceError, brief

Device = Literal["auto", "cpu", "cuda"]


def select_device(wanted: Device, index: int = 0) -> tuple[torch.device, str]:
    """Return the device and its name for people: `auto` takes CUDA when it works, else the CPU; `index` is the GPU.

    Raises DeviceError with the reason if `cuda` is asked for and does not work; it never falls back.
    """
    if wanted != "cpu":
        problem = _cuda_problem(index)
        if problem is None:
            return torch.device("cuda", index), f"cuda ({torch.cuda.get_device_name(index)})"
        if wanted == "cuda":
            raise DeviceError(f"CUDA does not work here: {problem}; choose --device cpu or auto")
    return torch.device("cpu"), f"cpu ({torch.get_num_threads()} threads)"


def _cuda_problem(index: int) -> str | None:
    """Why CUDA does not work, or None. A tiny sum is computed: a card may be seen and yet be too old for the build."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this PyTorch ({torch.__version__}) is built without it"
    if not torch.cuda.is_available():
        return "no GPU is visible, or its driver is too old"
    if index >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} GPUs for more processes than that"
    try:
        torch.ones(2, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        return brief(error)
    return None
