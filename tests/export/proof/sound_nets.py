"""Odd nets whose answers are as they should be: an export must prove them.

Each is a factory as a user would write it (docs/your-own-model.md), for colour images of 16x16; weights are random.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from odd_parts import conv, flat, layers, net, pooled
from torch import Tensor, nn
from torch.nn.utils import parametrizations


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


def two_heads(p: nn.ModuleDict, x: Tensor) -> Tensor:
    x = p["conv"](x).flatten(2).mT.unflatten(2, (2, 4)).mT
    return p["fc"](F.scaled_dot_product_attention(x, x, x).mean((1, 3)))


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
scaled_dot_product = net(two_heads, 4, conv=conv)
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
through_numpy = net(lambda p, x: flat(p, torch.from_numpy(np.tanh(x.detach().numpy()))))
fourier_complex = net(lambda p, x: flat(p, torch.fft.fft2(x).abs()))


def softmax_at_the_end(image_shape, classes):
    """Exported, with a hint: a softmax of a softmax is never sure."""
    return nn.Sequential(plain(image_shape, classes), nn.Softmax(1))
