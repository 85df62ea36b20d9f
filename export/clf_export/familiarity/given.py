"""Examples of what is no class, as the user gives them: the source's folder `none`, and --outliers.

Letters in shapes: M examples, C channels, H height, W width.
"""

import numpy as np

from clf_runtime.inputs.arrays import to_batch
from clf_runtime.inputs.files import read_images
from clf_runtime.inputs.paths import find_files
from clf_runtime.model.card import ModelCard
from clf_train.data.dataset import Dataset
from clf_train.runs.run import Run

MOST = 5000  # examples,
_MOST_VALUES = 50_000_000  # fewer if they are large


def given_outliers(run: Run, dataset: Dataset, source: str | None) -> np.ndarray | None:
    """The examples of a dataset and of a `source`, [M, C, H, W] as the net takes them; None if there are none.

    `source` is a picture or array file, a folder of such files, at any depth, or a pattern. Of more examples than
    `MOST`, or than the memory for 50 million values holds, a random sample is used.
    Raises ImageError, naming the file, if one cannot be read or does not fit the model.
    """
    parts = [] if dataset.outliers is None else [dataset.outliers]
    most = max(1, min(MOST, _MOST_VALUES // int(np.prod(run.image_shape))))
    random = np.random.default_rng(run.seed)
    if source is not None:
        card = ModelCard(run.model, run.names, run.image_shape, run.dtype, run.value_range, geometry=run.geometry)
        files = find_files(source, below=True)
        found = 0
        for i in random.permutation(len(files)):
            for _, images in read_images(files[i], card):
                parts.append(to_batch(images, card, files[i]))
                found += len(parts[-1])
            if found >= most:
                break
    if not parts:
        return None
    images = np.concatenate(parts)
    return images[np.sort(random.permutation(len(images))[:most])]
