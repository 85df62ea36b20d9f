"""The embedded source: scikit-learn's 1,797 handwritten digits (8x8, 17 greys), drawn as 3x32x32."""

import numpy as np

from clf_train.data.dataset import Part, Parts


def read() -> Parts:
    """Read the digits: uint8 [1797, 3, 32, 32], each of the 8x8 squares drawn as 4x4 pixels, in file order."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    grey = np.rint(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    drawn = grey.repeat(4, axis=1).repeat(4, axis=2)
    images = np.repeat(drawn[:, None], 3, axis=1)
    return Parts("scikit-learn's digits", Part(images, labels, "digits"))
