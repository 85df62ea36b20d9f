"""The proof that an ONNX file matches PyTorch, on all test images and on synthetic ones.

Letters in shapes: B images in a batch, N images, C channels, H height, W width, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clf_export.errors import ExportError, ParityError
from clf_export.proof.evidence import Evidence
from clf_export.proof.parity import TOLERANCE, Comparison, at_once, compare, run_onnx
from clf_runtime.errors import brief
from clf_runtime.evaluation.interval import stated

BATCHES = (1, 2, 7, 256)  # the last one smaller where images are large
KINDS = ("lowest values", "highest values", "one hot pixel", "noise")
_ALONE = 4  # test images that are also run one by one


@dataclass(frozen=True)
class Edge:
    """One batch of synthetic images of one kind: the largest difference of a probability, and predictions that differ.

    `differing` does not count near ties.
    """

    kind: str
    batch: int
    max_difference: float
    differing: int

    @property
    def passed(self) -> bool:
        """Whether the outputs match."""
        return self.max_difference <= TOLERANCE and self.differing == 0


@dataclass(frozen=True)
class Proof:
    """How a file's outputs compare with PyTorch's: on all test images, and on each synthetic batch."""

    test: Comparison
    edges: tuple[Edge, ...]

    @property
    def passed(self) -> bool:
        """Whether all outputs match."""
        return self.test.passed and all(edge.passed for edge in self.edges)

    @property
    def edge_images(self) -> int:
        """The number of synthetic images."""
        return sum(edge.batch for edge in self.edges)

    @property
    def edge_difference(self) -> float:
        """The largest difference of a probability on synthetic images."""
        return max(edge.max_difference for edge in self.edges)

    def problem(self) -> str:
        """Why it did not pass, in words."""
        if not self.test.passed:
            return self.test.problem()
        edge = max(self.edges, key=lambda e: (not e.passed, e.max_difference))
        where = f"on a synthetic batch ({edge.kind}, {edge.batch} images)"
        return f"{where} probabilities differ by up to {edge.max_difference:.2e} (tolerance {TOLERANCE:g})"


def prove(model: bytes, evidence: Evidence, names: Sequence[str]) -> Proof:
    """Compare a model's outputs with the evidence's. Raises ParityError, with a table, if they do not match."""
    images, reference, labels = evidence.images, evidence.reference, evidence.labels
    try:
        test = compare(reference, run_onnx(model, images), labels)
        alone = compare(reference[:_ALONE], run_onnx(model, images[:_ALONE], batch=1), labels[:_ALONE])
        edges = [Edge("test images alone", 1, alone.max_difference, alone.untied)]
        for kind in KINDS:
            for batch in (*BATCHES[:-1], at_once(images.shape[1:], BATCHES[-1])):
                made = edge_images(kind, batch, images.shape[1:], images.dtype, evidence.value_range)
                found = compare(evidence.answer(made), run_onnx(model, made, batch=batch), np.zeros(batch, np.int64))
                edges.append(Edge(kind, batch, found.max_difference, found.untied))
    except ExportError:  # the net itself fails
        raise
    except Exception as error:  # whatever it is, there is no proof
        raise ParityError(f"onnxruntime cannot run the model, so no file is written: {brief(error)}") from None
    proof = Proof(test, tuple(edges))
    if not proof.passed:
        raise ParityError(
            f"onnxruntime's outputs differ from {evidence.origin}'s, so no file is written: {proof.problem()}",
            tuple(table(proof, names, origin=evidence.origin)),
        )
    return proof


def edge_images(
    kind: str, batch: int, shape: tuple[int, ...], dtype: np.dtype, value_range: tuple[float, float]
) -> np.ndarray:
    """A batch of synthetic images [B, C, H, W] of one of `KINDS`; deterministic."""
    low, high = value_range
    if kind == "noise":
        rng = np.random.default_rng(batch)
        if dtype == np.uint8:
            return rng.integers(int(low), int(high), (batch, *shape), dtype, endpoint=True)
        return rng.uniform(low, high, (batch, *shape)).astype(dtype)
    made = np.full((batch, *shape), high if kind == "highest values" else low, dtype)
    if kind == "one hot pixel":
        flat = made.reshape(batch, -1)
        flat[np.arange(batch), np.arange(batch) * 7919 % flat.shape[1]] = high  # a prime, which spreads them
    return made


def table(
    proof: Proof, names: Sequence[str], *, trained_on: bool = False, labelled: bool = True, origin: str = "PyTorch"
) -> list[str]:
    """The figures of a proof, aligned, one per line; failures are marked.

    `trained_on` says that the net was trained on these images: their accuracy is then left out, as it is for images
    that are not `labelled`. `origin` is what the file was compared with.
    """
    test = proof.test
    lines = [
        f"{'images, all of them trained on   ' if trained_on else 'test images                      '}{test.images:,}",
        f"max. probability difference      {test.max_difference:.2e}  (tolerance {test.tolerance:g})"
        + _failed(test.max_difference <= test.tolerance),
        f"mean probability difference      {test.mean_difference:.2e}",
        f"predictions that differ          {test.differing:,}{_failed(test.untied == 0)}",
        *(
            f"  image {d.image}: {names[d.torch_class]}, onnxruntime {names[d.onnx_class]}; margin {d.margin:.2e}"
            for d in test.first_differing
        ),
    ]
    if labelled and not trained_on:
        lines.append(f"{f'accuracy, {origin}':<33}{stated(test.torch_accuracy, test.images)}")
        lines.append(f"accuracy, onnxruntime            {stated(test.onnx_accuracy, test.images)}")
    if labelled and test.onnx_class_accuracies != test.torch_class_accuracies:
        pairs = zip(names, test.torch_class_accuracies, test.onnx_class_accuracies, strict=True)
        lines += [f"  {name}: {100 * a:.2f} %, onnxruntime {100 * b:.2f} %" for name, a, b in pairs if a != b]
    lines.append(f"max. difference, synthetic       {proof.edge_difference:.2e}  ({proof.edge_images:,} images)")
    for edge in proof.edges:
        if not edge.passed:
            where = f"  {edge.kind}, batch {edge.batch}"
            lines.append(f"{where}: {edge.max_difference:.2e}, {edge.differing:,} predictions differ  FAILED")
    return lines


def _failed(passed: bool) -> str:
    return "" if passed else "  FAILED"
