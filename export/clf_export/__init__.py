"""The export side of clf-edge: a run folder, or another program's `.onnx` file, in, one verified `.onnx` file out.

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
    from clf_export.adoption.adopt import Adopted, adopt_onnx
    from clf_export.adoption.stated import Stated
    from clf_export.errors import (
        AdoptionError,
        ExportError,
        OutputError,
        ParityError,
        QuantisationError,
        TranslationError,
    )
    from clf_export.export import Export, export_run
    from clf_export.inputs import find_test_images
    from clf_export.int8.quantize import Quantised, Trial
    from clf_export.int8.verdict import Verdict
    from clf_export.outputs import ModelFile
    from clf_export.proof.parity import Comparison
    from clf_export.proof.proof import Edge, Proof

__all__ = [
    "Adopted",
    "AdoptionError",
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
    "Stated",
    "TranslationError",
    "Trial",
    "Verdict",
    "adopt_onnx",
    "export_run",
    "find_test_images",
]

_HOME = {
    **dict.fromkeys(("Adopted", "adopt_onnx"), "adoption.adopt"),
    "Stated": "adoption.stated",
    **dict.fromkeys(
        ("AdoptionError", "ExportError", "OutputError", "ParityError", "QuantisationError", "TranslationError"),
        "errors",
    ),
    **dict.fromkeys(("Export", "export_run"), "export"),
    **dict.fromkeys(("Quantised", "Trial"), "int8.quantize"),
    "Verdict": "int8.verdict",
    "find_test_images": "inputs",
    "ModelFile": "outputs",
    "Comparison": "proof.parity",
    **dict.fromkeys(("Edge", "Proof"), "proof.proof"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOME)
