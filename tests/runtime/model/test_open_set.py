"""What a card says of classes that were left out, and of known images that are called unknown."""

import json
from dataclasses import replace

import pytest

from clf_runtime import Classifier, ModelCard, ModelError
from clf_runtime.commands.describe import card_lines
from clf_runtime.commands.predict import main
from clf_runtime.model.familiarity import Control, Familiarity
from clf_runtime.model.metadata import PREFIX, from_metadata, to_metadata
from clf_runtime.model.open_set import OpenSet

FOUND = OpenSet(
    at_once=1,
    rounds=((0,), (2,), (1,)),
    epochs=4,
    accuracy=0.8,
    known=120,
    seconds=3.5,
    images=(60, 12, 80),
    probability_auroc=(0.7, None, 0.6),
    logit_auroc=(0.8, None, 0.6),
    probability_noticed=(0.2, None, 0.06),
    logit_noticed=(0.3, None, 0.04),
)
CONTROL = Control(50, ("moved a little", "smaller, on white"), (0.06, 0.9))
KNOWN = Familiarity(0.25, 100, True, 10, ("noise",), (1.0,))
CARD = ModelCard(
    "tiny", ("red", "green", "blue"), (3, 8, 8), "uint8", (0, 255), familiarity=KNOWN, control=CONTROL, open_set=FOUND
)


def test_it_survives_the_metadata_and_earlier_versions_do_not_look_at_it():
    metadata = to_metadata(CARD)
    assert from_metadata(metadata) == CARD
    earlier = {key: text for key, text in metadata.items() if key not in (PREFIX + "open_set", PREFIX + "control")}
    assert from_metadata(earlier) == replace(CARD, open_set=None, control=None)
    assert from_metadata(metadata | {PREFIX + "of_a_later_version": "{}"}) == CARD


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("rounds", ((0,), (1,)), "each class left out once"),
        ("rounds", ((0, 1), (2,)), "at_once classes"),
        ("at_once", 2, "at_once classes"),
        ("images", (1, 2), "a value for each class"),
        ("logit_auroc", (0.8, None, 1.6), "figures in 0..1"),
        ("logit_auroc", (0.8, 0.8, 0.6), "all figures of a class or none"),
        ("accuracy", "high", "how often left-out classes are noticed"),
        ("seconds", -1.0, "seconds of 0 or more"),
    ],
)
def test_a_record_that_is_none_is_refused(field, value, says):
    with pytest.raises(ModelError, match=f"open_set must be .*{says}"):
        replace(CARD, open_set=replace(FOUND, **{field: value}))


@pytest.mark.parametrize(("kinds", "shares"), [((), ()), (("x",), (0.1, 0.2)), (("x",), (1.1,)), ("x", (0.1,))])
def test_a_control_that_is_none_is_refused(kinds, shares):
    with pytest.raises(ModelError, match="control must be"):
        replace(CARD, control=Control(50, kinds, shares))


def test_the_card_says_it_in_words_and_in_json(tiny_model, tmp_path, command):
    file = tmp_path / "tiny.onnx"
    file.write_bytes(tiny_model(familiar=True, card=CARD))
    lines = "\n".join(card_lines(Classifier.load(file, device="cpu")))
    assert "known images called unknown, 50 of each kind: 6 % moved a little, 90 % smaller, on white" in lines
    said = (
        "of a new class 17 % would be noticed by the largest logit (AUROC 0.700), 13 % by the probability (AUROC 0.650)"
    )
    assert said in lines
    assert "from 4 % (blue) to 30 % (red); it cannot tell of green" in lines
    assert "measured by 3 nets trained for 4 epochs, each without 1 of 3 classes at most; of 120 held-out" in lines
    record = json.loads(command(main, "--card", "--json", "--model", file).out)
    assert record["open_set"]["logit_noticed"] == [0.3, None, 0.04]
    file.write_bytes(tiny_model(familiar=True))
    lines = "\n".join(card_lines(Classifier.load(file, device="cpu")))
    assert "left out" not in lines
    assert "cannot tell how many known images are called unknown" in lines
