"""Single images, answered in blocks; and batches of none."""

import weakref

import numpy as np
import pytest

from clf_runtime import Classifier, ImageError, ModelCard
from clf_runtime.inputs.batching import to_batches

RED = np.zeros((3, 8, 8), np.uint8)
RED[0] = 200
BLUE = RED[::-1].copy()
CARD = ModelCard("m", ("red", "green", "blue"), (3, 8, 8), "uint8", (0.0, 255.0))


@pytest.fixture
def counted(tiny_file):
    """A classifier, and the sizes of the batches that its session has run."""
    classifier, sizes = Classifier.load(tiny_file), []
    run = classifier._run
    classifier._run = lambda batch: sizes.append(len(batch)) or run(batch)
    return classifier, sizes


def test_a_list_is_answered_in_blocks_and_as_the_array_is(counted):
    classifier, sizes = counted
    images = np.random.default_rng(0).integers(0, 256, (300, 3, 8, 8), np.uint8)
    of_array = classifier.predict_batch(images, distribution=True)
    sizes.clear()
    of_list = classifier.predict_batch(list(images), distribution=True)
    assert sizes == [64, 64, 64, 64, 44]
    assert of_list == of_array
    for one, other in zip(of_list, of_array, strict=True):
        np.testing.assert_array_equal(one.distribution, other.distribution)


class Array(np.ndarray):
    """A plain one takes no weak reference."""


def test_an_iterator_is_never_held_as_a_whole(counted):
    alive, most = set(), 0

    def images():
        nonlocal most
        for i in range(1000):
            image = RED.copy().view(Array)
            alive.add(i)
            weakref.finalize(image, alive.discard, i)
            most = max(most, len(alive))
            yield image

    assert set(counted[0].predict_batch(images()).indices.tolist()) == {0}
    assert most <= 3


def test_an_iterator_may_use_its_buffer_again(counted):
    classifier, _ = counted

    def images():
        buffer = np.empty_like(RED)
        for image in (RED, BLUE) * 200:
            buffer[...] = image
            yield buffer

    assert [p.name for p in classifier.predict_batch(images())] == ["red", "blue"] * 200


def test_blocks_of_large_images_are_small():
    card = ModelCard("m", ("a", "b"), (3, 2048, 2048), "float32", (0.0, 1.0))
    image = np.zeros((3, 2048, 2048), np.float32)
    assert [len(block) for block in to_batches([image] * 2, card, 256)] == [1, 1]


@pytest.mark.parametrize(("place", "bad"), [(0, None), (1, np.zeros(2)), (270, np.stack([RED, RED])), (299, "no.npy")])
def test_an_error_names_the_first_image_at_fault(counted, place, bad):
    classifier, _ = counted
    images = [RED] * 300
    images[place] = bad
    with pytest.raises(ImageError, match=rf"^images\[{place}\]: "):
        classifier.predict_batch(images)


def test_paths_and_images_of_any_kind_mix(counted, tmp_path):
    classifier, sizes = counted
    np.save(tmp_path / "one.npy", BLUE)
    np.savez(tmp_path / "batch_of_one.npz", BLUE[None])
    np.save(tmp_path / "two.npy", np.stack([RED, BLUE]))
    given = [
        RED,
        tmp_path / "one.npy",
        RED / 255,
        str(tmp_path / "batch_of_one.npz"),
        RED.transpose(1, 2, 0),
        RED[None],
    ]
    assert [p.name for p in classifier.predict_batch(given)] == ["red", "blue", "red", "blue", "red", "red"]
    assert sizes == [6]
    with pytest.raises(ImageError, match=r"^images\[1\]: .*two\.npy: more than one image"):
        classifier.predict_batch([RED, tmp_path / "two.npy"])


def test_a_batch_of_none_has_no_predictions_whatever_it_is(counted):
    classifier, sizes = counted
    for none in ([], (), iter([]), np.zeros((0, 3, 8, 8), np.uint8), np.zeros((0, 8, 8, 3)), np.ma.zeros((0, 3, 8, 8))):
        found = classifier.predict_batch(none)
        assert (list(found), found.indices.tolist(), found.probabilities.tolist()) == ([], [], [])
        assert (found.indices.dtype, found.probabilities.dtype) == (np.int64, np.float32)
    answer = classifier.probabilities(np.zeros((0, 3, 8, 8), np.uint8))
    assert (answer.shape, answer.dtype, sizes) == ((0, 3), np.float32, [])


@pytest.mark.parametrize("shape", [(0,), (0, 3, 8, 9), (0, 8, 8)])
def test_none_of_another_shape_is_a_mistake(counted, shape):
    with pytest.raises(ImageError, match="the model expects 3x8x8"):
        counted[0].predict_batch(np.zeros(shape, np.uint8))


def test_one_of_none_and_a_file_of_none_hold_no_image(counted, tmp_path):
    none = np.zeros((0, 3, 8, 8), np.uint8)
    np.save(tmp_path / "x.npy", none)
    np.savez_compressed(tmp_path / "x.npz", none)
    for image in (none, tmp_path / "x.npy", tmp_path / "x.npz"):
        with pytest.raises(ImageError, match="contains no image"):
            counted[0].predict(image)
