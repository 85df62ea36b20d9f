"""Tensors of torch.save: the dtypes and memory orders that people save come out as they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_arrays import CLASSES, COUNT, HEIGHT, TEST_COUNT, WIDTH
from small_tensors import make_labels, make_pixels, scaled

from clf_train.data import statistics
from clf_train.data.sources import read_source

Save = Callable[..., Path]


def to_nhwc(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 2, 3, 1).contiguous()


def permuted(pixels: torch.Tensor) -> torch.Tensor:
    """The same values in the same axes, but channels last in memory."""
    return to_nhwc(pixels).permute(0, 3, 1, 2)


SAVED_IMAGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "float32": scaled,
    "float32 view that is channels last in memory": lambda p: permuted(scaled(p)),
    "float32 slice out of the middle of a larger tensor": lambda p: torch.cat([p, p, p]).float()[5 : 5 + COUNT],
    "float32 every second image of a larger tensor": lambda p: scaled(p).repeat_interleave(2, 0)[::2],
    "float32 mirrored and back": lambda p: scaled(p).flip(3).flip(3),
    "float32 in 0..255": lambda p: p.float(),
    "float32 in -1..1": lambda p: scaled(p) * 2 - 1,
    "float32 that requires a gradient": lambda p: scaled(p).requires_grad_(),
    "float32 parameter": lambda p: torch.nn.Parameter(scaled(p)),
    "float32 N x H x W x C": lambda p: to_nhwc(scaled(p)),
    "float32 N x H x W x C view of N x C x H x W": lambda p: scaled(p).permute(0, 2, 3, 1),
    "float64": lambda p: p.double() / 255,
    "float16": lambda p: scaled(p).half(),
    "bfloat16": lambda p: scaled(p).bfloat16(),
    "bfloat16 view that is channels last in memory": lambda p: permuted(scaled(p)).bfloat16(),
    "uint8": lambda p: p,
    "uint8 view that is channels last in memory": permuted,
    "uint8 N x H x W x C": to_nhwc,
    "int16": lambda p: p.short(),
    "int64": lambda p: p.long(),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", SAVED_IMAGES)
def test_images_of_any_dtype_and_memory_order_come_out_as_nchw_with_their_values(
    tmp_path: Path, save_tensors: Save, kind: str, legacy: bool
) -> None:
    saved = SAVED_IMAGES[kind](make_pixels())
    read = read_source(
        save_tensors(
            tmp_path, legacy=legacy, train_data=saved, test_data=saved[:TEST_COUNT], test_labels=make_labels(6)
        )
    )

    nchw = saved.detach().permute(0, 3, 1, 2) if saved.shape[-1] == 3 else saved.detach()
    dtype = np.float32 if saved.is_floating_point() else np.uint8
    wanted = nchw.to(torch.float32).numpy().astype(dtype)
    assert read.layout == "tensors of torch.save"
    assert read.train.images.dtype == dtype
    assert read.image_shape == (3, HEIGHT, WIDTH)
    np.testing.assert_array_equal(read.train.images, wanted)
    np.testing.assert_array_equal(read.test.images, wanted[:TEST_COUNT])


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_one_or_four_channels_are_read(tmp_path: Path, save_tensors: Save, channels: int) -> None:
    images = make_pixels()[:, :1].repeat(1, channels, 1, 1)
    read = read_source(save_tensors(tmp_path, train_data=images, test_data=images[:TEST_COUNT]))
    assert read.image_shape == (channels, HEIGHT, WIDTH)


def test_images_without_a_channel_axis_are_grey(tmp_path: Path, save_tensors: Save) -> None:
    images = make_pixels()[:, 0]
    read = read_source(save_tensors(tmp_path, train_data=images, test_data=images[:TEST_COUNT]))
    assert read.image_shape == (1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(read.train.images[:, 0], images.numpy())


@pytest.mark.parametrize(
    "dtype",
    [torch.uint8, torch.int8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64],
    ids=str,
)
@pytest.mark.parametrize("column", [False, True], ids=["N", "N x 1"])
def test_labels_of_any_number_dtype_become_int64(
    tmp_path: Path, save_tensors: Save, dtype: torch.dtype, column: bool
) -> None:
    labels = make_labels().to(dtype)
    read = read_source(save_tensors(tmp_path, train_labels=labels[:, None] if column else labels))
    assert read.train.labels.dtype == np.int64
    np.testing.assert_array_equal(read.train.labels, make_labels().numpy())


def test_labels_of_bool_become_classes_0_and_1(tmp_path: Path, save_tensors: Save) -> None:
    labels = torch.arange(COUNT) % 2
    read = read_source(save_tensors(tmp_path, train_labels=labels.bool(), test_labels=labels[:TEST_COUNT].bool()))
    np.testing.assert_array_equal(read.train.labels, labels.numpy())
    assert read.names == ("0", "1")


def test_labels_saved_as_a_strided_view_keep_their_order(tmp_path: Path, save_tensors: Save) -> None:
    table = torch.stack([make_labels(), torch.full((COUNT,), 9)], dim=1)
    read = read_source(save_tensors(tmp_path, train_labels=table[:, 0]))
    np.testing.assert_array_equal(read.train.labels, make_labels().numpy())


def test_the_same_values_have_the_same_fingerprint_in_either_format_and_memory_order(
    tmp_path: Path, save_tensors: Save
) -> None:
    pixels, test = make_pixels(), make_pixels(TEST_COUNT, seed=1)
    folders = [
        save_tensors(tmp_path / "zip", train_data=scaled(pixels), test_data=scaled(test)),
        save_tensors(tmp_path / "legacy", legacy=True, train_data=scaled(pixels), test_data=scaled(test)),
        save_tensors(tmp_path / "view", train_data=permuted(scaled(pixels)), test_data=permuted(scaled(test))),
        save_tensors(tmp_path / "nhwc", train_data=to_nhwc(scaled(pixels)), test_data=to_nhwc(scaled(test))),
        save_tensors(tmp_path / "pt", suffix=".pt", train_data=scaled(pixels), test_data=scaled(test)),
    ]
    assert len({read_source(folder).fingerprint for folder in folders}) == 1


def private_bytes() -> int:
    """Memory of this process that no file stands behind."""
    (line,) = (x for x in Path("/proc/self/smaps_rollup").read_text().splitlines() if x.startswith("Anonymous:"))
    return int(line.split()[1]) << 10


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="looks into /proc, as Linux has it"
)


@needs_proc
@pytest.mark.parametrize("kind", ["float32", "uint8", "float32 slice out of the middle of a larger tensor"])
def test_images_stay_mapped_from_their_file(
    tmp_path: Path, mapped_files: Callable[[np.ndarray], set[str]], save_tensors: Save, kind: str
) -> None:
    saved = SAVED_IMAGES[kind](make_pixels())
    read = read_source(save_tensors(tmp_path, train_data=saved, test_data=saved[:TEST_COUNT]))
    assert mapped_files(read.train.images) == {str(tmp_path / "train_data_2")}
    assert mapped_files(read.test.images) == {str(tmp_path / "test_data_2")}


@needs_proc
def test_images_of_the_legacy_format_are_a_copy_that_outlives_the_file(
    tmp_path: Path, mapped_files: Callable[[np.ndarray], set[str]], save_tensors: Save
) -> None:
    read = read_source(save_tensors(tmp_path, legacy=True))
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    assert str(tmp_path / "train_data_2") not in mapped_files(read.train.images)
    np.testing.assert_array_equal(read.train.images, make_pixels().numpy())


@needs_proc
@pytest.mark.parametrize("order", ["contiguous", "channels last"])
def test_reading_a_large_set_makes_no_private_copy_of_it(
    tmp_path: Path, save_tensors: Save, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", 1 << 20)
    images = torch.rand(2500, 3, 32, 32)
    size = images.nbytes  # 31 MB
    save_tensors(
        tmp_path / "large", train_data=images if order == "contiguous" else permuted(images), train_labels=None
    )
    save_tensors(tmp_path / "large", train_data=None, test_data=torch.rand(TEST_COUNT, 3, 32, 32))
    torch.save(torch.arange(2500) % CLASSES, tmp_path / "large" / "train_labels_2")
    del images
    read_source(save_tensors(tmp_path / "small"))  # what is loaded on the first read does not count

    before = private_bytes()
    read = read_source(tmp_path / "large")
    grown = private_bytes() - before
    assert len(read.train) == 2500
    assert grown < size / 4
