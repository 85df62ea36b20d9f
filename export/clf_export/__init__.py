"""The export side of clf-edge: a run folder in, one proven `.onnx` file out.

    from pathlib import Path
    from clf_export import export_run
    from clf_train import read_source

    export = export_run(Path("artifacts/digits"), read_source("digits"), Path("digits.onnx"))
    print(export.proof.test.max_difference)

Importing the package loads neither torch nor onnx; the first use of a name does.
"""

from typing import TYPE_CHECKING

from clf_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from clf_export.errors import ExportError, OutputError, ParityError, QuantisationError, TranslationError
    from clf_export.exporting import Export, ModelFile, export_run
    from clf_export.parity import Comparison
    from clf_export.places import find_test_images
    from clf_export.proof import Edge, Proof
    from clf_export.quantize import Quantised, Trial
    from clf_export.verdict import Verdict

__all__ = [
    "Comparison",
    "Edge",
    "Export",
    "ExportError",
    "ModelFile",
    "OutputError",
    "ParityError",
    "Proof",
    "QuantisationError",
    "Quantised",
    "TranslationError",
    "Trial",
    "Verdict",
    "export_run",
    "find_test_images",
]

_HOME = {
    **dict.fromkeys(("ExportError", "OutputError", "ParityError", "QuantisationError", "TranslationError"), "errors"),
    **dict.fromkeys(("Export", "ModelFile", "export_run"), "exporting"),
    **dict.fromkeys(("Quantised", "Trial"), "quantize"),
    "Verdict": "verdict",
    "find_test_images": "places",
    "Comparison": "parity",
    **dict.fromkeys(("Edge", "Proof"), "proof"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOME)
