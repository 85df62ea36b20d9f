"""The word `cifar10`: the binary version of CIFAR-10, downloaded once.

Checksum and license: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import sys
from pathlib import Path

from clf_runtime.errors import brief
from clf_train.errors import DataError

WORD = "cifar10"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CHECKSUM = "md5:c32a1d4ab5d03f1284b67883e8d87530"  # as published on that page


def download() -> Path:
    """Download the archive once into the user's cache, and verify its published checksum; returns its path.

    Raises DataError if it cannot be downloaded.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        file = pooch.retrieve(
            URL,
            CHECKSUM,
            fname="cifar-10-binary.tar.gz",
            path=pooch.os_cache("clf-edge"),
            progressbar=sys.stderr.isatty(),
        )
    except Exception as error:  # requests' and urllib3's exceptions, and ValueError of pooch
        raise DataError(f"cifar10: cannot be downloaded from {URL}: {brief(error)}") from None
    return Path(file)
