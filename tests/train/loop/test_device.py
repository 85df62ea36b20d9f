import pytest
import torch

from clf_runtime import DeviceError
from clf_train.loop.device import select_device


@pytest.fixture
def cuda(monkeypatch):
    """A PyTorch that says what a test wants of its CUDA."""

    def pretend(built=True, visible=True, works=True):
        monkeypatch.setattr(torch.version, "cuda", "13.0" if built else None)
        monkeypatch.setattr(torch.version, "hip", None, raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: visible)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Tesla Stand-in {index}")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        real = torch.ones

        def ones(*size, device=None):
            if not works:
                raise RuntimeError("CUDA error: no kernel image is available\nfor execution on the device")
            return real(*size)

        monkeypatch.setattr(torch, "ones", ones)

    return pretend


def test_the_cpu_is_named_with_its_threads():
    device, name = select_device("cpu")
    assert device.type == "cpu"
    count = torch.get_num_threads()
    assert name == f"cpu ({count} thread{'s' * (count > 1)})"


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_cuda_is_taken_when_it_works(cuda, wanted):
    cuda()
    device, name = select_device(wanted)
    assert (device.type, name) == ("cuda", "cuda (Tesla Stand-in 0)")
    assert select_device(wanted, 1) == (torch.device("cuda", 1), "cuda (Tesla Stand-in 1)")


def test_more_processes_than_gpus_are_refused(cuda):
    cuda()
    with pytest.raises(DeviceError, match=r"more processes than GPUs \(2\)"):
        select_device("cuda", 2)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"built": False}, "built without it"),
        ({"visible": False}, "no GPU is visible"),
        ({"works": False}, "no kernel image"),
    ],
)
def test_cuda_that_does_not_work_is_refused_with_the_reason_and_auto_takes_the_cpu(cuda, state, reason):
    cuda(**state)
    with pytest.raises(DeviceError, match=reason) as error:
        select_device("cuda")
    assert "\n" not in str(error.value)
    assert select_device("auto")[0].type == "cpu"
