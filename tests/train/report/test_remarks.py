"""What is said of the images before a training is in its report too."""

import numpy as np

from clf_train import find_recipe, read_run, read_source, train
from clf_train.models.recipe import change


def test_a_leak_and_two_labels_of_one_image_are_in_the_report(tmp_path, no_drawing):
    images = np.random.default_rng(0).integers(0, 256, (24, 3, 16, 16), np.uint8)
    images[1] = images[0]  # under two labels
    leaked = {"test_images": images[:4], "test_labels": np.arange(4) % 2}
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(24) % 2, **leaked)
    recipes = {"conv": change(find_recipe("fast", "conv"), {"epochs": 1})}
    train(read_source(tmp_path / "x.npz"), recipes, tmp_path / "run")
    remarks = read_run(tmp_path / "run").data.remarks
    assert any("4 of 4 test images are also in the training part" in remark for remark in remarks)
    assert any("has several labels" in remark for remark in remarks)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The images" in page
    assert "4 of 4 test images are also in the training part" in page
