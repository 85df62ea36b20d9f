"""The device side of clf-edge: one ONNX file in, classes and probabilities out, with numpy and onnxruntime only.

    from clf_runtime import Classifier

    classifier = Classifier.load("model.onnx")
    print(classifier.predict("image.npy").name)

Importing the package loads neither numpy nor onnxruntime; the first use of a name does.
"""

from typing import TYPE_CHECKING

from clf_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from clf_runtime.classifier import Classifier
    from clf_runtime.errors import ClfError, DeviceError, ImageError, MissingExtraError, ModelError, ScoringError
    from clf_runtime.evaluation.self_test import GoldenCase, SelfTest, self_test
    from clf_runtime.explanation.explain import Explanation, explain
    from clf_runtime.model.assumptions import Assumptions
    from clf_runtime.model.card import ModelCard
    from clf_runtime.monitoring.drift import DriftMonitor
    from clf_runtime.pipeline import Answer, answer_files, answer_stream
    from clf_runtime.prediction import Prediction, Predictions
    from clf_runtime.scoring.score import score

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Assumptions",
    "Classifier",
    "ClfError",
    "DeviceError",
    "DriftMonitor",
    "Explanation",
    "GoldenCase",
    "ImageError",
    "MissingExtraError",
    "ModelCard",
    "ModelError",
    "Prediction",
    "Predictions",
    "ScoringError",
    "SelfTest",
    "__version__",
    "answer_files",
    "answer_stream",
    "explain",
    "score",
    "self_test",
]

_HOME = {
    "Classifier": "classifier",
    **dict.fromkeys(("Prediction", "Predictions"), "prediction"),
    "Assumptions": "model.assumptions",
    "ModelCard": "model.card",
    **dict.fromkeys(("Answer", "answer_files", "answer_stream"), "pipeline"),
    "DriftMonitor": "monitoring.drift",
    **dict.fromkeys(("Explanation", "explain"), "explanation.explain"),
    "score": "scoring.score",
    **dict.fromkeys(("GoldenCase", "SelfTest", "self_test"), "evaluation.self_test"),
    **dict.fromkeys(
        ("ClfError", "DeviceError", "ImageError", "MissingExtraError", "ModelError", "ScoringError"), "errors"
    ),
}
__getattr__, __dir__ = lazy_names(__name__, _HOME)
