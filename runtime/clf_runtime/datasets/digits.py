"""The word `digits`: scikit-learn's 1,797 handwritten digits (8x8, 17 greys), enlarged to 3x32x32.

scikit-learn is not imported: its package contains them as a text file, one digit per line, the label last.
"""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from clf_runtime.datasets.source import Part, Source, part_of
from clf_runtime.errors import MissingExtraError

WORD = "digits"


def look() -> Source:
    """Find the digits: uint8 [1797, 3, 32, 32], each of the 8x8 values repeated as 4x4 pixels, in file order.

    Raises MissingExtraError if scikit-learn is not installed.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise MissingExtraError("digits: needs scikit-learn: pip install scikit-learn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return Source("scikit-learn's digits", WORD, lambda: _read(file))


def _read(file: Path) -> Part:
    with gzip.open(file, "rt") as stream:
        values = np.loadtxt(stream, delimiter=",")
    grey = np.rint(values[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    drawn = grey.repeat(4, axis=1).repeat(4, axis=2)
    return part_of(np.repeat(drawn[:, None], 3, axis=1), values[:, -1].astype(np.int64), WORD)
