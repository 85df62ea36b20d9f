"""The device that a training runs on."""

from typing import Literal

import torch

from clf_runtime.errors import DeviceError, brief

Device = Literal["auto", "cpu", "cuda"]


def select_device(wanted: Device, index: int = 0) -> tuple[torch.device, str]:
    """Return the device and its description: `auto` is CUDA if it works, else the CPU; `index` is the GPU's.

    Raises DeviceError with the reason if `cuda` is requested and does not work; it never falls back.
    """
    if wanted != "cpu":
        problem = _cuda_problem(index)
        if problem is None:
            return torch.device("cuda", index), f"cuda ({torch.cuda.get_device_name(index)})"
        if wanted == "cuda":
            raise DeviceError(f"CUDA does not work here: {problem}; choose --device cpu or auto")
    threads = torch.get_num_threads()
    return torch.device("cpu"), f"cpu ({threads} thread{'s' * (threads > 1)})"


def computes_bfloat16(device: str) -> bool:
    """Whether a training on `device`, cpu or cuda, gains by bfloat16: a processor without instructions for it does not.

    False where PyTorch does not say what the processor has.
    """
    if device != "cpu":
        return True
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _cuda_problem(index: int) -> str | None:
    """Why CUDA does not work, or None. Runs a tiny sum, since a visible GPU may be too old for this PyTorch."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this PyTorch ({torch.__version__}) is built without it"
    if not torch.cuda.is_available():
        return "no GPU is visible, or its driver is too old"
    if index >= torch.cuda.device_count():
        return f"there are more processes than GPUs ({torch.cuda.device_count()})"
    try:
        torch.ones(2, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        return brief(error)
    return None
