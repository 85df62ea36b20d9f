"""Which processor a training runs on."""

from typing import Literal

import torch

from clf_runtime.errors import DeviceError, brief

Device = Literal["auto", "cpu", "cuda"]


def select_device(wanted: Device) -> tuple[torch.device, str]:
    """Return the device and its name for people: `auto` takes CUDA when it works, else the CPU.

    Raises DeviceError with the reason if `cuda` is asked for and does not work; it never falls back.
    """
    if wanted != "cpu":
        problem = _cuda_problem()
        if problem is None:
            return torch.device("cuda"), f"cuda ({torch.cuda.get_device_name()})"
        if wanted == "cuda":
            raise DeviceError(f"CUDA does not work here: {problem}; choose --device cpu or auto")
    return torch.device("cpu"), f"cpu ({torch.get_num_threads()} threads)"


def _cuda_problem() -> str | None:
    """Why CUDA does not work, or None. A tiny sum is computed: a card may be seen and yet be too old for the build."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this PyTorch ({torch.__version__}) is built without it"
    if not torch.cuda.is_available():
        return "no GPU is visible, or its driver is too old"
    try:
        torch.ones(2, device="cuda").sum().item()
    except RuntimeError as error:
        return brief(error)
    return None
