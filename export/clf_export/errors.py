"""What can go wrong in an export, below the one root of clf-edge.

ClfError
└── ExportError                       the root of this package
    ├── AdoptionError (ValueError)      a foreign ONNX file cannot be adopted, or not as stated
    ├── TranslationError (ValueError)   the net cannot be translated to ONNX
    ├── ParityError (ValueError)        outputs differ from PyTorch's, or depend on the rest of the batch
    ├── FamiliarityError (ValueError)   no familiarity can be fitted to the net
    ├── QuantisationError (ValueError)  no int8 version of the net can be made
    ├── OutputError (ValueError)        the output file exists already, or cannot be written
    ├── DeliveryError (ValueError)      a file cannot be handed to another tool as that takes it
    └── MissingToolError (ImportError)  a tool that is needed for a delivery is not installed
"""

from clf_runtime.errors import ClfError


class ExportError(ClfError):
    """Root of every error that clf_export raises on purpose."""


class AdoptionError(ExportError, ValueError):
    """An ONNX file of another program cannot become a clf-edge model, or is not what was stated about it."""


class TranslationError(ExportError, ValueError):
    """A net cannot be translated to ONNX."""


class ParityError(ExportError, ValueError):
    """A file's outputs differ from PyTorch's, or depend on the rest of the batch: no file is written.

    `table` holds what differed, one figure per line.
    """

    def __init__(self, message: str, table: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.table = table


class FamiliarityError(ExportError, ValueError):
    """No familiarity can be fitted: too few images are held out, or the net's features tell nothing."""


class QuantisationError(ExportError, ValueError):
    """No int8 version of a net can be made, or none of those that were made can be run."""


class OutputError(ExportError, ValueError):
    """The output file exists already, or cannot be written."""


class DeliveryError(ExportError, ValueError):
    """A file cannot be handed to another tool as that takes it, or does not answer there as it should."""


class MissingToolError(ExportError, ImportError):
    """A tool that is needed for a delivery is not installed."""
