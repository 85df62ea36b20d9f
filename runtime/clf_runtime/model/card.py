"""ModelCard: the description inside a model file; metadata.py writes and reads it."""

from dataclasses import dataclass

from clf_runtime.model.card_checks import check_card
from clf_runtime.model.familiarity import Control, Familiarity
from clf_runtime.model.geometry import UNSTATED, Geometry
from clf_runtime.model.open_set import OpenSet
from clf_runtime.model.records import Golden, GoldenPicture, Int8, Parity
from clf_runtime.model.reference import Reference


@dataclass(frozen=True)
class ModelCard:
    """A model's inputs and outputs, its origin, and its accuracy.

    `image_shape` is (channels, height, width); images are NCHW with channels in RGB order. `dtype` is `uint8` or
    `float32`, `value_range` the lowest and highest valid value of an image. `mean` and `std` (one per channel, in the
    units of the image) and `temperature` are already in the graph, and here for information only. `precision` is that
    of the weights, `float32` or `int8`. `geometry` says how a picture of another size is resized to the input; it is
    None for files of schema 2, and for those without a card. `input` is `tensor`, a batch of such images, or `photo`:
    the geometry is in the graph too, which takes one photo uint8 [1, height, width, 3], RGB, of any height and width.

    Raises ModelError, naming the field, for an invalid value.
    """

    model: str
    names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    dtype: str
    value_range: tuple[float, float]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    temperature: float = 1.0
    layout: str = "NCHW"
    geometry: Geometry | None = None
    input: str = "tensor"
    precision: str = "float32"
    description: str = ""
    license: str = ""
    created: str = ""  # when the training ended: ISO 8601, UTC
    run: str = ""
    recipe: str = ""
    data: str = ""
    data_fingerprint: str = ""
    pretrained: str = ""  # source and licence of the weights that its training began with, if it began with any
    original: str = ""  # name and SHA-256 of the file that it was made of, for a classifier from another program
    parameters: int = 0
    test_images: int = 0
    test_accuracy: float | None = None  # a fraction in [0, 1], PyTorch's at the end of the training
    fold_count: int = 0  # of its training in folds, 0 if there were none
    fold_images: int = 0
    fold_accuracy: float | None = None  # a fraction in [0, 1], of nets that had not seen the images
    parity: Parity | None = None
    int8: Int8 | None = None
    golden: Golden | None = None
    golden_picture: GoldenPicture | None = None
    reference: Reference | None = None
    familiarity: Familiarity | None = None  # of the second output; None if the file has none
    control: Control | None = None  # how often known images, changed, are called unknown by it
    open_set: OpenSet | None = None  # how often left-out classes would be noticed; None if it was not measured

    def __post_init__(self) -> None:
        check_card(self)

    @property
    def parity_is_of_training(self) -> bool:
        """Whether the images of `parity` are those that the net was trained on: folds stand in for a test part."""
        found = self.parity
        return bool(self.fold_count and not self.test_images and found) and (
            found.data_fingerprint == self.data_fingerprint  # type: ignore[union-attr]
        )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one image as the graph takes it: `image_shape`, or its channels last where `layout` is NHWC."""
        channels, height, width = self.image_shape
        return (height, width, channels) if self.layout == "NHWC" else (channels, height, width)

    @property
    def picture_geometry(self) -> Geometry:
        """The geometry that pictures get: `geometry`, or what it means that none is stated."""
        return self.geometry or UNSTATED
