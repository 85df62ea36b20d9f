import numpy as np
import pytest

from clf_export.places import find_test_images
from clf_train import DataError, read_run


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
    with pytest.raises(DataError, match="other images than the run was trained on; pass --data"):
        find_test_images(run)
    found, other = find_test_images(run, str(kept))
    assert (found.fingerprint, other) == (run.data.fingerprint, None)
    _, other = find_test_images(run, str(source))
    assert "other images" in other
    with pytest.raises(DataError, match="the run has float32"):
        find_test_images(run, "digits")
    kept.replace(source)
