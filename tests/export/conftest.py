import numpy as np
import pytest

from clf_train import find_recipe, read_source
from clf_train.recipe import change
from clf_train.training import train


@pytest.fixture(scope="session")
def make_run(tmp_path_factory):
    """Train a model for one epoch on the embedded digits, as uint8 or as floats in 0..1, once a session."""
    made = {}

    def make(model, dtype="uint8"):
        if (model, dtype) not in made:
            folder = tmp_path_factory.mktemp("run")
            source = "digits"
            if dtype == "float32":
                source = folder / "digits.npz"
                digits = read_source("digits")
                images = np.concatenate([digits.train.images, digits.test.images]).astype(np.float32) / 255
                np.savez(source, images=images, labels=np.concatenate([digits.train.labels, digits.test.labels]))
            dataset = read_source(source)
            recipe = change(find_recipe("fast", model), {"epochs": 2})
            train(dataset, {model: recipe}, folder / model)
            made[model, dtype] = (folder / model, dataset)
        return made[model, dtype]

    return make
