"""The word `cifar10`: the binary version of CIFAR-10, downloaded once.

Checksum and license: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import sys
from pathlib import Path
from urllib.parse import urlsplit

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
    except Exception as error:  # requests' exceptions, and ValueError of pooch
        raise DataError(
            f"cifar10: cannot be downloaded from {URL}: {_why(error)}; fetch that file in another way and pass it as "
            "--data"
        ) from None
    return Path(file)


def _why(error: Exception) -> str:
    """Why a download failed, in plain words where requests and pooch repeat each other's."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}".rstrip()
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection could be made"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy could not be reached"
    if isinstance(error, requests.ConnectionError):
        return f"{urlsplit(URL).hostname} cannot be reached"
    if isinstance(error, ValueError) and "hash" in str(error).lower():
        return "what came is not the file that was published (its checksum differs)"
    return brief(error)
