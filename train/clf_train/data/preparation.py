"""Derived from images and recipe before the first step: held-out rows, class weights, normalisation, epochs."""

import numpy as np

from clf_train.data.dataset import Dataset
from clf_train.data.normalisation import Normalisation
from clf_train.data.splitting import split_rows
from clf_train.models.recipe import Recipe, fit_to


def validation_rows(dataset: Dataset, recipe: Recipe, seed: int) -> np.ndarray | None:
    """The rows of the training part that are held out for validation, int64 [M].

    They are those of the source's own validation part, if there is one; else the recipe's share. None if that is 0,
    or if a class has only one training image.
    """
    if dataset.validation_images is not None:
        return np.arange(len(dataset.train) - dataset.validation_images, len(dataset.train))
    if not recipe.validation_share or np.bincount(dataset.train.labels).min() < 2:
        return None
    return split_rows(dataset.train.labels, recipe.validation_share, seed, dataset.source)[1]


def class_weights(labels: np.ndarray, classes: int, recipe: Recipe) -> np.ndarray | None:
    """The weight of an image of each class, float64 [classes], with mean 1 over these images, labels int64 [N].

    None if the recipe has no class weights. A class without images has weight 0.
    """
    if recipe.class_weights == "off":
        return None
    counts = np.bincount(labels, minlength=classes)
    return np.divide(len(labels) / np.count_nonzero(counts), counts, out=np.zeros(classes), where=counts > 0)


def choose_normalisation(dataset: Dataset, recipe: Recipe) -> Normalisation:
    """The training images' mean and standard deviation if the recipe normalises, else the values unchanged.

    Unchanged means floats as they are and uint8 scaled to 0..1, like the user's float images. A constant channel is
    only shifted.
    """
    if recipe.normalise:
        return Normalisation(
            dataset.mean, tuple(s if s > 1e-6 * abs(m) else 1.0 for m, s in zip(dataset.mean, dataset.std, strict=True))
        )
    channels = dataset.image_shape[0]
    return Normalisation((0.0,) * channels, (255.0 if dataset.dtype == "uint8" else 1.0,) * channels)


def fit_recipe(recipe: Recipe, dataset: Dataset, seed: int) -> Recipe:
    """The recipe with its number of epochs for these images."""
    held_out = validation_rows(dataset, recipe, seed)
    return fit_to(recipe, len(dataset.train) - (0 if held_out is None else len(held_out)))
