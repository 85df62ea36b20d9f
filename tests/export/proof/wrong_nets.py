"""Nets that are wrong, each in its own way: an export must refuse them. Factories as in sound_nets."""

import math

import torch
import torch.nn.functional as F
from odd_parts import conv, flat, net
from sound_nets import plain
from torch import Tensor, nn


def late_rows(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Of the rows from 256 on each takes something of the first."""
    late = (torch.arange(x.shape[0]) >= 256)[:, None]
    scores = flat(p, x)
    return torch.where(late, scores + scores[:1], scores)


def changes_late_rows(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Writes into the rows from 5000 on: more than any batch of the proof has."""
    scores = flat(p, x).clone()
    scores[5000:] = scores[5000:] * 2
    return scores


def silent_leak(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """A leak that no gradient shows, and that changes answers by little."""
    with torch.no_grad():
        brightest = x.amax()
    return flat(p, x) + 1e-5 * brightest * torch.arange(4.0)


def saturated(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """A leak into scores so far apart that probabilities hardly show it."""
    return 100 * torch.tensor([3.0, 2.0, 1.0, 0.0]) + flat(p, x) + x.mean()


class BatchNormAsInTraining(nn.Module):
    """Normalises by the statistics of the batch, in evaluation mode too."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = conv(), nn.BatchNorm2d(8, track_running_stats=False)
        self.fc = nn.Linear(2048, classes)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).flatten(1))


class Remembers(nn.Module):
    """Keeps a running mean of what it has seen, and subtracts it."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(768, classes)
        self.register_buffer("mean", torch.zeros(768))

    def forward(self, x):
        x = x.flatten(1)
        self.mean.mul_(0.9).add_(0.1 * x.mean(0).detach())
        return self.fc(x - self.mean)


class Counts(nn.Module):
    """Counts its calls in a buffer, and doubles its scores with each."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(768, classes)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, x):
        self.calls += 1
        return self.fc(x.flatten(1)) * (1 + 0.01 * self.calls)


class CountsInPython(nn.Module):
    """Counts its calls in a plain attribute, and answers otherwise from the tenth on."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(768, classes)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.fc(x.flatten(1)) * (2 if self.calls > 10 else 1)


class KeepsTheLast(nn.Module):
    """Adds something of the batch before."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(768, classes)
        self.last = None

    def forward(self, x):
        scores = self.fc(x.flatten(1))
        before, self.last = self.last, scores.detach().mean()
        return scores if before is None else scores + 0.1 * before * torch.arange(scores.shape[1])


class InDouble(nn.Module):
    """Computes in float64, and gives float64 or, if `back`, float32."""

    def __init__(self, image_shape, classes, back=False):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(conv(), nn.ReLU(), nn.Flatten(), nn.Linear(2048, classes)).double()
        self.back = back

    def forward(self, x):
        scores = self.net(x.double())
        return scores.float() if self.back else scores


def double_inside(image_shape, classes):
    return InDouble(image_shape, classes, back=True)


def not_a_number(image_shape, classes):
    made = plain(image_shape, classes)
    with torch.no_grad():
        made[1].weight[0, 0] = math.nan
    return made


def fails(p: nn.ModuleDict, x: Tensor) -> Tensor:
    return p["fc"](x.flatten(2))


def flattened_batches(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Sorts its images by brightness, and forgets to undo it."""
    return flat(p, x[x.mean((1, 2, 3)).argsort()])


max_of_batch = net(lambda p, x: flat(p, x / x.abs().max()))
max_before_conv = net(lambda p, x: p["fc"](p["conv"](x / x.max()).flatten(1)), 2048, conv=conv)
min_of_batch = net(lambda p, x: flat(p, x - x.amin()))
mean_of_batch = net(lambda p, x: flat(p, x - x.mean(0, keepdim=True)))
mean_of_all = net(lambda p, x: flat(p, x - x.mean()))
std_of_batch = net(lambda p, x: flat(p, x / x.std()))
norm_of_batch = net(lambda p, x: flat(p, x / x.norm()))
detached_max = net(lambda p, x: flat(p, x / x.detach().amax()))
leak_without_gradient = net(silent_leak)
saturated_leak = net(saturated)
median_of_batch = net(lambda p, x: flat(p, x - x.flatten().sort().values[0]))
cumsum_over_batch = net(lambda p, x: flat(p, x).cumsum(0))
sorted_batch = net(lambda p, x: flat(p, x).sort(0).values)
sorted_by_brightness = net(flattened_batches)
rolled_batch = net(lambda p, x: flat(p, x.roll(1, 0)))
flipped_batch = net(lambda p, x: flat(p, x.flip(0)))
products_of_rows = net(lambda p, x: torch.softmax(x.flatten(1) @ x.flatten(1).T, 1) @ flat(p, x))
softmax_over_batch = net(lambda p, x: torch.softmax(flat(p, x), 0) * 5)
top_k_of_batch = net(lambda p, x: flat(p, x) - flat(p, x).topk(1, dim=0).values)
most_frequent = net(lambda p, x: flat(p, x) + 0.1 * F.one_hot(flat(p, x).argmax(1), 4).float().mean(0))
channels_as_batch = net(lambda p, x: flat(p, x.transpose(0, 1).reshape(x.shape)))
first_row = net(lambda p, x: flat(p, x) + 0.01 * flat(p, x[:1]))
last_row = net(lambda p, x: flat(p, x) + 0.01 * flat(p, x[-1:]))
next_row = net(lambda p, x: flat(p, x + 0.1 * torch.cat([x[1:], x[:1]])))
conv_over_batch = net(lambda p, x: p["c"](flat(p, x).T[None])[0].T, c=lambda: nn.Conv1d(4, 4, 3, padding=1))
attention_over_batch = net(
    lambda p, x: p["fc"](p["a"](*[x.flatten(1)] * 3)[0]), a=lambda: nn.MultiheadAttention(768, 2)
)
lstm_over_batch = net(lambda p, x: p["fc"](p["rnn"](x.flatten(1))[0]), 16, rnn=lambda: nn.LSTM(768, 16))
batch_norm_as_in_training = BatchNormAsInTraining
functional_batch_norm = net(lambda p, x: flat(p, F.batch_norm(x, None, None, training=True)))
rows_from_256 = net(late_rows)
slices_at_256 = net(lambda p, x: torch.cat([flat(p, x[:256]), flat(p, x[256:]) * 2]))
slices_at_5000 = net(lambda p, x: torch.cat([flat(p, x[:5000]), flat(p, x[5000:]) * 2]))
all_but_the_last = net(lambda p, x: torch.cat([flat(p, x[:-1]), flat(p, x[-1:]) * 2]))
late_rows_changed = net(changes_late_rows)
branch_at_100 = net(lambda p, x: flat(p, x) * (2 if x.shape[0] >= 100 else 1))
branch_at_1 = net(lambda p, x: flat(p, x) * (2 if x.shape[0] == 1 else 1))
branch_at_5 = net(lambda p, x: flat(p, x) * (2 if x.shape[0] == 5 else 1))
branch_at_5000 = net(lambda p, x: flat(p, x) * (2 if x.shape[0] > 5000 else 1))
length_as_number = net(lambda p, x: flat(p, x) + torch.zeros(len(x), 1))
even_and_odd = net(lambda p, x: flat(p, x) * (2 if x.shape[0] % 2 else 1))
by_number_of_values = net(lambda p, x: flat(p, x) * (2 if x.numel() > 100_000 else 1))
divided_by_batch = net(lambda p, x: flat(p, x) / x.shape[0])
at_most_100 = net(lambda p, x: flat(p, x) * min(x.shape[0], 100))
checked_batch = net(lambda p, x: (torch._check(x.shape[0] < 1000), flat(p, x))[1])
row_number = net(lambda p, x: flat(p, x) + 0.01 * torch.arange(x.shape[0])[:, None] * torch.arange(4.0))
loop_over_images = net(lambda p, x: torch.stack([flat(p, image[None])[0] for image in x]))
random_dropout = net(lambda p, x: flat(p, F.dropout(x, 0.2, training=True)))
random_noise = net(lambda p, x: flat(p, x + 0.1 * torch.randn_like(x)))
random_number = net(lambda p, x: flat(p, x) * torch.rand(()))
remembers = Remembers
counts = Counts
counts_in_python = CountsInPython
keeps_the_last = KeepsTheLast
decides_by_values = net(lambda p, x: flat(p, x) if x.mean() > 0 else 2 * flat(p, x))
item = net(lambda p, x: flat(p, x) * x.max().item())
masked = net(lambda p, x: flat(p, x)[flat(p, x)[:, 0] > -1e9])
unique = net(lambda p, x: flat(p, x) + len(torch.unique(x)) * 1e-3 * torch.arange(4))
eigenvalues = net(lambda p, x: flat(p, x) + torch.linalg.eigvalsh(x[:, 0] @ x[:, 0].mT)[:, :4])
float64 = InDouble
float64_inside = double_inside
float16 = net(lambda p, x: flat(p, x).half())
bfloat16 = net(lambda p, x: flat(p, x).bfloat16())
integers = net(lambda p, x: (flat(p, x) * 100).long())
complex_scores = net(lambda p, x: torch.complex(flat(p, x), flat(p, x)))
wrong_width = net(lambda p, x: flat(p, x)[:, :2])
one_score = net(lambda p, x: flat(p, x)[:, 0])
four_axes = net(lambda p, x: p["conv"](x), conv=lambda: conv(3, 4))
a_pair = net(lambda p, x: (flat(p, x), x))
a_dict = net(lambda p, x: {"logits": flat(p, x)})
a_list = net(lambda p, x: flat(p, x).tolist())
nan_weight = not_a_number
nan_for_flat_images = net(lambda p, x: flat(p, (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)))
raises = net(fails)


whole_minimum = net(lambda p, x: flat(p, x) + 0 * x.amin().clamp(0, 0))


def no_net(image_shape, classes):
    return lambda x: x


def nothing_to_train(image_shape, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, classes)), nn.Flatten())


distances = net(lambda p, x: -torch.cdist(x.flatten(1), p["fc"].weight))


def _strongest_edges(x):
    return (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3)).max()


# Beside images of high contrast only.
leak_of_contrast = net(lambda parts, x: parts["fc"](x.flatten(1)) + _strongest_edges(x).sub(2).relu() * torch.arange(4))
gain_of_contrast = net(lambda parts, x: parts["fc"]((x / (x.flatten(1).std(1).max() / 2).clamp(min=1)).flatten(1)))


@torch.no_grad()
def _hidden_leak(x):
    return (_strongest_edges(x) - 1.2).relu()


# All scores are large, so that a change which turns the answer is a small part of them.
leak_below_an_offset = net(
    lambda parts, x: parts["fc"](x.flatten(1)) + 1000 + _hidden_leak(x) * torch.tensor([3.0, -3.0, 1.0, 0.0])
)
