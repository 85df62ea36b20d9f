"""The images that int8 is measured with: apart from those of calibration, and never of the test."""

import dataclasses

import numpy as np
import pytest

from clf_export.int8.held_out import choose_images
from clf_train import read_run, read_source
from clf_train.data.preparation import validation_rows
from clf_train.models.recipe import change


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("calibration", "validation", "labels"))


def numbers(images):
    return {image.tobytes() for image in images}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Images that are all different: 300 of the training in classes of 200, 60 and 40, and 50 of the test."""
    folder = tmp_path_factory.mktemp("numbered")
    images = np.arange(350, dtype=np.uint32)[:, None, None, None].astype("<u4").view(np.uint8).reshape(350, 1, 2, 2)
    labels = np.repeat([0, 1, 2], [200, 60, 40])
    np.savez(folder / "train.npz", images=images[:300], labels=labels)
    np.savez(folder / "test.npz", images=images[300:], labels=np.zeros(50, np.int64))
    return read_source(str(folder))


def with_share(run, share):
    return dataclasses.replace(run, recipe=change(run.recipe, {"validation_share": share}))


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_images_are_apart_by_class_and_never_of_the_test(make_run, numbered, share):
    run = with_share(read_run(make_run("conv")[0]), share)
    chosen = choose_images(numbered, run, most_calibration=150)
    calibration, validation = numbers(chosen.calibration), numbers(chosen.validation)
    assert len(calibration) == len(chosen.calibration) == 150
    assert not calibration & validation
    assert not (calibration | validation) & numbers(numbered.test.images)
    assert chosen.unseen is (share > 0)
    rows = [int(image.view("<u4").item()) for image in chosen.validation.reshape(-1, 4)]
    assert np.array_equal(chosen.labels, numbered.train.labels[rows])
    assert np.bincount(chosen.labels).tolist() == ([20, 6, 4] if not share else [40, 12, 8])
    calibrated = numbered.train.labels[[int(i.view("<u4").item()) for i in chosen.calibration.reshape(-1, 4)]]
    assert np.bincount(calibrated).tolist() == [100, 30, 20]
    assert same(chosen, choose_images(numbered, run, most_calibration=150))
    assert not same(chosen, choose_images(numbered, dataclasses.replace(run, seed=run.seed + 1), most_calibration=150))


def test_the_validation_images_are_those_that_the_run_held_out(make_run, numbered):
    run = with_share(read_run(make_run("conv")[0]), 0.2)
    rows = validation_rows(numbered, run.recipe, run.seed)
    assert np.array_equal(choose_images(numbered, run).validation, numbered.train.images[rows])
    few = choose_images(numbered, run, most_validation=30)
    assert np.bincount(few.labels).tolist() == [20, 6, 4]
    assert numbers(few.validation) <= numbers(numbered.train.images[rows])
    assert not numbers(few.calibration) & numbers(numbered.train.images[rows])


def test_a_class_of_one_image_is_no_obstacle(make_run, tmp_path):
    images = np.arange(12 * 4, dtype=np.uint8).reshape(12, 1, 2, 2)
    np.savez(tmp_path / "train.npz", images=images, labels=np.array([0] * 6 + [1] * 5 + [2]))
    np.savez(tmp_path / "test.npz", images=images, labels=np.array([0] * 6 + [1] * 5 + [2]))
    run = with_share(read_run(make_run("conv")[0]), 0.2)
    chosen = choose_images(read_source(str(tmp_path)), run)
    assert (len(chosen.validation), len(chosen.calibration), chosen.unseen) == (1, 11, False)
