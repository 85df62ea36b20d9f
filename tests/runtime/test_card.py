import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clf_runtime import ModelCard, ModelError
from clf_runtime.card import PREFIX, Parity, from_metadata, to_metadata

PARITY = Parity(5000, 1e-6, 1e-4, 0, 0.7, 0.7, "ab" * 32, "1.32.0")
CARD = ModelCard(
    model="conv",
    names=("cat", "dog"),
    image_shape=(3, 32, 32),
    dtype="uint8",
    value_range=(0.0, 255.0),
    mean=(1.0, 2.0, 3.0),
    std=(1.0, 1.0, 1.0),
    temperature=1.5,
    description="conv: two classes",
    created="2026-11-24T06:00:00+00:00",
    run="demo",
    test_images=5000,
    test_accuracy=0.7,
    parity=PARITY,
)


def test_a_card_survives_the_metadata():
    assert from_metadata(to_metadata(CARD)) == CARD


def test_a_card_without_parity_survives_too():
    card = dataclasses.replace(CARD, parity=None)
    assert from_metadata(to_metadata(card)) == card


def test_no_card_is_none():
    assert from_metadata({"names": "{}"}) is None


def test_our_values_are_json_and_the_ecosystem_finds_its_own():
    metadata = to_metadata(CARD)
    assert all(json.loads(value) is not ... for key, value in metadata.items() if key.startswith(PREFIX))
    assert json.loads(metadata["names"]) == {"0": "cat", "1": "dog"}
    assert metadata["task"] == "classify"
    assert json.loads(metadata["imgsz"]) == [32, 32]
    assert metadata["Image.BitmapPixelFormat"] == "Rgb8"
    assert metadata["Image.NominalPixelRange"] == "NominalRange_0_255"


@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=5, unique=True))
def test_class_names_of_any_script_survive(names):
    card = dataclasses.replace(CARD, names=tuple(names))
    assert from_metadata(json.loads(json.dumps(to_metadata(card)))) == card


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("names", ["one"]),
        ("names", "cat,dog"),
        ("names", ["cat", 3]),
        ("names", ["cat", ""]),
        ("image_shape", [3, 32]),
        ("image_shape", [3, 32, 0]),
        ("image_shape", [3, 1 << 20, 1 << 20]),
        ("image_shape", [3.0, 32, 32]),
        ("image_shape", None),
        ("dtype", "int8"),
        ("dtype", 3),
        ("layout", "CHWN"),
        ("value_range", [255, 0]),
        ("value_range", [0]),
        ("value_range", [0, True]),
        ("mean", [1]),
        ("std", [1, 1, 0]),
        ("temperature", 0),
        ("temperature", int("9" * 400)),
        ("value_range", [0, int("9" * 400)]),
        ("names", eval("[" * 90 + "]" * 90)),
        ("temperature", "warm"),
        ("test_accuracy", 1.5),
        ("test_images", -1),
        ("parameters", 1.5),
        ("description", "x" * 20_000),
        ("model", None),
        ("parity", {"images": 3}),
        ("parity", {**dataclasses.asdict(PARITY), "images": "many"}),
        ("parity", [1]),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(field, value):
    metadata = {**to_metadata(CARD), PREFIX + field: json.dumps(value)}
    with pytest.raises(ModelError) as error:
        from_metadata(metadata)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_ten_million_class_names_are_refused():
    with pytest.raises(ModelError, match="too large"):
        from_metadata({**to_metadata(CARD), PREFIX + "names": json.dumps(["x"] * 10_000_000)})


@pytest.mark.parametrize("text", ["", "{", "NaN,", "[" * 100_000])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(ModelError, match="not JSON"):
        from_metadata({**to_metadata(CARD), PREFIX + "names": text})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(number):
    with pytest.raises(ModelError):
        from_metadata({**to_metadata(CARD), PREFIX + "temperature": number})


def test_a_newer_schema_says_to_install_a_newer_clf_edge():
    with pytest.raises(ModelError, match="install a newer"):
        from_metadata({**to_metadata(CARD), PREFIX + "schema": "2"})


def test_a_missing_field_is_refused():
    metadata = to_metadata(CARD)
    del metadata[PREFIX + "names"]
    with pytest.raises(ModelError, match="names"):
        from_metadata(metadata)
