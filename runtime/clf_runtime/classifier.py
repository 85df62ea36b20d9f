"""Classifier: a model file, loaded, that turns images into predictions."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from clf_runtime.bounded import as_path
from clf_runtime.engine.bound_buffers import bind
from clf_runtime.engine.processors import usable_processors
from clf_runtime.engine.session import CPU, check_log_level, is_onnxruntimes, open_session, plain
from clf_runtime.engine.threads import run_blocks, share
from clf_runtime.errors import DeviceError, ImageError, ModelError, called
from clf_runtime.inputs.array_like import as_array, is_array
from clf_runtime.inputs.arrays import BLOCK, read_images, to_batch
from clf_runtime.inputs.gather import as_single, gather
from clf_runtime.model.assumptions import Assumptions
from clf_runtime.model.card import ModelCard
from clf_runtime.model.file import default_model, read_model, refuse_key_twice
from clf_runtime.model.foreign import Prepare, assume_card
from clf_runtime.model.integrity import refuse_another, refuse_damaged, sha256_of
from clf_runtime.model.metadata import from_metadata
from clf_runtime.prediction import UNKNOWN, Prediction, Predictions, check_probability

_NO_PROBABILITIES = "what are no probabilities (NaN, negative, or not of sum 1)"
_UINT8 = np.dtype(np.uint8)
_SLACK = 1e-3  # of a sum of probabilities
_CPU_BLOCK = 64  # images that a session of the CPU takes at a time: its caches hold no more of what lies between layers

Image = ArrayLike | str | os.PathLike[str]


class Classifier:
    """A loaded model. Make one with `Classifier.load`; it may be shared by threads.

    `card` says what the model is, `provider` what runs it, `sha256` which file it is, `threads` how many share a
    large batch, and `notes` holds sentences about what had to be assumed or decided, for people.
    """

    card: ModelCard
    provider: str
    sha256: str
    threads: int
    notes: tuple[str, ...]

    def __init__(
        self,
        model: bytes,
        where: str,
        *,
        device: str = "auto",
        threads: int = 1,
        tf32: bool = False,
        log: str | None = None,
        sha256: str | None = None,
        assume: Assumptions | None = None,
    ) -> None:
        """Open the bytes of an `.onnx` file; `where` names it in errors. See `load`."""
        if threads < 0:
            raise DeviceError(f"threads must be 1 or more, or 0 for as many as this process may use, not {threads}")
        check_log_level(log)
        if not isinstance(model, bytes):
            raise ModelError(f"{where}: {called(model)} where the bytes of a model are wanted; load takes a path")
        self._where = where
        self.sha256 = sha256_of(model)
        refuse_another(self.sha256, sha256, where)
        refuse_damaged(model, where)
        session = open_session(model, where, device=device, tf32=tf32, log=log)
        refuse_key_twice(model, where)
        self._run = session.ort.run
        self.provider = session.provider
        try:
            assumptions, prepare = self._look_at(session.ort, where, assume)
        except UnicodeDecodeError:  # onnxruntime decodes what a file holds only when it is asked for it
            raise ModelError(f"{where}: its names or its metadata are not UTF-8") from None
        if prepare is not None:
            self._run = lambda names, feeds: session.ort.run(names, {k: prepare(v) for k, v in feeds.items()})
        is_plain = prepare is None and not self._softmax
        plain = self.provider == CPU and is_plain and session.ort.get_outputs()[0].type == "tensor(float)"
        self._run_one = bind(session.ort, self._sizes, len(self.card.names)) if plain else None
        usable = usable_processors() if threads != 1 and self.provider == CPU else 1
        self.threads = min(threads or usable, usable)
        count = f"running {self.threads} thread{'s' * (self.threads > 1)}"
        why = "this process may use no more" if self.provider == CPU else "more are for the CPU"
        fewer = (f"{count}: {why}",) if self.threads < threads else ()
        self.notes = (*session.notes, *assumptions, *fewer)

    def _fault(self, what: str) -> ModelError:
        return ModelError(f"{self._where}: {what}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Classifier is not sent to another process: load it in each process, or fork")

    def _look_at(self, session: Any, where: str, assume: Assumptions | None) -> tuple[tuple[str, ...], Prepare | None]:
        """Read the card from a session, or assume one: what was assumed, and does to images. Raises ModelError."""
        inputs, outputs = session.get_inputs(), session.get_outputs()
        try:
            card = from_metadata(session.get_modelmeta().custom_metadata_map)
        except ModelError as error:
            raise ModelError(f"{where}: {error}") from None
        self._softmax = False
        assumptions: tuple[str, ...] = ()
        prepare = None
        if card is None:
            foreign = assume_card(session, where, assume)
            card, prepare = foreign.card, foreign.prepare
            self._softmax, assumptions = foreign.softmax, foreign.notes
        else:
            if assume is not None:
                raise ModelError(f"{where}: carries a card, so nothing is to be assumed of it; leave --assume away")
            _match(card, inputs, outputs, where)
        self.card = card
        self._ones = np.ones(len(card.names), np.float32)
        self._input, self._outputs = inputs[0].name, [outputs[0].name]
        channels, height, width = card.image_shape
        self._sizes = (height, width, channels) if card.layout == "NHWC" else (channels, height, width)
        self._one_by_one = inputs[0].shape[0] == 1
        # uint8 images of this shape go to the model as they are.
        self._ready_shape = self._sizes if (card.dtype, card.layout) == ("uint8", "NCHW") else None
        return assumptions, prepare

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        device: str = "auto",
        threads: int = 1,
        tf32: bool = False,
        log: str | None = None,
        sha256: str | None = None,
        assume: Assumptions | None = None,
    ) -> "Classifier":
        """Load an `.onnx` file, or without `path` the CIFAR-10 model that ships with clf-edge.

        `device` is `auto`, `cpu`, `cuda` or another execution provider of the installed onnxruntime; see open_session,
        also for `tf32` and `log`. `threads` share the images of a large batch, each running the session on its own; a
        single image has one. 0 takes as many as this process may use, and more than those are not taken. With `sha256`
        (64 hexadecimal digits) any other file is refused; what is hashed are the very bytes that are then run.
        A file without a card runs by what its graph shows and `assume` says, and `notes` tells all of it; where its
        values cannot be known and are not said, it is refused.
        Raises ModelError if the file is missing, is another, is no model, or its card is wrong; DeviceError if the
        device does not work; MissingExtraError without onnxruntime.
        """
        file = default_model() if path is None else Path(as_path(path, ModelError))
        options: dict[str, Any] = {"device": device, "threads": threads, "tf32": tf32, "log": log}
        return cls(read_model(file), str(file), **options, sha256=sha256, assume=assume)

    def predict(
        self, image: Image, *, distribution: bool = False, reject_below: float = 0.0, where: str = "image"
    ) -> Prediction:
        """Classify one image: a path to a `.npy`, `.npz`, PNG or JPEG, or an array (or what numpy takes for one).

        An array is [channels, height, width] or [height, width, channels] in the model's dtype and range, channels
        first where both fit; uint8 and floats in [0, 1] stand for each other (see to_batch). A picture that Pillow has
        opened is taken as its file is. `where` names an array in errors. With `distribution` the prediction holds
        every class's probability. An image whose probability, in 0..1, is below `reject_below` is rejected.
        Raises ImageError if it is not what the model takes, holds more than one image, or values that are masked;
        ModelError if the model does not answer; ValueError if `reject_below` is no probability.
        """
        if type(image) is np.ndarray and image.dtype is _UINT8 and image.shape == self._ready_shape:
            return self._predict_one(image, distribution, reject_below)
        return self._predict_one(as_single(image, self.card, where), distribution, reject_below)

    def predict_batch(
        self, images: np.ndarray | Iterable[Image], *, distribution: bool = False, reject_below: float = 0.0
    ) -> Predictions:
        """Classify a batch: an array [n, channels, height, width] (or NHWC), or single images of any kind.

        The options are those of `predict`, and what is raised; an error names the first image at fault. Single images
        may come from an iterator: blocks of them are in memory, and the probabilities of all. An empty batch, whether
        it has a shape or not, gives empty Predictions.
        """
        if isinstance(images, str | os.PathLike):
            raise ImageError(f"{os.fspath(images)}: predict_batch takes an array, or several images: use predict_file")
        if type(images) is np.ndarray and images.dtype is _UINT8 and images.shape[1:] == self._ready_shape:
            answer = self._answers(np.ascontiguousarray(images))
        elif is_array(images):
            answer = self._answers(to_batch(images, self.card, "images"))
        else:
            blocks = gather(images, self.card, BLOCK * self.threads)
            none = np.empty((0, len(self.card.names)), np.float32)
            answer = np.concatenate([none, *(self._answers(block) for block in blocks)])
        return self._predictions(self._checked(answer), distribution, reject_below)

    def predict_file(
        self, path: str | os.PathLike[str], *, distribution: bool = False, reject_below: float = 0.0
    ) -> Iterator[tuple[int | None, Prediction | ImageError | ModelError]]:
        """Yield (index, prediction) for each image of a file, in memory that does not grow with it.

        The index is None where the file holds one image, not a batch. An image of a batch that is at fault gives its
        ImageError in place of a prediction, one that the model has no probabilities for its ModelError, and the rest
        goes on. Raises ImageError if the file cannot be read, MissingExtraError if it is a picture and Pillow is not
        installed.
        """
        where = as_path(path)
        yield from self.predict_blocks(
            read_images(where, self.card), where, distribution=distribution, reject_below=reject_below
        )

    def predict_blocks(
        self,
        blocks: Iterable[tuple[int | None, np.ndarray]],
        where: str,
        *,
        distribution: bool = False,
        reject_below: float = 0.0,
    ) -> Iterator[tuple[int | None, Prediction | ImageError | ModelError]]:
        """Do what `predict_file` does for images that come as `read_images` yields them; `where` names them."""
        for first, block in blocks:
            if first is None:
                yield None, self._try(block, where, distribution, reject_below)
                continue
            try:
                batch = to_batch(block, self.card, where)
                answers = self._predictions(self.probabilities(batch), distribution, reject_below)
            except (ImageError, ModelError):
                for i, image in enumerate(block, first):
                    yield i, self._try(image, f"{where}[{i}]", distribution, reject_below)
            else:
                yield from enumerate(answers, first)

    def _try(
        self, image: np.ndarray, where: str, distribution: bool, reject_below: float
    ) -> Prediction | ImageError | ModelError:
        try:
            batch = to_batch(image, self.card, where)
        except ImageError as error:
            return error
        try:
            return self._predictions(self.probabilities(batch), distribution, reject_below)[0]
        except ModelError as error:
            return ModelError(f"{where}: {error}")

    def probabilities(self, batch: np.ndarray, *, block: int | None = None) -> np.ndarray:
        """Run the model on a prepared batch (see `to_batch`): float32 [batch, classes].

        Each thread takes `block` images at a time; None is what is fast. Of an empty batch it is [0, classes].
        Raises ModelError if the model fails on it, or answers with what are no probabilities, naming the first image
        for which it does; ImageError for what is no array, or has masked values.
        """
        return self._checked(self._answers(as_array(batch, "batch"), block))

    def _answers(self, batch: np.ndarray, block: int | None = None) -> np.ndarray:
        """Do what `probabilities` does, but for the look at what came: float32 [batch, classes]."""
        most = _CPU_BLOCK if self.provider == CPU else BLOCK
        block = 1 if self._one_by_one else block or share(len(batch), self.threads, most)
        if 0 < len(batch) <= block:
            return self._answer(batch)
        answer = np.empty((len(batch), len(self.card.names)), np.float32)
        run_blocks(lambda rows: self._answer(batch[rows]), answer, block, self.threads)
        return answer

    def _checked(self, answer: np.ndarray) -> np.ndarray:
        """The same, if it is probabilities. Raises ModelError, naming the first row that is not."""
        if not len(answer):
            return answer
        sums = answer.dot(self._ones)
        least, low, high = np.minimum.reduce(answer, None), np.minimum.reduce(sums), np.maximum.reduce(sums)
        if not (least >= 0 and low >= 1 - _SLACK and high <= 1 + _SLACK):  # NaN too
            rows = (answer >= 0).all(axis=1) & (sums >= 1 - _SLACK) & (sums <= 1 + _SLACK)
            which = f" to images[{rows.argmin()}]" * (len(answer) > 1)
            raise self._fault(f"the model answered{which} with {_NO_PROBABILITIES}")
        return answer

    def _answer(self, batch: np.ndarray) -> np.ndarray:
        """Run the model once: float32 [batch, classes], which may yet be no probabilities. Raises ModelError."""
        try:
            answer: np.ndarray = self._run(self._outputs, {self._input: batch})[0]
        except Exception as error:
            if not is_onnxruntimes(error):
                raise
            raise self._fault(f"the model failed on a batch of {len(batch)}: {plain(error)}") from None
        if answer.shape != (len(batch), len(self.card.names)):
            raise self._fault(
                f"the model answered with shape {answer.shape}, its card has {len(self.card.names)} names"
            )
        answer = answer.astype(np.float32, copy=False)  # a model without a card may answer in another dtype
        if self._softmax:
            answer = np.exp(answer - answer.max(axis=1, keepdims=True))
            answer /= answer.sum(axis=1, keepdims=True)
        return answer

    def _predict_one(self, image: np.ndarray, distribution: bool, reject_below: float) -> Prediction:
        """Do what `_predictions` does, for one image or a batch of one: see single.py, and benchmarks/runtime.py."""
        row = None
        if self._run_one is not None and not distribution:
            try:
                row = self._run_one(image)
            except Exception as error:
                if not is_onnxruntimes(error):
                    raise
                # The plain run says better what is wrong.
        if row is None:
            batch = image.reshape(1, *image.shape[-3:])
            return self._predictions(self.probabilities(batch), distribution, reject_below)[0]
        if reject_below:
            check_probability(reject_below)
        names, probability = self.card.names, max(row)
        if not (min(row) >= 0 and -_SLACK <= sum(row) - 1 <= _SLACK):  # NaN too
            raise self._fault(f"the model answered with {_NO_PROBABILITIES}")
        index = row.index(probability)
        chosen = (None, UNKNOWN) if probability < reject_below else (index, names[index])
        return tuple.__new__(Prediction, (*chosen, probability, self.sha256, self.provider, None))

    def _predictions(self, probabilities: np.ndarray, distribution: bool, reject_below: float) -> Predictions:
        whose = (self.card.names, self.sha256, self.provider)
        return Predictions(probabilities, *whose, distribution=distribution, reject_below=reject_below)


def _match(card: ModelCard, inputs: Sequence[Any], outputs: Sequence[Any], where: str) -> None:
    """Raise ModelError unless the graph takes and gives what its card says."""
    channels, height, width = card.image_shape
    sizes = [height, width, channels] if card.layout == "NHWC" else [channels, height, width]
    dtype = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[card.dtype]
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or list(inputs[0].shape[1:]) != sizes or inputs[0].type != dtype:
        raise ModelError(f"{where}: its card says {card.dtype} {sizes}, its graph takes {_signature(inputs)}")
    if not outputs or outputs[0].type != "tensor(float)" or list(outputs[0].shape[1:]) != [len(card.names)]:
        raise ModelError(f"{where}: its card names {len(card.names)} classes, its graph gives {_signature(outputs)}")


def _signature(nodes: Sequence[Any]) -> str:
    return ", ".join(f"{node.type} {node.shape}" for node in nodes) or "nothing"
