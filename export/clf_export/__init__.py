"""The export side of clf-edge: a run folder in, one proven `.onnx` file out.

    from pathlib import Path
    from clf_export import export_run
    from clf_train import read_source

    export = export_run(Path("artifacts/digits"), read_source("digits"), Path("digits.onnx"))
    print(export.comparison.max_difference)

Importing the package loads neither torch nor onnx; the first use of a name does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clf_export.errors import ExportError, OutputError, ParityError, TranslationError
    from clf_export.exporting import Export, export_run, find_test_images
    from clf_export.parity import Comparison

__all__ = [
    "Comparison",
    "Export",
    "ExportError",
    "OutputError",
    "ParityError",
    "TranslationError",
    "export_run",
    "find_test_images",
]

_HOME = {
    **dict.fromkeys(("ExportError", "OutputError", "ParityError", "TranslationError"), "errors"),
    **dict.fromkeys(("Export", "export_run", "find_test_images"), "exporting"),
    "Comparison": "parity",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562), so that `--help` stays free of numpy and torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
