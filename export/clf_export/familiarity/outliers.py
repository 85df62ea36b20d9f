"""Images that are of no class, made from those of the training: what a familiarity is fitted against.

Shuffled patches, blends and pasted parts keep an image's colours and textures without its object; frames, strokes,
waves and noise stand for covered lenses, signs and broken sensors. After Hendrycks et al., 2019, "Deep anomaly
detection with outlier exposure" (https://arxiv.org/abs/1812.04606), but without other people's images.

Letters in shapes: N images, C channels, H height, W width. Values are float32 in 0..1 inside, with black at 0.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

Random = np.random.Generator
Maker = Callable[[np.ndarray, Random], np.ndarray]


def make_outliers(images: np.ndarray, value_range: tuple[float, float], kind: str, random: Random) -> np.ndarray:
    """Outliers of one of `KINDS`, one for each image [N, C, H, W], in their dtype and range."""
    low, high = value_range
    scaled = (images.astype(np.float32) - low) / (high - low)
    made = np.clip(KINDS[kind](scaled, random), 0, 1) * (high - low) + low
    return (np.rint(made) if images.dtype == np.uint8 else made).astype(images.dtype)


def _shuffled(parts: int) -> Maker:
    def make(x: np.ndarray, random: Random) -> np.ndarray:
        """The parts x parts patches of each image, in another order; a rest at the edge stays."""
        count, channels, height, width = x.shape
        h, w = max(1, height // parts), max(1, width // parts)
        down, across = height // h, width // w
        patches = x[:, :, : down * h, : across * w].reshape(count, channels, down, h, across, w)
        patches = patches.transpose(0, 2, 4, 1, 3, 5).reshape(count, down * across, channels, h, w)
        order = random.random((count, down * across)).argsort(axis=1)
        same = (order == np.arange(down * across)).all(axis=1)
        order[same] = np.roll(order[same], 1, axis=1)
        patches = np.take_along_axis(patches, order[:, :, None, None, None], axis=1)
        out = x.copy()
        whole = patches.reshape(count, down, across, channels, h, w).transpose(0, 3, 1, 4, 2, 5)
        out[:, :, : down * h, : across * w] = whole.reshape(count, channels, down * h, across * w)
        return out

    return make


def _blend(x: np.ndarray, random: Random) -> np.ndarray:
    """The mean of two images."""
    return np.asarray((x + others(x, random)) / 2)


def _tiles(x: np.ndarray, random: Random) -> np.ndarray:
    """Four small copies of each image."""
    half = x[:, :, ::2, ::2]
    return np.tile(half, (1, 1, 2, 2))[:, :, : x.shape[2], : x.shape[3]]


def _part_on(ground: Literal["white", "plain", "image"]) -> Maker:
    def make(x: np.ndarray, random: Random) -> np.ndarray:
        """An ellipse of each image on white, on a colour, or on another image."""
        inside = _ellipse(x, random, 0.2, 0.45)
        if ground == "image":
            return np.where(inside, x, others(x, random))
        return np.where(inside, x, 1.0 if ground == "white" else _colour(x, random))

    return make


def _strokes(x: np.ndarray, random: Random) -> np.ndarray:
    """A few bars, or a ring, in one colour on another: letters, signs, chess pieces."""
    down, across = _grid(x)
    ink = np.zeros((len(x), 1, *x.shape[2:]), bool)
    for _ in range(4):
        angle, side = _uniform(x, random, 0, np.pi), _uniform(x, random, -0.35, 0.35)
        along = across * np.cos(angle) + down * np.sin(angle) - side
        beside = down * np.cos(angle) - across * np.sin(angle) - _uniform(x, random, -0.2, 0.2)
        width, length = _uniform(x, random, 0.02, 0.09), _uniform(x, random, 0.1, 0.45)
        ink |= (np.abs(along) < width) & (np.abs(beside) < length)
    ring = _ellipse(x, random, 0.2, 0.4) ^ _ellipse(x, random, 0.15, 0.3)
    ink = np.where(_uniform(x, random, 0, 1) < 0.3, ring, ink)
    dark = _colour(x, random) * (_uniform(x, random, 0, 1) < 0.4)
    paper = np.where(_uniform(x, random, 0, 1) < 0.6, 1, _colour(x, random))
    return np.where(ink, dark, paper)


def _plain(x: np.ndarray, random: Random) -> np.ndarray:
    """One colour, with a little noise."""
    return np.asarray(_colour(x, random) + _noise(x, random, 0, 0.02))


def _gradient(x: np.ndarray, random: Random) -> np.ndarray:
    """A colour that changes evenly over the frame."""
    down, across = _grid(x)
    angle = _uniform(x, random, 0, 2 * np.pi)
    slope = random.uniform(-0.8, 0.8, (len(x), x.shape[1], 1, 1))
    return np.asarray(
        _colour(x, random) + slope * (np.cos(angle) * down + np.sin(angle) * across) + _noise(x, random, 0, 0.025)
    )


def _dark(x: np.ndarray, random: Random) -> np.ndarray:
    """Each image through a covered lens: almost black, with the sensor's noise."""
    return np.asarray(x * _uniform(x, random, 0, 0.08) + _uniform(x, random, 0, 0.06) + _noise(x, random, 0, 0.025))


def _pure_noise(x: np.ndarray, random: Random) -> np.ndarray:
    """Noise: uniform, or around a colour."""
    around = _colour(x, random) + _noise(x, random, 0.08, 0.35)
    return np.where(_uniform(x, random, 0, 1) < 0.5, random.random(x.shape), around)


def _noisy(x: np.ndarray, random: Random) -> np.ndarray:
    """Each image under strong noise."""
    return np.asarray(x + _noise(x, random, 0.12, 0.3))


def _blurred(x: np.ndarray, random: Random) -> np.ndarray:
    """Each image far out of focus."""
    return blur(x, max(2, min(x.shape[2:]) // 8))


def _inverted(x: np.ndarray, random: Random) -> np.ndarray:
    return 1 - x


def _scrambled(x: np.ndarray, random: Random) -> np.ndarray:
    """Each image's spectrum with random phases: a texture without objects."""
    random_phase = np.angle(np.fft.fft2(random.normal(size=(len(x), 1, *x.shape[2:]))))
    mean = x.mean(axis=(2, 3), keepdims=True)
    made = np.fft.ifft2(np.abs(np.fft.fft2(x - mean)) * np.exp(1j * random_phase)).real
    return np.asarray(mean + made)


def _enlarged(smooth: bool) -> Maker:
    def make(x: np.ndarray, random: Random) -> np.ndarray:
        """The middle of each image, enlarged: to blocks from a quarter of it, or smoothly from a quarter's side."""
        height, width = x.shape[2:]
        h, w = max(1, height // 4), max(1, width // 4)
        top, left = (height // 4, width // 4) if smooth else ((height - h) // 2, (width - w) // 2)
        rows, columns = top + np.arange(height) * h // height, left + np.arange(width) * w // width
        large = x[:, :, rows][:, :, :, columns]
        return blur(large, max(1, min(height, width) // 16)) if smooth else large

    return make


def _waves(x: np.ndarray, random: Random) -> np.ndarray:
    """The sum of three coloured waves."""
    down, across = _grid(x)
    made = _colour(x, random)
    for _ in range(3):
        angle, phase = _uniform(x, random, 0, 2 * np.pi), _uniform(x, random, 0, 2 * np.pi)
        along = (np.cos(angle) * across + np.sin(angle) * down) * _uniform(x, random, 1.6, 48)
        made = made + random.uniform(0, 0.24, (len(x), x.shape[1], 1, 1)) * np.sin(along + phase)
    return made


def others(x: np.ndarray, random: Random) -> np.ndarray:
    """Another image for each."""
    return np.roll(x, random.integers(1, max(2, len(x))), axis=0)


def shrunk(x: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Each image, entire, at three quarters of its size in the middle of a ground, both [N, C, H, W]."""
    height, width = x.shape[2:]
    h, w = max(1, 3 * height // 4), max(1, 3 * width // 4)
    down, across = (np.linspace(0, side - 1, small) for side, small in ((height, h), (width, w)))
    rows, columns = down.astype(int), across.astype(int)
    below, beside = np.minimum(rows + 1, height - 1), np.minimum(columns + 1, width - 1)
    part, share = (down - rows).astype(np.float32)[:, None], (across - columns).astype(np.float32)
    tall = x[:, :, rows] * (1 - part) + x[:, :, below] * part
    made = ground.copy()
    top, left = (height - h) // 2, (width - w) // 2
    made[:, :, top : top + h, left : left + w] = tall[..., columns] * (1 - share) + tall[..., beside] * share
    return made


def _grid(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's place, -0.5 to 0.5 down [H, 1] and across [1, W]."""
    height, width = x.shape[2:]
    return (np.arange(height)[:, None] + 0.5) / height - 0.5, (np.arange(width)[None] + 0.5) / width - 0.5


def _uniform(x: np.ndarray, random: Random, low: float, high: float) -> np.ndarray:
    """A number for each image, [N, 1, 1, 1]."""
    return random.uniform(low, high, (len(x), 1, 1, 1)).astype(np.float32)


def _colour(x: np.ndarray, random: Random) -> np.ndarray:
    return random.random((len(x), x.shape[1], 1, 1), np.float32)


def _noise(x: np.ndarray, random: Random, least: float, most: float) -> np.ndarray:
    return np.asarray(random.standard_normal(x.shape, np.float32) * _uniform(x, random, least, most))


def _ellipse(x: np.ndarray, random: Random, least: float, most: float) -> np.ndarray:
    """Whether a pixel lies in an ellipse near the middle, with half axes of these shares of the sides: [N, 1, H, W]."""
    down, across = _grid(x)
    dy, dx = down - _uniform(x, random, -0.2, 0.2), across - _uniform(x, random, -0.2, 0.2)
    angle = _uniform(x, random, 0, np.pi)
    p = (dx * np.cos(angle) + dy * np.sin(angle)) / _uniform(x, random, least, most)
    q = (dy * np.cos(angle) - dx * np.sin(angle)) / _uniform(x, random, least, most)
    return np.asarray(p**2 + q**2 < 1)


def blur(x: np.ndarray, deviation: int) -> np.ndarray:
    """A Gaussian blur of a deviation in pixels, with the edges repeated."""
    reach = 3 * deviation
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (2, 3):
        pad = [(0, 0)] * 4
        pad[axis] = (reach, reach)
        wide = np.moveaxis(np.pad(x, pad, mode="edge"), axis, 0)
        size = x.shape[axis]
        blurred = sum(weight * wide[i : i + size] for i, weight in enumerate(kernel))
        x = np.moveaxis(np.asarray(blurred), 0, axis)
    return x


KINDS: dict[str, Maker] = {
    "2x2 patches shuffled": _shuffled(2),
    "4x4 patches shuffled": _shuffled(4),
    "8x8 patches shuffled": _shuffled(8),
    "two images blended": _blend,
    "four copies": _tiles,
    "a part on white": _part_on("white"),
    "a part on a colour": _part_on("plain"),
    "a part on another image": _part_on("image"),
    "strokes": _strokes,
    "one colour": _plain,
    "a gradient": _gradient,
    "a covered lens": _dark,
    "noise": _pure_noise,
    "under noise": _noisy,
    "out of focus": _blurred,
    "inverted": _inverted,
    "phases scrambled": _scrambled,
    "the middle, in blocks": _enlarged(smooth=False),
    "the middle, blurred": _enlarged(smooth=True),
    "waves": _waves,
}
