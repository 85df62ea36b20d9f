"""What the file and the user say together: how one batch of pixels becomes the original's input. Nothing is guessed."""

import math
from dataclasses import dataclass

from clf_export.adoption.original import Original
from clf_export.adoption.stated import Stated
from clf_export.errors import AdoptionError
from clf_runtime.model.names import read_names
from clf_runtime.model.records import MAX_PIXELS

_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Contract:
    """The images of an adopted model, and what the original takes.

    `image_shape` is (channels, height, width), `shape` that of an image as the original takes it, `dtype` its numpy
    name. Pixels are scaled to `value_range`; `mean` and `std` have one number per channel, in the units of that range
    and the original's order of channels, which is BGR if `bgr`.
    """

    image_shape: tuple[int, int, int]
    shape: tuple[int, ...]
    dtype: str
    value_range: tuple[float, float]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool
    names: tuple[str, ...]

    @property
    def pixel_mean(self) -> tuple[float, ...]:
        """The mean in units of pixels, 0..255."""
        low, high = self.value_range
        return tuple((mean - low) * 255 / (high - low) for mean in self.mean)

    @property
    def pixel_std(self) -> tuple[float, ...]:
        """The standard deviation in units of pixels, 0..255."""
        low, high = self.value_range
        return tuple(std * 255 / (high - low) for std in self.std)


def agree(original: Original, stated: Stated, data: str | None) -> Contract:
    """Join what is stated with what the file says; `data` is where the pictures for the proof are.

    Raises AdoptionError if the two contradict each other, or, in one line, with everything that is still to be stated.
    """
    where, taken = original.path, original.input
    names = stated.names or _own_names(original)
    missing = [] if names else ["the classes, in the order of the output (--names FILE or --names A,B,C)"]
    is_uint8 = taken.dtype == "uint8"
    if is_uint8:
        if stated.mean or stated.std or stated.value_range not in (None, (0, 255)):
            raise AdoptionError(f"{where}: takes uint8 in 0..255, so --range, --mean and --std do not apply")
    else:
        for option, value in (
            (
                "what pixels are scaled to, before the mean is subtracted (--range 0..1 or 0..255)",
                stated.value_range,
            ),
            ("the mean that is subtracted (--mean A,B,C, or 0)", stated.mean),
            ("the standard deviation to divide by (--std A,B,C, or 1)", stated.std),
        ):
            missing += [] if value else [option]
    sizes = tuple(n if isinstance(n, int) and n > 0 else None for n in taken.shape[1:])
    shape = _flat(original, stated, sizes) if len(sizes) == 1 else _spatial(original, stated, sizes)
    if isinstance(shape, str):
        missing.append(shape)
    if data is None:
        missing.append("pictures for the proof and the golden cases (--data SOURCE)")
    if missing or isinstance(shape, str):
        raise AdoptionError(f"{where}: also state {'; '.join(missing)}")
    channels = shape[0]
    if channels not in _CHANNELS:
        raise AdoptionError(f"{where}: takes images of {channels} channels; pictures have 1 or 3{_hint(stated, sizes)}")
    if math.prod(shape) * (original.batch or 1) > MAX_PIXELS:
        batch = f"batches of {original.batch:,} " if original.batch else ""
        raise AdoptionError(f"{where}: {batch}images of {_x(shape)} have more than {MAX_PIXELS:,} values")
    if stated.channels == "BGR" and channels != 3:
        raise AdoptionError(f"{where}: --bgr is for 3 channels, but it takes {channels}")
    mean, std = (
        _per_channel(where, what, values, channels)
        for what, values in (("--mean", stated.mean or (0.0,)), ("--std", stated.std or (1.0,)))
    )
    native = (*shape[1:], channels) if stated.layout == "NHWC" else shape
    flat = len(sizes) == 1
    return Contract(
        image_shape=shape,
        shape=(math.prod(shape),) if flat else native,
        dtype=taken.dtype,
        value_range=(0.0, 255.0) if is_uint8 or stated.value_range is None else stated.value_range,
        mean=mean,
        std=std,
        bgr=stated.channels == "BGR",
        names=names,
    )


def _own_names(original: Original) -> tuple[str, ...]:
    """The class names in the file's metadata, as Ultralytics writes them; empty if it has none."""
    text = original.engine.metadata.get("names", "")
    classes = original.engine.outputs[original.output].shape[-1:]
    return read_names(text, classes[0]) or () if classes and isinstance(classes[0], int) else ()


def _spatial(original: Original, stated: Stated, sizes: tuple[int | None, ...]) -> tuple[int, int, int] | str:
    """(channels, height, width) of an input of 4 axes; or what is to be stated."""
    last = stated.layout == "NHWC"
    channels, *side = (sizes[2], *sizes[:2]) if last else sizes
    other = sizes[0] if last else sizes[2]
    if channels not in (*_CHANNELS, None) and other in _CHANNELS:
        which, how = ("first", "leave out --nhwc") if last else ("last", "pass --nhwc")
        raise AdoptionError(f"{original.path}: its input is {original.input}, with channels {which}: {how}")
    for given, fixed in zip(stated.image_size or (None, None), side, strict=True):
        if given is not None and fixed not in (given, None):
            wanted = "x".join(str(n or "any") for n in side)
            raise AdoptionError(f"{original.path}: --image-size {_x(stated.image_size)}, but its input is {wanted}")
    height, width = (given or fixed for given, fixed in zip(stated.image_size or (None, None), side, strict=True))
    if height is None or width is None:
        return _SIZE
    channels = channels or _stated_channels(stated)
    return _COUNT if channels is None else (channels, height, width)


def _flat(original: Original, stated: Stated, sizes: tuple[int | None, ...]) -> tuple[int, int, int] | str:
    """(channels, height, width) of an input of flattened images; or what is to be stated."""
    if stated.image_size is None:
        return _SIZE
    area = math.prod(stated.image_size)
    values = sizes[0]
    if values is not None and values % area:
        given = f"--image-size {_x(stated.image_size)}"
        raise AdoptionError(f"{original.path}: takes {values:,} values an image, which {given} does not divide")
    channels = _stated_channels(stated) if values is None else values // area
    return _COUNT if channels is None else (channels, *stated.image_size)


_SIZE = "the size of its images (--image-size HxW)"
_COUNT = "how many channels it has, by one number for each in --mean"


def _stated_channels(stated: Stated) -> int | None:
    counts = {len(values) for values in (stated.mean, stated.std)} & {3}
    return 3 if counts or stated.channels == "BGR" else None


def _per_channel(where: object, option: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if len(values) not in (1, channels):
        raise AdoptionError(f"{where}: {option} has {len(values)} numbers, but it takes {channels} channels")
    return values * channels if len(values) == 1 else values


def _hint(stated: Stated, sizes: tuple[int | None, ...]) -> str:
    return f" (its input is [batch, {', '.join(str(n or '?') for n in sizes)}], read as {stated.layout})"


def _x(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape or ()))
