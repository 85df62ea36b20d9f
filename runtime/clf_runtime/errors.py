"""What can go wrong on a device, as one tree.

    ClfError (Exception)            the root: catch this to catch everything that clf-edge raises on purpose
    ├── ModelError (ValueError)     the file is not an ONNX model, cannot be run, or its card is invalid
    ├── ImageError (ValueError)     an image, or its label, cannot be read, or is not what the model takes
    ├── DeviceError (RuntimeError)  the requested device does not work here
    ├── MissingExtraError (ImportError)  an optional dependency is needed and not installed
    ├── ScoringError (RuntimeError) a folder of results belongs to another model or source, or a worker died
    └── UsageError (ValueError)     a command was called with invalid arguments

Each message is one line that says what was wrong, in which file, and what to do.
The root errors of the training and export packages derive from `ClfError`.
"""


class ClfError(Exception):
    """Root of every error that clf-edge raises on purpose."""


class ModelError(ClfError, ValueError):
    """A model file is missing, is not an ONNX model, cannot be run, or has an invalid card."""


class ImageError(ClfError, ValueError):
    """An image or its label cannot be read, or its shape, dtype, range or class is not what the model takes."""


class DeviceError(ClfError, RuntimeError):
    """The requested device does not work here."""


class MissingExtraError(ClfError, ImportError):
    """An optional dependency is needed and not installed."""


class ScoringError(ClfError, RuntimeError):
    """Results cannot be added to a folder: it belongs to another model or source, or a worker process died."""


class UsageError(ClfError, ValueError):
    """A command was called with invalid arguments."""


def called(value: object) -> str:
    """A description of a value for messages: its type, without its contents or address."""
    return "None" if value is None else f"a value of type {type(value).__name__[:60]}"


def brief(error: BaseException, limit: int = 200) -> str:
    """An exception's message as one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
