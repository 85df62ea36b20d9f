"""The fingerprint of a Dataset is of its values alone, and of all of them."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_arrays import CLASSES, make_floats, make_images, make_labels

from clf_train.data import statistics
from clf_train.data.assembly import assemble
from clf_train.data.dataset import Parts

Make = Callable[..., Parts]
Fingerprint = Callable[..., str]


@pytest.fixture
def fingerprint(good_parts: Callable[..., Parts]) -> Fingerprint:
    def fingerprint(images: np.ndarray, labels: np.ndarray | None = None, **changes: Any) -> str:
        return assemble("s", good_parts(images, labels, **changes)).fingerprint

    return fingerprint


MEMORY_ORDERS = {
    "contiguous": lambda x: x,
    "Fortran": np.asfortranarray,
    "channels last in memory": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)),
    "every second image": lambda x: np.repeat(x, 2, axis=0)[::2],
    "mirrored view of a mirrored array": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("chunk", [1000, 16 << 20], ids=lambda n: f"{n} bytes a chunk")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("order", MEMORY_ORDERS)
def test_the_fingerprint_does_not_depend_on_memory_order_or_chunks(
    fingerprint: Fingerprint, monkeypatch: pytest.MonkeyPatch, order: str, dtype: type, chunk: int
) -> None:
    images = make_images().astype(dtype)
    wanted = fingerprint(images)
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", chunk)
    assert fingerprint(MEMORY_ORDERS[order](images)) == wanted


@pytest.mark.parametrize("dtype", [">f4", "f8", ">f8"])
def test_the_fingerprint_does_not_depend_on_byte_order_or_width_of_equal_values(
    fingerprint: Fingerprint, dtype: str
) -> None:
    assert fingerprint(make_floats().astype(dtype)) == fingerprint(make_floats())
    assert fingerprint(make_images(), make_labels().astype(dtype)) == fingerprint(make_images())


def test_the_fingerprint_is_of_the_values_alone(fingerprint: Fingerprint, good_parts: Make) -> None:
    renamed = assemble("elsewhere", good_parts(names=("a", "b", "c")))
    assert renamed.fingerprint == fingerprint(make_images())
    assert re.fullmatch("[0-9a-f]{64}", renamed.fingerprint)


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (5, 1, 3, 2), (11, 2, 7, 5)])
@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_fingerprint_changes_with_any_pixel(
    fingerprint: Fingerprint, place: tuple[int, ...], part: str, dtype: type
) -> None:
    images, test = make_images().astype(dtype), make_images(12, seed=1).astype(dtype)
    before = fingerprint(images, test=(test.copy(), make_labels()))
    (images if part == "train" else test)[place] = 255 - (images if part == "train" else test)[place]
    assert fingerprint(images, test=(test, make_labels())) != before


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("place", [0, 5, 11])
def test_the_fingerprint_changes_with_any_label(fingerprint: Fingerprint, place: int, part: str) -> None:
    labels, test_labels = make_labels(), make_labels()
    before = fingerprint(make_images(), labels.copy(), test=(make_images(), test_labels.copy()))
    changed = labels if part == "train" else test_labels
    changed[place] = (changed[place] + 1) % CLASSES
    assert fingerprint(make_images(), labels, test=(make_images(), test_labels)) != before


def test_the_fingerprint_changes_with_shape_dtype_order_and_the_cut_between_the_parts(fingerprint: Fingerprint) -> None:
    images, labels = make_images(18), make_labels(18)
    cut = [fingerprint(images[:n], labels[:n], test=(images[n:], labels[n:])) for n in (9, 12)]
    others = [
        fingerprint(images[:12].astype(np.float32), labels[:12], test=(images[12:].astype(np.float32), labels[12:])),
        fingerprint(
            images[:12].transpose(0, 1, 3, 2), labels[:12], test=(images[12:].transpose(0, 1, 3, 2), labels[12:])
        ),
        fingerprint(
            images[:12].reshape(-1, 3, 6, 8), labels[:12], test=(images[12:].reshape(-1, 3, 6, 8), labels[12:])
        ),
        fingerprint(images[11::-1], labels[:12], test=(images[12:], labels[12:])),
        fingerprint(images[12:], labels[12:], test=(images[:12], labels[:12])),
    ]
    assert len({*cut, *others}) == 7
