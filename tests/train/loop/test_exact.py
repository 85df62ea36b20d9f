"""The settings of PyTorch under which a training on CUDA is exact; they can be made without a GPU."""

import subprocess
import sys

import pytest
import torch

from clf_train.loop.exact import exact


def settings():
    cudnn = torch.backends.cudnn
    precisions = (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, torch.backends.cuda.matmul.fp32_precision)
    old = (cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.get_float32_matmul_precision())
    return precisions, old, cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("fails", [False, True])
def test_cuda_computes_float32_in_full_and_the_settings_are_restored(fails, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = settings()
    assert "tf32" in before[0]  # PyTorch's default for convolutions
    with pytest.raises(KeyError) if fails else exact("cuda"), exact("cuda"):
        assert settings() == (("ieee",) * 3, (False, False, "highest"), True, False, True)
        if fails:
            raise KeyError
    assert settings() == before
    with exact("cpu"):
        assert settings() == before


def test_a_process_that_uses_the_newer_names_gets_its_settings_back():
    code = (
        "import torch; from clf_train.loop.exact import exact; b = torch.backends; b.fp32_precision = 'tf32'\n"
        "with exact('cuda'): print(b.cudnn.conv.fp32_precision, b.cuda.matmul.fp32_precision)\n"
        "print(b.cudnn.conv.fp32_precision, b.cuda.matmul.fp32_precision, b.fp32_precision)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "ieee ieee\ntf32 tf32 tf32\n", done.stderr
