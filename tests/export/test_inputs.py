from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clf_export.export import export_run
from clf_export.inputs import find_test_images
from clf_train import DataError, find_recipe, read_run, read_source
from clf_train.models.recipe import change
from clf_train.training import train


def test_images_are_found_where_the_run_says(make_run):
    folder, dataset = make_run("conv")
    found, other = find_test_images(read_run(folder))
    assert (found.fingerprint, other) == (dataset.fingerprint, None)


def test_images_that_are_gone_or_changed_are_asked_for(make_run, tmp_path):
    folder, _ = make_run("conv", "float32")
    run = read_run(folder)
    source = folder.parent / "digits.npz"
    with np.load(source) as archive:
        images, labels = archive["images"], archive["labels"]
    kept = source.rename(tmp_path / "moved.npz")
    with pytest.raises(DataError, match="pass --data"):
        find_test_images(run)
    np.savez(source, images=images[::-1], labels=labels[::-1])
    with pytest.raises(DataError, match="does not hold the images that the run was trained on; pass --data"):
        find_test_images(run)
    found, other = find_test_images(run, str(kept))
    assert (found.fingerprint, other) == (run.data.fingerprint, None)
    _, other = find_test_images(run, str(source))
    assert "other images" in other
    with pytest.raises(DataError, match="the run has float32"):
        find_test_images(run, "digits")
    kept.replace(source)


def test_images_of_a_run_whose_classes_stood_in_the_order_of_letters_are_found(make_run, tmp_path):
    for name in ("1", "2", "10"):
        (tmp_path / name).mkdir()
        for i in range(5):
            pixels = np.random.default_rng(10 * int(name) + i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    run = read_run(make_run("conv")[0])
    for as_before, names in ((True, ("1", "10", "2")), (False, ("1", "2", "10"))):
        made = read_source(tmp_path, as_before=as_before)
        data = replace(run.data, source=str(tmp_path), fingerprint=made.fingerprint, as_before=as_before)
        of_then = replace(run, data=data, names=names, image_shape=made.image_shape)
        found, other = find_test_images(of_then)
        assert (found.names, found.fingerprint, other) == (names, made.fingerprint, None)


def test_images_of_a_run_that_left_broken_pictures_out_are_found_without_them(make_run, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (8, 8), (10 * i, 0, 99)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    made = read_source(tmp_path, skip_bad=True)
    run = read_run(make_run("conv")[0])
    data = replace(run.data, source=str(tmp_path), fingerprint=made.fingerprint, skipped=made.skipped, as_before=False)
    of_it = replace(run, data=data, names=made.names, image_shape=made.image_shape)
    assert find_test_images(of_it)[0].fingerprint == made.fingerprint


@pytest.fixture(scope="module")
def named_run(no_drawing, tmp_path_factory):
    """A run of three classes with names, and a way to write other images under other names, in another order."""
    folder = tmp_path_factory.mktemp("named")

    def write(name, names, order=(0, 1, 2), seed=1):
        rng = np.random.default_rng(seed)
        colours = np.arange(90) % 3
        images = rng.integers(0, 60, (90, 3, 8, 8), np.uint8)
        images[np.arange(90), colours] += 150
        labels = np.array([order.index(c) for c in colours])  # of a source whose classes stand in another order
        arrays = {"images": images, "labels": labels} | ({"names": np.array(names)} if names else {})
        np.savez(folder / name, **arrays)
        return str(folder / name)

    source = write("train.npz", ["red", "green", "blue"], seed=0)
    dataset = read_source(source)
    train(dataset, {"simple": change(find_recipe("fast", "simple"), {"epochs": 60})}, folder / "run")
    return folder / "run", write


def test_the_same_names_in_another_order_count_by_name(named_run):
    folder, write = named_run
    run = read_run(folder)
    straight, _ = find_test_images(run, write("a.npz", ["red", "green", "blue"]))
    turned, other = find_test_images(run, write("b.npz", ["blue", "red", "green"], (2, 0, 1)))
    assert turned.names == run.names
    assert "other images" in other
    for part in ("train", "test"):  # the test part is another, since it is drawn class by class
        images, labels = getattr(turned, part).images, getattr(turned, part).labels
        assert images.reshape(len(images), 3, -1).sum(axis=2).argmax(axis=1).tolist() == labels.tolist()
        assert np.bincount(getattr(straight, part).labels).tolist() == np.bincount(labels).tolist()


@pytest.mark.usefixtures("quick_exports")
def test_an_export_of_turned_names_says_the_accuracy_that_is_so(named_run, tmp_path):
    folder, write = named_run
    dataset, _ = find_test_images(read_run(folder), write("b.npz", ["blue", "red", "green"], (2, 0, 1)))
    card = export_run(folder, dataset, tmp_path / "x.onnx").model.card
    assert card.names == ("red", "green", "blue")
    assert card.parity.onnx_accuracy == 1


def test_other_names_are_refused(named_run):
    folder, write = named_run
    with pytest.raises(DataError, match=r"c\.npz: 'rot' is not a class of the run \(red, green, blue\)"):
        find_test_images(read_run(folder), write("c.npz", ["rot", "green", "blue"]))


def test_a_source_without_names_counts_by_numbers_and_it_is_said(named_run):
    folder, write = named_run
    dataset, other = find_test_images(read_run(folder), write("d.npz", None))
    assert dataset.names == ("0", "1", "2")
    assert "it has no class names: labels are matched by index" in other


def test_the_images_of_the_run_are_taken_whatever_their_classes_are_called_now(named_run, tmp_path):
    folder, write = named_run
    run = read_run(folder)
    dataset, other = find_test_images(run, write("e.npz", ["rot", "gelb", "blau"], seed=0))
    assert (dataset.fingerprint, other) == (run.data.fingerprint, None)
