"""The device side of clf-edge: one ONNX file in, classes and probabilities out, with numpy and onnxruntime only.

    from clf_runtime import Classifier

    classifier = Classifier.load("model.onnx")
    print(classifier.predict("image.npy").name)

Importing the package loads neither numpy nor onnxruntime; the first use of a name does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clf_runtime.card import ModelCard
    from clf_runtime.classifier import Classifier, Prediction
    from clf_runtime.errors import ClfError, DeviceError, ImageError, MissingExtraError, ModelError

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "ClfError",
    "DeviceError",
    "ImageError",
    "MissingExtraError",
    "ModelCard",
    "ModelError",
    "Prediction",
    "__version__",
]

_HOME = {
    "Classifier": "classifier",
    "Prediction": "classifier",
    "ModelCard": "card",
    **dict.fromkeys(("ClfError", "DeviceError", "ImageError", "MissingExtraError", "ModelError"), "errors"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562), so that `--help` stays free of numpy and onnxruntime."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
