"""What can go wrong in an export, below the one root of clf-edge.

ClfError
└── ExportError                       the root of this package
    ├── TranslationError (ValueError)   the net cannot be translated to ONNX
    ├── ParityError (ValueError)        the file does not answer as PyTorch does, or an image is answered by others
    ├── QuantisationError (ValueError)  no int8 version of the net can be made
    └── OutputError (ValueError)        the file is in the way, or cannot be written
"""

from clf_runtime.errors import ClfError


class ExportError(ClfError):
    """Root of every error that clf_export raises on purpose."""


class TranslationError(ExportError, ValueError):
    """A net cannot be translated to ONNX."""


class ParityError(ExportError, ValueError):
    """A file does not answer as PyTorch does, or a net answers an image by others: no file is written.

    `table` holds what differed, a line a figure.
    """

    def __init__(self, message: str, table: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.table = table


class QuantisationError(ExportError, ValueError):
    """No int8 version of a net can be made, or none of those that were made runs."""


class OutputError(ExportError, ValueError):
    """The file to write is in the way, or cannot be written."""
