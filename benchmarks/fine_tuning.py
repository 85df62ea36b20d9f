"""Whether small steps through the last blocks of the pretrained model do better than its fitted head alone, in folds.

    python benchmarks/fine_tuning.py FOLDER [--times 3] [--epochs 9] [--rate 1e-4] [--mirror]

FOLDER holds class-named folders of pictures. In each of five folds, some times with other seeds, the head is fitted as
`clf-train` does it, then AdamW takes steps through the last five blocks and the head, with batch norm as it was; both
are tested on the fold that neither had. What the blocks below give is computed once for each picture, and for its
mirror image with --mirror. The last line is JSON: the accuracies of both, and the standard deviation of their
difference from one time of five folds to another.
"""

import argparse
import json

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clf_runtime.model.geometry import FITS, USUAL, Geometry
from clf_train import read_source
from clf_train.data.normalisation import Normalisation
from clf_train.loop.head import folds, regress
from clf_train.models.recipe import learning_rate
from clf_train.models.registry import build_model, find_architecture, find_recipe

FIRST = 11  # of sixteen blocks, the first that is trained
BATCH = 16


def below(net: nn.Module, images: Tensor) -> Tensor:
    """Images [B, C, H, W] → what the first trained block is given, [B, 112, H/16, W/16]."""
    return net.blocks[:FIRST](net.stem(images.contiguous(memory_format=torch.channels_last)))


class Above(nn.Module):
    """The net above `below`: its `features` take that in place of images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        net.stem, net.blocks = nn.Identity(), net.blocks[FIRST:]

    def forward(self, x: Tensor) -> Tensor:
        """[B, 112, H/16, W/16] → [B, F]."""
        return self.net.features(x)


def fresh(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A net with the pretrained weights, in evaluation mode."""
    net = build_model("efficientnet_lite0", shape, classes)
    find_architecture("efficientnet_lite0").load(net)
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--fit", choices=FITS, default=USUAL.fit)
    parser.add_argument("--side", type=int, default=224)
    options = parser.parse_args()
    read = read_source(
        options.folder, size=(options.side, options.side), geometry=Geometry(options.fit), undivided=True
    )
    y, classes = read.train.labels, len(read.names)
    architecture = find_architecture("efficientnet_lite0")
    normalise = Normalisation(*architecture.pretrained.normalisation(read.value_range, read.image_shape[0]))
    net = fresh(read.image_shape, classes)
    with torch.inference_mode():
        images = torch.from_numpy(read.train.images)
        views = [images, images.flip(3)] if options.mirror else [images]
        lower = torch.stack([torch.cat([below(net, normalise(b)) for b in view.split(BATCH)]) for view in views])
    lower = lower.clone()  # out of inference mode, for the steps
    heads, tuned = [], []
    for seed in range(options.times):
        fold = folds(y, 5, 1000 + seed)
        counts = np.zeros(2)
        for i in range(5):
            rows, others = np.flatnonzero(fold != i), np.flatnonzero(fold == i)
            counts += tested(fresh(read.image_shape, classes), lower, y, rows, others, seed, options)
        heads.append(100 * counts[0] / len(y))
        tuned.append(100 * counts[1] / len(y))
        print(f"seed {seed}: head alone {heads[-1]:.2f} %, fine-tuned {tuned[-1]:.2f} %", flush=True)
    apart = np.subtract(tuned, heads)
    print(
        json.dumps(
            {
                "head": np.mean(heads),
                "fine_tuned": np.mean(tuned),
                "difference": apart.mean(),
                "deviation": apart.std(ddof=1) if len(apart) > 1 else None,
                "times": options.times,
                "images": len(y),
            }
        )
    )


def tested(
    net: nn.Module,
    lower: Tensor,
    labels: np.ndarray,
    rows: np.ndarray,
    others: np.ndarray,
    seed: int,
    options: argparse.Namespace,
) -> np.ndarray:
    """How many of the `others` are classified correctly by the head alone, and after the steps."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    above, y = Above(net), torch.from_numpy(labels)

    def features(which: np.ndarray) -> Tensor:
        with torch.no_grad():
            return torch.cat([above(lower[0, part]) for part in torch.from_numpy(which).split(BATCH)])

    found = regress(features(rows).double().numpy(), labels[rows], int(labels.max()) + 1, seed)
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(found.weight))
        net.head.bias.copy_(torch.from_numpy(found.bias))

    def right() -> int:
        with torch.no_grad():
            return int((net.head(features(others)).argmax(1) == y[others]).sum())

    alone = right()
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=0.01)
    cycle = find_recipe("best", "conv")  # its schedule alone: up and down once
    batches = [
        b for _ in range(options.epochs) for b in np.array_split(random.permutation(rows), -(-len(rows) // BATCH))
    ]
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = options.rate * learning_rate(cycle, step / len(batches)) / cycle.learning_rate
        view = torch.from_numpy(random.integers(len(lower), size=len(batch)))
        loss = F.cross_entropy(net.head(above(lower[view, torch.from_numpy(batch)])), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.array([alone, right()])


if __name__ == "__main__":
    main()
