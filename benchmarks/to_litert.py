"""A run as a LiteRT file, for comparison in runtime.py: uint8 images in, probabilities out, like our file.

    python benchmarks/to_litert.py RUN MODEL.tflite

It needs litert-torch (pip install litert-torch), which clf-edge does not install.
"""

import sys
from pathlib import Path

import litert_torch
import torch
from torch import Tensor, nn

from clf_train.runs.run import load_net, read_run


class Whole(nn.Module):
    """Normalisation, net, and softmax: uint8 [B, C, H, W] → float32 [B, K]."""

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], temperature: float) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.net((x.float() - self.mean) / self.std) / self.temperature, 1)


def main(folder: Path, file: Path) -> None:
    run = read_run(folder)
    net = load_net(folder, run).eval()
    whole = Whole(net, run.normalisation.mean, run.normalisation.std, run.temperature).eval()
    images = torch.zeros(1, *run.image_shape, dtype=torch.uint8)
    litert_torch.convert(whole, (images,)).export(str(file))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
