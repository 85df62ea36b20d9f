"""Classifier: a loaded model file that turns arrays of images into predictions.

Files, folders and streams are read by pipeline.py, which calls a Classifier image by image and batch by batch.
"""

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from clf_runtime.engine.engine import open_engine
from clf_runtime.engine.threads import run_blocks, share, usable_processors
from clf_runtime.errors import DeviceError, ImageError, ModelError, called
from clf_runtime.inputs.array_like import as_array, is_array
from clf_runtime.inputs.arrays import BLOCK, to_batch
from clf_runtime.inputs.batching import Image, takes_as_is, to_batch_of_one, to_batches
from clf_runtime.model.card import ModelCard
from clf_runtime.model.familiarity import NO_FAMILIARITY
from clf_runtime.model.file import find_model, read_model, refuse_key_twice
from clf_runtime.model.integrity import refuse_another, refuse_damaged, sha256_of
from clf_runtime.model.interface import read_interface
from clf_runtime.pipeline import Answered, predict_file
from clf_runtime.prediction import UNKNOWN, Prediction, Predictions, Reject, check_probability

if TYPE_CHECKING:
    from clf_runtime.model.assumptions import Assumptions

_NO_DISTRIBUTION = "is not a probability distribution (NaN, negative, or does not sum to 1)"
_UINT8 = np.dtype(np.uint8)
_SLACK = 1e-3  # of a sum of probabilities
_CPU_BLOCK = 64  # images per run on the CPU, so that the activations fit into its caches


class Classifier:
    """A loaded model. Create one with `Classifier.load`; threads may share it.

    `card` describes the model, `provider` is the execution provider that runs it, `sha256` identifies the file,
    `threads` is the number of threads for a large batch, and `notes` says, in sentences, what was assumed or decided.
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
        assume: "Assumptions | None" = None,
    ) -> None:
        """Load the bytes of an `.onnx` file; `where` names it in errors. See `load`."""
        if threads < 0:
            raise DeviceError(f"threads must be 1 or more, or 0 for as many as this process may use, not {threads}")
        if not isinstance(model, bytes):
            raise ModelError(f"{where}: expected the bytes of a model, not {called(model)}; load takes a path")
        self._where = where
        self.sha256 = sha256_of(model)
        refuse_another(self.sha256, sha256, where)
        refuse_damaged(model, where)
        engine = open_engine(model, where, device=device, tf32=tf32, log=log)
        refuse_key_twice(model, where)
        interface = read_interface(engine, where, assume)
        self.card, self._prepare, self._softmax = interface.card, interface.prepare, interface.softmax
        self.provider, self._run = engine.provider, engine.run
        is_plain = self._prepare is None and not self._softmax  # not for photos: their size varies
        self._is_familiar = self.card.familiarity is not None
        outputs = 1 + self._is_familiar
        if self._is_familiar:
            self._run = lambda batch: np.column_stack(engine.run_all(batch)[:2])
        self._width = len(self.card.names) + self._is_familiar
        self._run_single = engine.bind_single(len(self.card.names), outputs) if is_plain else None
        self._as_is = takes_as_is(self.card)
        self._ones = np.ones(self._width, np.float32)  # by which probabilities are summed, not the familiarity
        self._ones[len(self.card.names) :] = 0
        self._block = 1 if engine.inputs[0].shape[0] == 1 else None
        self._most = _CPU_BLOCK if engine.on_cpu else BLOCK
        usable = usable_processors() if threads != 1 and engine.on_cpu else 1
        self.threads = min(threads or usable, usable)
        count = f"running {self.threads} thread{'s' * (self.threads > 1)}"
        why = "this process may not use more" if engine.on_cpu else "only the CPU uses several"
        fewer = (f"{count}: {why}",) if self.threads < threads else ()
        self.notes = (*engine.notes, *interface.notes, *fewer)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Classifier cannot be pickled: load it in each process, or fork")

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
        assume: "Assumptions | None" = None,
    ) -> "Classifier":
        """Load an `.onnx` file, or without `path` the CIFAR-10 model that ships with clf-edge.

        `hf://owner/name[@revision][/file.onnx]` is one on the Hugging Face Hub, fetched unless it is cached.
        `device` is `auto`, `cpu`, `cuda` or another execution provider of the installed onnxruntime; see open_engine,
        also for `tf32` and `log`. A large batch is split among `threads` threads, each of which runs the model on its
        own images; a single image uses one. 0 means as many as this process may use, which is also the maximum. With
        `sha256` (64 hexadecimal digits) any other file is refused; the bytes that are hashed are those that are run.
        A file without a card runs by what its graph shows and `assume` says, which `notes` lists; it is refused where
        its preprocessing cannot be determined.
        Raises ModelError if the file is missing, has another hash, is not a model, or its card is invalid; DeviceError
        if the device does not work; MissingExtraError without onnxruntime, or without huggingface_hub for `hf://`.
        """
        notes: list[str] = []
        file = find_model(path, notes.append)
        options: dict[str, Any] = {"device": device, "threads": threads, "tf32": tf32, "log": log}
        classifier = cls(read_model(file), str(file), **options, sha256=sha256, assume=assume)
        classifier.notes = (*notes, *classifier.notes)
        return classifier

    def predict(
        self,
        image: Image,
        *,
        distribution: bool = False,
        reject_below: float = 0.0,
        reject: Reject = None,
        where: str = "image",
    ) -> Prediction:
        """Classify one image: an array or array-like, or the path of a `.npy`, `.npz`, PNG or JPEG file.

        An array is [channels, height, width] or [height, width, channels] in the model's dtype and range, channels
        first where both fit; uint8 and floats in [0, 1] are converted into each other (see to_batch). An image opened
        with Pillow is treated like its file. `where` names an array in errors. With `distribution` the prediction holds
        the probabilities of all classes. An image whose probability is below `reject_below`, in 0..1, is rejected; with
        `reject="auto"` one that is less familiar than the card's threshold, which are one in twenty of those that the
        model knows.
        Raises ImageError if the image does not fit the model, or if it is more than one image or has masked values;
        ModelError if the model fails, or has no familiarity for `reject`; ValueError if `reject_below` is not a
        probability.
        """
        unfamiliar_below = 0.0 if reject is None else self._threshold(reject)
        if not (type(image) is np.ndarray and image.dtype is _UINT8 and image.shape == self._as_is):
            image = to_batch_of_one(image, self.card, where)
        row = None
        if self._run_single is not None:
            try:  # noqa: SIM105 - suppress() takes as long as the checks below
                row = self._run_single(image)
            except ModelError:
                pass  # the run of a batch below gives the better message
        if row is None:
            batch = image.reshape(1, *image.shape[-3:])
            return self._predictions(self._checked(self._answers(batch)), distribution, reject_below, unfamiliar_below)[
                0
            ]
        # The same as `_predictions` for a batch, but without numpy, which is slower for ten numbers.
        if reject_below:
            check_probability(reject_below)
        familiarity = row.pop() if self._is_familiar else None
        names, probability = self.card.names, max(row)
        if not (min(row) >= 0 and -_SLACK <= sum(row) - 1 <= _SLACK):  # NaN too
            raise self._fault(f"the model's output {_NO_DISTRIBUTION}")
        index = row.index(probability)
        whole = np.array(row, np.float32) if distribution else None
        rejected = None
        if familiarity is not None and familiarity < unfamiliar_below:
            rejected = "unfamiliar"
        elif probability < reject_below:
            rejected = "ambiguous"
        chosen = (index, names[index]) if rejected is None else (None, UNKNOWN)
        whose = (self.sha256, self.provider)
        return tuple.__new__(Prediction, (*chosen, probability, *whose, whole, familiarity, rejected))

    def predict_batch(
        self,
        images: np.ndarray | Iterable[Image],
        *,
        distribution: bool = False,
        reject_below: float = 0.0,
        reject: Reject = None,
    ) -> Predictions:
        """Classify a batch: an array [n, channels, height, width] (or NHWC), or an iterable of single images.

        Options and errors are those of `predict`; an error names the first invalid image. Of an iterator, only a batch
        of images is in memory at a time, and the probabilities of all. An empty batch gives empty Predictions.
        """
        unfamiliar_below = 0.0 if reject is None else self._threshold(reject)
        if isinstance(images, str | os.PathLike):
            raise ImageError(f"{os.fspath(images)}: predict_batch takes an array or several images; use predict_file")
        if type(images) is np.ndarray and images.dtype is _UINT8 and images.shape[1:] == self._as_is:
            answers = self._answers(np.ascontiguousarray(images))
        elif is_array(images):
            answers = self._answers(to_batch(images, self.card, "images"))
        else:
            batches = to_batches(images, self.card, BLOCK * self.threads)
            none = np.empty((0, self._width), np.float32)
            answers = np.concatenate([none, *(self._answers(batch) for batch in batches)])
        return self._predictions(self._checked(answers), distribution, reject_below, unfamiliar_below)

    def predict_file(
        self,
        path: str | os.PathLike[str],
        *,
        distribution: bool = False,
        reject_below: float = 0.0,
        reject: Reject = None,
    ) -> Iterator[Answered]:
        """Yield (index, prediction) for each image of a file, in constant memory.

        The index is None where the file holds one image, not a batch. An invalid image of a batch gives its ImageError
        in place of a prediction, one on which the model fails its ModelError; the others are not affected. Raises
        ImageError if the file cannot be read, MissingExtraError if it is a PNG or JPEG and Pillow is not installed.
        """
        return predict_file(self, path, distribution=distribution, reject_below=reject_below, reject=reject)

    def probabilities(self, batch: np.ndarray, *, block: int | None = None) -> np.ndarray:
        """Run the model on a prepared batch (see `to_batch`): float32 [batch, classes].

        Each thread takes `block` images at a time; None chooses a fast size. An empty batch gives [0, classes].
        Raises ModelError if the model fails, or if its output for an image, which is named, is not a probability
        distribution; ImageError for what is not an array, or has masked values.
        """
        return self.scores(batch, block=block)[0]

    def scores(self, batch: np.ndarray, *, block: int | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Like `probabilities`, and with them the familiarity, float32 [batch]; None if the file has no such output."""
        answers = self._checked(self._answers(as_array(batch, "batch"), block))
        if not self._is_familiar:
            return answers, None
        return np.ascontiguousarray(answers[:, :-1]), answers[:, -1].copy()

    def _threshold(self, reject: str) -> float:
        """The familiarity below which an image is unknown. Raises ModelError if the file has no such output."""
        if reject != "auto":
            raise ValueError(f'reject must be "auto" or None, not {reject!r}')
        if self.card.familiarity is None:
            raise self._fault(NO_FAMILIARITY)
        return self.card.familiarity.threshold

    def _answers(self, batch: np.ndarray, block: int | None = None) -> np.ndarray:
        """The model's output, unchecked: float32 [batch, classes], and one column more for a familiarity."""
        block = self._block or block or share(len(batch), self.threads, self._most)
        if 0 < len(batch) <= block:
            return self._answer(batch)
        answers = np.empty((len(batch), self._width), np.float32)
        run_blocks(lambda rows: self._answer(batch[rows]), answers, block, self.threads)
        return answers

    def _answer(self, batch: np.ndarray) -> np.ndarray:
        """Run the model once: see `_answers`. Raises ModelError."""
        try:
            answer = self._run(batch if self._prepare is None else self._prepare(batch))
        except ModelError as error:
            raise self._fault(f"the model failed on a batch of {len(batch)}: {error}") from None
        if answer.shape != (len(batch), self._width):
            raise self._fault(
                f"the model gave an output of shape {answer.shape}, but its card has {len(self.card.names)} classes"
            )
        answer = answer.astype(np.float32, copy=False)  # a model without a card may have another output dtype
        if self._softmax:
            answer = np.exp(answer - answer.max(axis=1, keepdims=True))
            answer /= answer.sum(axis=1, keepdims=True)
        return answer

    def _checked(self, answers: np.ndarray) -> np.ndarray:
        """The argument, if its rows are probabilities. Raises ModelError, naming the first row that is not."""
        if not len(answers):
            return answers
        sums = answers.dot(self._ones)
        least, low, high = np.minimum.reduce(answers, None), np.minimum.reduce(sums), np.maximum.reduce(sums)
        if not (least >= 0 and low >= 1 - _SLACK and high <= 1 + _SLACK):  # NaN too
            rows = (answers >= 0).all(axis=1) & (sums >= 1 - _SLACK) & (sums <= 1 + _SLACK)
            which = f" for images[{rows.argmin()}]" * (len(answers) > 1)
            raise self._fault(f"the model's output{which} {_NO_DISTRIBUTION}")
        return answers

    def _predictions(
        self, answers: np.ndarray, distribution: bool, reject_below: float, unfamiliar_below: float
    ) -> Predictions:
        probabilities, familiarity = answers, None
        if self._is_familiar:
            probabilities, familiarity = answers[:, :-1], answers[:, -1]
        whose = (self.card.names, self.sha256, self.provider)
        return Predictions(
            probabilities,
            *whose,
            distribution=distribution,
            reject_below=reject_below,
            familiarity=familiarity,
            unfamiliar_below=unfamiliar_below,
        )

    def _fault(self, what: str) -> ModelError:
        return ModelError(f"{self._where}: {what}")
