"""Odd nets, and what an export must say of each; run as a script it prints the table of docs/odd-nets.md.

Each is a factory as a user would write it (docs/your-own-model.md), for colour images of 16x16; weights are random. The
first part is sound and must be proven. The second is wrong, each in its own way, and must be refused.
"""

import math
import re
import sys
import tempfile
from collections.abc import Callable
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
        self.first, self.a, self.b, self.fc = (
            nn.Linear(768, 32),
            nn.Linear(32, 32),
            nn.Linear(32, 32),
            nn.Linear(32, classes),
        )
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
mish_and_others = layers(
    conv, nn.Mish, conv_8, nn.SELU, conv_8, nn.Softplus, conv_8, nn.ReLU6, conv_8, nn.CELU, width=2048
)
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
channels_last = net(
    lambda p, x: p["fc"](p["c"](x.contiguous(memory_format=torch.channels_last)).flatten(1)), 2048, c=conv
)
changed_in_place = net(in_place)
smallest_of_each = net(lambda p, x: flat(p, x - x.amin((1, 2, 3), keepdim=True)))
position_grid = net(
    lambda p, x: p["fc"](pooled(p["conv"](torch.cat([x, torch.linspace(-1, 1, 16).expand(x.shape[0], 1, 16, 16)], 1)))),
    8,
    conv=lambda: conv(4),
)
flat_indices = net(
    lambda p, x: p["fc"](
        x.flatten(2).reshape(-1, 256)[torch.arange(x.shape[0]) * 3 + x.mean((2, 3)).argmax(1)].flatten(1)
    ),
    256,
)
repeated = net(
    lambda p, x: p["fc"](pooled(p["conv"](x.repeat_interleave(2, 0))).view(x.shape[0], 2, 8).mean(1)), 8, conv=conv
)
crops = net(
    lambda p, x: p["fc"](
        pooled(p["conv"](torch.cat([x[..., :12, :12], x[..., 4:, 4:]]))).unflatten(0, (2, x.shape[0])).mean(0)
    ),
    8,
    conv=conv,
)
chunks = net(lambda p, x: p["fc"](torch.cat([part.relu() for part in x.chunk(3, 1)], 1).flatten(1)))
norm_without_means = net(lambda p, x: flat(p, F.normalize(x, dim=1)))
straight_through = net(lambda p, x: flat(p, x + (x.sign() - x).detach()))
hot_classes = net(lambda p, x: flat(p, x) + F.one_hot(flat(p, x).argmax(1), 4))
triangle = net(lambda p, x: flat(p, x.tril() + x.triu(1) * 2))
masked_attention = net(
    lambda p, x: p["fc"](
        F.scaled_dot_product_attention(*[p["conv"](x).flatten(2).mT[:, None]] * 3, is_causal=True).mean((1, 2))
    ),
    8,
    conv=conv,
)
whole_amin = net(
    lambda p, x: flat(p, x - torch.stack([x[:, c].flatten(1).amin(1) for c in range(3)], 1)[:, :, None, None])
)
logsumexp = net(lambda p, x: flat(p, x.exp().cumsum(3).log()))
cumulated = net(lambda p, x: p["fc"](x.cumsum(2).cumsum(3).flatten(1) / 256))
flipped = net(lambda p, x: p["fc"](pooled(p["conv"](x) + p["conv"](x.flip(3).roll(1, 2)))), 8, conv=conv)
fourier_cosines = net(fourier)
distances = net(lambda p, x: -torch.cdist(x.flatten(1), p["fc"].weight))
cosines = net(lambda p, x: 10 * F.normalize(x.flatten(1)) @ F.normalize(p["fc"].weight).mT)
embedded = net(
    lambda p, x: p["fc"](p["e"]((x[:, 0, ::4, ::4] * 2).clamp(0, 7).long()).flatten(1)),
    64,
    e=lambda: nn.Embedding(8, 4),
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


whole_minimum = net(lambda p, x: flat(p, x) + 0 * x.amin().clamp(0, 0))


def no_net(image_shape, classes):
    return lambda x: x


def softmax_at_the_end(image_shape, classes):
    """Exported, with a hint: a softmax of a softmax is never sure."""
    return nn.Sequential(plain(image_shape, classes), nn.Softmax(1))


def nothing_to_train(image_shape, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d((1, classes)), nn.Flatten())


# --- what must be said of each ------------------------------------------------------------------------------------

# fmt: off
SOUND = (
    "plain", "attention", "multihead", "scaled_dot_product", "window_attention", "einsum", "bilinear_pooling",
    "top_k", "sorted_values", "median", "prelu", "gelu", "mish_and_others", "glu", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "group_norm", "instance_norm", "layer_norm", "rms_norm", "local_response", "batch_norm",
    "depthwise", "dilated", "transposed", "circular", "reflected", "volume", "sequence", "upsampled", "cubic",
    "adaptive", "power_pooling", "max_unpool", "unfold", "fold", "spatial_transformer", "gather_by_image",
    "contrast_of_its_own", "standardised_without_gradient", "rounded", "gated", "mixture", "tied", "weight_norm",
    "spectral_norm", "gru", "lstm", "one_parameter", "dropout", "log_probabilities", "channels_last",
    "changed_in_place", "smallest_of_each", "position_grid", "flat_indices", "repeated", "crops", "chunks",
    "norm_without_means", "straight_through", "hot_classes", "triangle", "masked_attention", "whole_amin",
    "logsumexp", "cumulated", "flipped", "fourier_cosines", "cosines", "embedded", "whole_loop", "where",
    "float16_inside", "scripted", "large_scores", "nothing_learnt", "hundred_megabytes", "deep", "uncopied",
    "through_numpy", "fourier_complex", "softmax_at_the_end",
)
# fmt: on
NEIGHBOURS = "the net answers an image by the others of its batch"
AGAIN = "the net answers the same image otherwise when it is asked again"
NAN = "the net gives NaN or infinite scores"
COUNT = "depends on the number of images, and a graph does always the same"
PLAIN = "can be translated for a batch of 2 only"
WRONG = {
    "max_of_batch": NEIGHBOURS,
    "max_before_conv": NEIGHBOURS,
    "min_of_batch": NEIGHBOURS,
    "mean_of_batch": NEIGHBOURS,
    "mean_of_all": NEIGHBOURS,
    "std_of_batch": NEIGHBOURS,
    "norm_of_batch": NEIGHBOURS,
    "detached_max": NEIGHBOURS,
    "leak_without_gradient": NEIGHBOURS,
    "saturated_leak": NEIGHBOURS,
    "median_of_batch": NEIGHBOURS,
    "cumsum_over_batch": NEIGHBOURS,
    "sorted_batch": NEIGHBOURS,
    "sorted_by_brightness": NEIGHBOURS,
    "rolled_batch": NEIGHBOURS,
    "flipped_batch": NEIGHBOURS,
    "products_of_rows": NEIGHBOURS,
    "softmax_over_batch": NEIGHBOURS,
    "top_k_of_batch": NEIGHBOURS,
    "most_frequent": NEIGHBOURS,
    "channels_as_batch": NEIGHBOURS,
    "first_row": NEIGHBOURS,
    "last_row": NEIGHBOURS,
    "next_row": NEIGHBOURS,
    "conv_over_batch": NEIGHBOURS,
    "attention_over_batch": NEIGHBOURS,
    "lstm_over_batch": NEIGHBOURS,
    "batch_norm_as_in_training": NEIGHBOURS,
    "functional_batch_norm": NEIGHBOURS,
    "rows_from_256": NEIGHBOURS,
    "slices_at_256": NEIGHBOURS,
    "slices_at_5000": "cannot tell that the net gives one row of scores an image",
    "all_but_the_last": NEIGHBOURS,
    "late_rows_changed": COUNT,
    "branch_at_100": NEIGHBOURS,
    "branch_at_1": NEIGHBOURS,
    "branch_at_5": COUNT,
    "branch_at_5000": COUNT,
    "length_as_number": PLAIN,
    "even_and_odd": NEIGHBOURS,
    "by_number_of_values": NEIGHBOURS,
    "divided_by_batch": NEIGHBOURS,
    "at_most_100": NEIGHBOURS,
    "checked_batch": COUNT,
    "row_number": NEIGHBOURS,
    "loop_over_images": PLAIN,
    "random_dropout": AGAIN,
    "random_noise": AGAIN,
    "random_number": AGAIN,
    "remembers": AGAIN,
    "counts": AGAIN,
    "counts_in_python": AGAIN,
    "keeps_the_last": AGAIN,
    "decides_by_values": NEIGHBOURS,
    "item": NEIGHBOURS,
    "masked": "cannot tell that the net gives one row of scores an image",
    "unique": NEIGHBOURS,
    "eigenvalues": r"there is no ONNX for aten\._linalg_eigh\.default$",
    "float64": "gives float64 .*wanted: logits, float32",
    "float64_inside": r"it has no Conv of float64: forward\(\) must compute in float32",
    "float16": "gives float16 ",
    "bfloat16": "gives bfloat16 ",
    "integers": "gives int64 ",
    "complex_scores": "gives complex64 ",
    "wrong_width": r"gives float32 \[2, 2\]",
    "one_score": r"gives float32 \[2\]",
    "four_axes": r"gives float32 \[2, 4, 16, 16\]",
    "a_pair": "gives tuple",
    "a_dict": "gives dict",
    "a_list": "gives list",
    "nan_weight": NAN,
    "nan_for_flat_images": NAN,
    "raises": r"fails on images of .*odd_nets\.py, line \d+\)",
    "distances": r"there is no ONNX for aten\._cdist_forward\.default$",
    "no_net": "gave a function",
    "nothing_to_train": "has no parameters to train",
    "whole_minimum": r"the exporter fails at aten\.amin\.default: Required parameter .dim. is not provided\.$",
}


def make_base(folder: Path):
    """Train a small model on 240 synthetic images, for a run whose record odd nets borrow; returns it and the data."""
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
    """Write a run folder of an odd net with the weights that it is made with, and export it: `proven`, or the error."""
    from clf_export.exporting import export_run
    from clf_runtime.errors import ClfError
    from clf_train.models import build_model, count_parameters
    from clf_train.run import write_run

    model, place, file = f"odd_nets:{name}", folder / name, folder / f"{name}.onnx"
    place.mkdir()
    try:
        made = build_model(model, base.image_shape, len(base.names))
        write_run(place, replace(base, model=model, parameters=count_parameters(made), temperature=1.0), made)
        export_run(place, dataset, file, own=model)
    except ClfError as error:
        said = str(error)
    else:
        said = "proven"
    assert "\n" not in said
    assert file.exists() == (said == "proven")
    return said


def as_expected(name: str, said: str) -> bool:
    """Whether an export said of a net what it must."""
    return said == "proven" if name in SOUND else re.search(WRONG[name], said) is not None


def main() -> int:
    """Export the nets that are named, or all, and print a table; 1 if something else was said than expected."""
    wrong = 0
    print("| net | what the export says |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        base, dataset = make_base(Path(folder))
        for name in sys.argv[1:] or (*SOUND, *WRONG):
            said = export_net(name, base, dataset, Path(folder))
            wrong += not as_expected(name, said)
            print(f"| `{name}` | {said}{'' if as_expected(name, said) else ' **UNEXPECTED**'} |", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
