"""The user's two training loops, hyperparameters and order of batches unchanged: the baseline for time and accuracy.

    python benchmarks/reference_loops.py TENSORS simple|conv [EPOCHS]

TENSORS holds train_data_2, train_labels_2, test_data_2, test_labels_2, written by torch.save. Prints a line per epoch:
seconds of training so far (evaluation not counted), loss of the last batch, test accuracy in evaluation mode.
"""

import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class Simple(nn.Module):
    def __init__(self, n_features: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(n_features, 256), nn.Linear(256, 128)
        self.fc3, self.fc4 = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.fc3(F.relu(self.fc2(F.relu(self.fc1(x))))))
        return F.log_softmax(self.fc4(x), dim=1)


def conv(n_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(n_channels, 16, 4),
        nn.BatchNorm2d(16),
        nn.ReLU(True),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(16, 8, 4),
        nn.BatchNorm2d(8),
        nn.ReLU(True),
        nn.AvgPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(200, 100),
        nn.ReLU(True),
        nn.Linear(100, 10),
    )


def main(folder: Path, which: str, longer: int | None = None) -> None:
    torch.manual_seed(0)
    train_x, train_y = torch.load(folder / "train_data_2"), torch.load(folder / "train_labels_2").long()
    test_x, test_y = torch.load(folder / "test_data_2"), torch.load(folder / "test_labels_2").long()
    if which == "simple":
        train_x, test_x = train_x.flatten(1), test_x.flatten(1)
        net, lr, epochs, batch = Simple(3072), 0.1, 20, 100
    else:
        net, lr, epochs, batch = conv(3), 0.01, 10, 25
    loss_function, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), lr=lr)
    seconds = 0.0
    for epoch in range(1, (longer or epochs) + 1):
        net.train()
        start = time.perf_counter()
        for i in range(0, len(train_x), batch):
            net.zero_grad()
            loss = loss_function(net(train_x[i : i + batch]), train_y[i : i + batch])
            loss.backward()
            optimizer.step()
        seconds += time.perf_counter() - start
        net.eval()
        with torch.no_grad():
            accuracy = (net(test_x).argmax(1) == test_y).float().mean().item()
        print(
            f"{which} epoch {epoch} train_seconds {seconds:.2f} loss {loss.item():.3f} test_accuracy {accuracy:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
