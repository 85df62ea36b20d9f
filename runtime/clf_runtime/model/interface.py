"""A model's inputs and outputs: by its card, checked against the graph, or without a card by assumptions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clf_runtime.engine.engine import Engine
from clf_runtime.errors import ModelError
from clf_runtime.model.card import ModelCard
from clf_runtime.model.familiarity import OUTPUT
from clf_runtime.model.metadata import from_metadata

if TYPE_CHECKING:
    from clf_runtime.model.assumptions import Assumptions

Prepare = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interface:
    """How images go into a model and probabilities come out: its card, and what is done around it.

    `prepare` turns a batch in the card's dtype and layout into the model's input, of the same dtype; None if nothing is
    to be done. `softmax` says whether the outputs need one, `notes` what was stated or assumed, in
    sentences.
    """

    card: ModelCard
    prepare: Prepare | None = None
    softmax: bool = False
    notes: tuple[str, ...] = ()


def read_interface(engine: Engine, where: str, assume: "Assumptions | None") -> Interface:
    """Read a model's card, or make one from its graph and the user's assumptions.

    Raises ModelError, naming the file by `where`, if the card is invalid or does not match the graph, if there are
    assumptions for a model that has a card, or if a model without one cannot be run (see foreign.assume_card).
    """
    try:
        card = from_metadata(engine.metadata)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from None
    if card is None:
        from clf_runtime.model.foreign import assume_card

        return assume_card(engine, where, assume)
    if assume is not None:
        raise ModelError(f"{where}: has a model card, so nothing needs to be assumed; omit --assume")
    _match(card, engine, where)
    return Interface(card, in_colour if card.input == "photo" else None)


def in_colour(photos: np.ndarray) -> np.ndarray:
    """Photos [..., height, width, 1 or 3] with the three channels that the graph takes: grey ones have it thrice."""
    return photos if photos.shape[-1] == 3 else np.repeat(photos, 3, axis=-1)


def _match(card: ModelCard, engine: Engine, where: str) -> None:
    """Raise ModelError unless the graph's inputs and outputs are those of its card."""
    taken = ", ".join(map(str, engine.inputs)) or "nothing"
    given = ", ".join(map(str, engine.outputs)) or "nothing"
    if card.input == "photo":
        found = [(i.dtype, *(n if isinstance(n, int) else None for n in i.shape)) for i in engine.inputs]
        if found != [("uint8", 1, None, None, 3)]:
            raise ModelError(
                f"{where}: its card says a photo, uint8 [1, height, width, 3], but its graph takes {taken}"
            )
    elif [(i.dtype, len(i.shape), i.shape[1:]) for i in engine.inputs] != [(card.dtype, 4, card.input_shape)]:
        raise ModelError(f"{where}: its card says {card.dtype} {list(card.input_shape)}, but its graph takes {taken}")
    if [(o.dtype, o.shape[1:]) for o in engine.outputs[:1]] != [("float32", (len(card.names),))]:
        raise ModelError(f"{where}: its card names {len(card.names)} classes, but its graph gives {given}")
    second = [(o.name, o.dtype, len(o.shape)) for o in engine.outputs[1:2]]
    if card.familiarity is not None and second != [(OUTPUT, "float32", 1)]:
        raise ModelError(f"{where}: its card says a second output {OUTPUT}, but its graph gives {given}")
