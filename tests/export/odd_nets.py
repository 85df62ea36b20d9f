"""Odd nets, and what an export must say of each: `python tests/export/odd_nets.py` prints the table of docs/odd-nets.md.

Each is a factory as a user would write it (docs/your-own-model.md), for colour images of 16x16; weights are random. The
first part is sound and must be proven. The second is wrong, each in its own way, and must be refused.
"""

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

Forward = Callable[[nn.ModuleDict, Tensor], object]
Factory = Callable[[tuple[int, int, int], int], nn.Module]


class Net(nn.Module):
    """A net of some parts whose forward is `forward(parts, x)`; there is always a last layer `fc` of `width` inputs."""

    def __init__(self, forward: Forward, parts: dict[str, nn.Module], width: int, classes: int) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({**parts, "fc": nn.Linear(width, classes)})
        self.given = forward

    def forward(self, x):
        return self.given(self.parts, x)


def net(forward: Forward, width: int = 768, **parts: Callable[[], nn.Module]) -> Factory:
    """A factory of a Net whose parts are made by functions."""

    def factory(image_shape, classes):
        torch.manual_seed(0)
        return Net(forward, {name: make() for name, make in parts.items()}, width, classes)

    return factory


def layers(*make: Callable[[], nn.Module], width: int = 768) -> Factory:
    """A factory of a Sequential that ends in Flatten and Linear."""

    def factory(image_shape, classes):
        torch.manual_seed(0)
        return nn.Sequential(*(m() for m in make), nn.Flatten(), nn.Linear(width, classes))

    return factory


def conv(before: int = 3, after: int = 8, size: int = 3, **more: object) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, padding=size // 2, **more)


def pooled(x: Tensor) -> Tensor:
    return x.mean((2, 3))


# --- sound: an image's answer is its own --------------------------------------------------------------------------


class Attention(nn.Module):
    """A small vision transformer: patches, a class token, learned positions, two encoder layers."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 17, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.fc(self.encoder(x)[:, 0])


def shuffle(x: Tensor, groups: int) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, groups, c // groups, h, w).transpose(1, 2).reshape(b, c, h, w)


def windows(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Attention within windows of 4x4, whose number is merged with the batch, as in Swin."""
    x = p["conv"](x)
    b, c, h, w = x.shape
    x = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
    x = torch.softmax(x @ x.transpose(1, 2) / math.sqrt(c), -1) @ x
    return p["fc"](x.view(b, -1, 16, c).mean((1, 2)))


def top_values(p: nn.ModuleDict, x: Tensor) -> Tensor:
    return p["fc"](p["conv"](x).flatten(1).topk(12, dim=1).values)


def squeeze_excite(p: nn.ModuleDict, x: Tensor) -> Tensor:
    x = p["conv"](x)
    return p["fc"](pooled(x * torch.sigmoid(p["gate"](pooled(x)))[:, :, None, None]))


def own_contrast(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Each image is scaled by its own largest value."""
    return p["fc"]((x / x.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-3)).flatten(1))


def sampled(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """A spatial transformer: each image is turned and shifted by what the net sees in it."""
    moved = torch.tanh(p["where"](x.flatten(1))).view(-1, 2, 3) * 0.1
    grid = F.affine_grid(moved + torch.eye(2, 3), [x.shape[0], 3, 16, 16], align_corners=False)
    return p["fc"](F.grid_sample(x, grid, align_corners=False).flatten(1))


def picked(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Of eight channels each image takes the one that is largest in it, by an index for each image."""
    x = p["conv"](x)
    best = pooled(x).argmax(1)
    return p["fc"](x[torch.arange(x.shape[0]), best].flatten(1))


def unpooled(p: nn.ModuleDict, x: Tensor) -> Tensor:
    small, places = F.max_pool2d(x, 2, return_indices=True)
    return p["fc"](F.max_unpool2d(small, places, 2).flatten(1))


def in_place(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Changes what it was given: its own copy of it, since a normalised image is a new one."""
    x.mul_(0.5).clamp_(-1, 1)
    return p["fc"](x.flatten(1))


def last_state(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """A recurrent net over the rows of an image."""
    return p["fc"](p["rnn"](x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


def without_gradient(p: nn.ModuleDict, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = x / x.std((1, 2, 3), keepdim=True).clamp_min(0.1)
    return p["fc"](x.flatten(1))


def quantised(p: nn.ModuleDict, x: Tensor) -> Tensor:
    return p["fc"]((torch.round(x.clamp(-2, 2) * 8) / 8).flatten(1))


def covariance(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Bilinear pooling: the products of channels, summed over the places of an image."""
    x = p["conv"](x).flatten(2)
    return p["fc"](torch.einsum("bcp,bdp->bcd", x, x).flatten(1) / 256)


def fourier(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """The cosine part of a Fourier transform as a product of matrices, without complex numbers."""
    k = torch.arange(16.0)
    cosines = torch.cos(2 * math.pi * k[:, None] * k / 16)
    return p["fc"]((cosines @ x @ cosines / 16).flatten(1))


class Tied(nn.Module):
    """Two layers that share their weights."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.a, self.b, self.fc = nn.Linear(768, 32), nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, classes)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.fc(self.b(self.a(self.first(x.flatten(1))).relu()).relu())


class OneParameter(nn.Module):
    """A single number that is fitted; the scores are means of thirds of the image."""

    def __init__(self, image_shape, classes):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.classes = classes

    def forward(self, x):
        return self.scale * F.adaptive_avg_pool2d(x.mean(1), (1, self.classes)).flatten(1)


class Mixture(nn.Module):
    """Two experts, weighed by a gate for each image."""

    def __init__(self, image_shape, classes):
        super().__init__()
        torch.manual_seed(0)
        self.experts = nn.ModuleList([nn.Linear(768, classes), nn.Linear(768, classes)])
        self.gate = nn.Linear(768, 2)

    def forward(self, x):
        x = x.flatten(1)
        scores = torch.stack([expert(x) for expert in self.experts], 1)
        return (torch.softmax(self.gate(x), 1)[:, :, None] * scores).sum(1)


def scripted(image_shape, classes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), torch.jit.trace(nn.Linear(768, 16), torch.zeros(1, 768)), nn.Linear(16, classes))


def large_scores(image_shape, classes):
    """Scores of some ten thousands."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Flatten(), nn.Linear(768, 64), nn.ReLU(), nn.Linear(64, classes))
    with torch.no_grad():
        made[3].weight *= 1e5
    return made


def nothing_learnt(image_shape, classes):
    """All weights zero: each class has the same probability."""
    made = nn.Sequential(nn.Flatten(), nn.Linear(768, classes))
    for p in made.parameters():
        nn.init.zeros_(p)
    return made


def hundred_megabytes(image_shape, classes):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(768, 5000), nn.ReLU(), nn.Linear(5000, 4400), nn.ReLU(), nn.Linear(4400, classes)
    )


def deep(image_shape, classes):
    """A hundred layers, nested."""
    torch.manual_seed(0)
    made = nn.Sequential(nn.Flatten(), nn.Linear(768, 16))
    for _ in range(50):
        made = nn.Sequential(made, nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16)))
    return nn.Sequential(made, nn.Linear(16, classes))


class Undeepcopyable(nn.Sequential):
    """Cannot be copied."""

    def __deepcopy__(self, memo):
        raise RuntimeError("no copies")


def uncopied(image_shape, classes):
    torch.manual_seed(0)
    return Undeepcopyable(nn.Flatten(), nn.Linear(768, classes))


plain = layers()
attention = Attention
multihead = net(
    lambda p, x: p["fc"](p["a"](*[p["conv"](x).flatten(2).mT] * 3)[0].mean(1)),
    8, conv=conv, a=lambda: nn.MultiheadAttention(8, 2, batch_first=True),
)  # fmt: skip
scaled_dot_product = net(
    lambda p, x: p["fc"](F.scaled_dot_product_attention(*[p["conv"](x).flatten(2).mT.unflatten(2, (2, 4)).mT] * 3).mean((1, 3))),
    4, conv=conv,
)  # fmt: skip
window_attention = net(windows, 8, conv=conv)
einsum = net(lambda p, x: p["fc"](torch.einsum("bchw,bchv->bcwv", x, x).flatten(1)))
bilinear_pooling = net(covariance, 64, conv=conv)
top_k = net(top_values, 12, conv=conv)
sorted_values = net(lambda p, x: p["fc"](x.flatten(1).sort(1).values))
median = net(lambda p, x: p["fc"](x.flatten(2).sort(2).values[:, :, 128]), 3)
prelu = layers(conv, lambda: nn.PReLU(8), width=2048)
gelu = layers(conv, nn.GELU, conv_8 := lambda: conv(8), nn.SiLU, conv_8, nn.Hardswish, width=2048)
mish_and_others = layers(conv, nn.Mish, conv_8, nn.SELU, conv_8, nn.Softplus, conv_8, nn.ReLU6, conv_8, nn.CELU, width=2048)
glu = layers(conv, lambda: nn.GLU(1), width=1024)
pixel_shuffle = layers(lambda: conv(3, 12), lambda: nn.PixelShuffle(2), width=3072)
pixel_unshuffle = layers(lambda: nn.PixelUnshuffle(2), lambda: conv(12, 8), width=512)
channel_shuffle = net(lambda p, x: p["fc"](pooled(p["next"](shuffle(p["conv"](x), 2)))), 8, conv=conv, next=conv_8)
group_norm = layers(conv, lambda: nn.GroupNorm(2, 8), nn.ReLU, width=2048)
instance_norm = layers(conv, lambda: nn.InstanceNorm2d(8, affine=True), nn.ReLU, width=2048)
layer_norm = layers(conv, lambda: nn.LayerNorm([8, 16, 16]), width=2048)
rms_norm = net(lambda p, x: p["fc"](p["norm"](x.flatten(1))), norm=lambda: nn.RMSNorm(768))
local_response = layers(conv, lambda: nn.LocalResponseNorm(3), width=2048)
batch_norm = layers(conv, lambda: nn.BatchNorm2d(8), nn.ReLU, nn.Flatten, lambda: nn.BatchNorm1d(2048), width=2048)
depthwise = layers(lambda: conv(3, 12, groups=3), lambda: conv(12, 12, groups=12), lambda: conv(12, 8, 1), width=2048)
dilated = layers(lambda: nn.Conv2d(3, 8, 3, dilation=3, padding=3), width=2048)
transposed = layers(lambda: nn.ConvTranspose2d(3, 4, 2, stride=2), width=4096)
circular = layers(lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), width=1024)
reflected = layers(lambda: nn.ReflectionPad2d(2), width=1200)
volume = net(lambda p, x: p["fc"](p["c"](x[:, None]).flatten(1)), 1536, c=lambda: nn.Conv3d(1, 2, 3, padding=1))
sequence = net(lambda p, x: p["fc"](p["c"](x.flatten(2)).flatten(1)), 1024, c=lambda: nn.Conv1d(3, 4, 3, padding=1))
upsampled = layers(lambda: nn.Upsample(scale_factor=2, mode="bilinear"), lambda: nn.AvgPool2d(2))
cubic = net(lambda p, x: p["fc"](F.interpolate(x, (11, 7), mode="bicubic").flatten(1)), 231)
adaptive = layers(conv, lambda: nn.AdaptiveAvgPool2d((4, 2)), width=64)
power_pooling = layers(lambda: nn.LPPool2d(2, 2), width=192)
max_unpool = net(unpooled)
unfold = net(lambda p, x: p["fc"](F.unfold(x, 4, stride=4).flatten(1)))
fold = net(lambda p, x: p["fc"](F.fold(F.unfold(x, 4, stride=4), (16, 16), 4, stride=4).flatten(1)))
spatial_transformer = net(sampled, where=lambda: nn.Sequential(nn.Linear(768, 6)))
gather_by_image = net(picked, 256, conv=conv)
contrast_of_its_own = net(own_contrast)
standardised_without_gradient = net(without_gradient)
rounded = net(quantised)
gated = net(squeeze_excite, 8, conv=conv, gate=lambda: nn.Linear(8, 8))
mixture = Mixture
tied = Tied
weight_norm = net(lambda p, x: p["fc"](p["c"](x).flatten(1)), 2048, c=lambda: parametrizations.weight_norm(conv()))
spectral_norm = net(lambda p, x: p["fc"](p["c"](x).flatten(1)), 2048, c=lambda: parametrizations.spectral_norm(conv()))
gru = net(last_state, 16, rnn=lambda: nn.GRU(48, 16, batch_first=True))
lstm = net(last_state, 32, rnn=lambda: nn.LSTM(48, 16, batch_first=True, bidirectional=True))
one_parameter = OneParameter
dropout = layers(conv, nn.Dropout2d, nn.Dropout, lambda: nn.AlphaDropout(0.2), width=2048)
log_probabilities = net(lambda p, x: F.log_softmax(p["fc"](x.flatten(1)), 1))
channels_last = net(lambda p, x: p["fc"](p["c"](x.contiguous(memory_format=torch.channels_last)).flatten(1)), 2048, c=conv)
changed_in_place = net(in_place)
cumulated = net(lambda p, x: p["fc"](x.cumsum(2).cumsum(3).flatten(1) / 256))
flipped = net(lambda p, x: p["fc"](pooled(p["conv"](x) + p["conv"](x.flip(3).roll(1, 2)))), 8, conv=conv)
fourier_cosines = net(fourier)
distances = net(lambda p, x: -torch.cdist(x.flatten(1), p["fc"].weight))
cosines = net(lambda p, x: 10 * F.normalize(x.flatten(1)) @ F.normalize(p["fc"].weight).mT)
embedded = net(
    lambda p, x: p["fc"](p["e"]((x[:, 0, ::4, ::4] * 2).clamp(0, 7).long()).flatten(1)), 64, e=lambda: nn.Embedding(8, 4)
)
whole_loop = net(lambda p, x: p["fc"](torch.stack([row.mean(2) for row in x.unbind(2)], 2).flatten(1)), 48)
where = net(lambda p, x: p["fc"](torch.where(x > 0, x, 0.1 * x.square()).flatten(1)))


def half_inside(p: nn.ModuleDict, x: Tensor) -> Tensor:
    return p["fc"](x.half().relu().float().flatten(1))


float16_inside = net(half_inside)

# --- wrong --------------------------------------------------------------------------------------------------------


def flat(p: nn.ModuleDict, x: Tensor) -> Tensor:
    scores: Tensor = p["fc"](x.flatten(1))
    return scores


def late_rows(p: nn.ModuleDict, x: Tensor) -> Tensor:
    """Of the rows from 256 on each takes something of the first."""
    late = (torch.arange(x.shape[0]) >= 256)[:, None]
    scores = flat(p, x)
    return torch.where(late, scores + scores[:1], scores)


def late_rows_in_slices(p: nn.ModuleDict, x: Tensor) -> Tensor:
    scores = flat(p, x)
    return torch.cat([scores[:256], scores[256:] * 2])


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

    def __init__(self, image_shape, classes, *, kind="buffer"):
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
        return scores if before is None else scores + 0.1 * before


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
slices_at_256 = net(late_rows_in_slices)
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
through_numpy = net(lambda p, x: flat(p, torch.from_numpy(np.tanh(x.detach().numpy()))))
masked = net(lambda p, x: flat(p, x)[flat(p, x)[:, 0] > -1e9])
unique = net(lambda p, x: flat(p, x) + len(torch.unique(x)) * 1e-3)
eigenvalues = net(lambda p, x: flat(p, x) + torch.linalg.eigvalsh(x[:, 0] @ x[:, 0].mT)[:, :4])
fourier_complex = net(lambda p, x: flat(p, torch.fft.fft2(x).abs()))
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


def no_net(image_shape, classes):
    return lambda x: x


def nothing_to_train(image_shape, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, classes)), nn.Flatten())


# --- the runs, and the table --------------------------------------------------------------------------------------


def make_base(folder: Path):
    """Train a small model on 240 synthetic images for a run whose record the odd nets borrow; returns it and the data."""
    from clf_train import find_recipe, read_run, read_source
    from clf_train.recipe import change
    from clf_train.training import train

    random = np.random.default_rng(0)
    labels = np.arange(240) % 4
    images = random.integers(0, 160, (240, 3, 16, 16), dtype=np.uint8)
    images[np.arange(240), labels % 3, 4:12] += (20 * (1 + labels // 3)).astype(np.uint8)[:, None, None]
    np.savez(folder / "data.npz", images=images, labels=labels)
    dataset = read_source(str(folder / "data.npz"))
    train(dataset, {"simple": change(find_recipe("fast", "simple"), {"epochs": 1})}, folder / "base")
    return read_run(folder / "base"), dataset


def export_net(name: str, base, dataset, folder: Path) -> str:
    """Write a run folder of an odd net, with the weights that it is made with, and export it: `proven`, or the error."""
    from clf_export.exporting import export_run
    from clf_runtime.errors import ClfError
    from clf_train.models import build_model, count_parameters
    from clf_train.run import write_run

    model = f"{Path(__file__).stem}:{name}"
    place = folder / name
    place.mkdir()
    try:
        made = build_model(model, base.image_shape, len(base.names))
        write_run(place, replace(base, model=model, parameters=count_parameters(made), temperature=1.0), made)
        export_run(place, dataset, folder / f"{name}.onnx", own=model)
    except ClfError as error:
        if "\n" in str(error) or (folder / f"{name}.onnx").exists():
            raise AssertionError(f"{name}: not one line, or a file in spite of it: {error}") from error
        return str(error)
    return "proven"


def all_nets() -> list[str]:
    return [n for n in globals() if n in NAMES]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import odd_nets
    names = sys.argv[1:] or [n for n, v in vars(odd_nets).items() if callable(v) and n not in ("hundred_megabytes",) and not n.startswith("_") and n not in ("Net","net","layers","conv","pooled","Path","Callable","Sequence","Tensor","replace","Forward","Factory","make_base","export_net","all_nets","conv_8") and getattr(v,"__module__","")=="odd_nets"]
    with tempfile.TemporaryDirectory() as f:
        base, dataset = make_base(Path(f))
        for n in names:
            t=time.perf_counter()
            try:
                said = export_net(n, base, dataset, Path(f))
            except BaseException as e:
                if isinstance(e, KeyboardInterrupt): raise
                said = f"!!! {type(e).__name__}: {' '.join(str(e).split())[:200]}"
            print(f"{n:28s} {time.perf_counter()-t:5.1f} {said[:260]}", flush=True)
