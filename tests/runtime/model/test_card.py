import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clf_runtime import ModelCard, ModelError
from clf_runtime.model.metadata import MAX_CARD, PREFIX, from_metadata, to_metadata
from clf_runtime.model.names import names_fault
from clf_runtime.model.records import Golden, Int8, Parity

PARITY = Parity(5000, 1e-6, 1e-7, 1e-4, 0, 0.7, 0.7, (0.6, 0.8), 1065, 1e-6, "ab" * 32, "1.32.0")
INT8 = Int8("S8S8", 2500, 0.7, 0.69, 1, 1.5, 0.2, 0.01, 30_000, 99_000, 0.8, 0.9, False, "float32 is recommended")
GOLDEN = Golden(bytes(range(256)) * 24, ((0.25, 0.75), (1.0, 0.0)), 1e-4, "CPUExecutionProvider", 1e-7)
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
    license="MIT",
    parity=PARITY,
    int8=INT8,
    golden=GOLDEN,
)


def test_a_card_survives_the_metadata():
    assert from_metadata(to_metadata(CARD)) == CARD


def test_a_card_without_its_records_survives_too():
    card = dataclasses.replace(CARD, parity=None, int8=None, golden=None)
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


@given(st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=5).filter(lambda names: not names_fault(names)))
def test_class_names_of_any_script_survive(names):
    card = dataclasses.replace(CARD, names=tuple(names), parity=None, int8=None, golden=None)
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
        ("parity", {**dataclasses.asdict(PARITY), "class_accuracies": [0.5, "x"]}),
        ("parity", {**dataclasses.asdict(PARITY), "more": 1}),
        ("int8", {**dataclasses.asdict(INT8), "recommended": "yes"}),
        ("int8", {**dataclasses.asdict(INT8), "p_value": "low"}),
        ("int8", 8),
        ("precision", "int4"),
        ("license", 3),
        ("names", ["cat", "\ud800"]),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(field, value):
    metadata = {**to_metadata(CARD), PREFIX + field: json.dumps(value)}
    with pytest.raises(ModelError) as error:
        from_metadata(metadata)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def changed(field, **changes):
    return {**dataclasses.asdict(getattr(CARD, field)), **changes}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("parity", changed("parity", onnx_accuracy=7.0), "parity.onnx_accuracy must be in 0..1, not 7.0"),
        ("parity", changed("parity", max_difference=-1e-6), "parity.max_difference must be in 0..1"),
        ("parity", changed("parity", tolerance=1.0), "parity.tolerance must be at most 0.01 for float32"),
        ("parity", changed("parity", images=0), "parity.images must be 1 or more"),
        ("parity", changed("parity", differing=5001), "parity.differing must be no more than its images"),
        ("parity", changed("parity", class_accuracies=[0.6]), "one fraction in 0..1 for each of 2 classes"),
        ("parity", changed("parity", class_accuracies=[0.6, 1.5]), "one fraction in 0..1 for each of 2 classes"),
        ("int8", changed("int8", int8_accuracy=1.2), "int8.int8_accuracy must be in 0..1"),
        ("int8", changed("int8", worst_class=2), "int8.worst_class must be one of 2 classes"),
        ("int8", changed("int8", worst_drop=101), "int8.worst_drop must be in -100..100"),
        ("int8", changed("int8", p_value=3), "int8.p_value must be in 0..1"),
        ("int8", changed("int8", size=0), "int8.size must be more than 0"),
        ("int8", changed("int8", batch_1_ratio=-1), "int8.batch_1_ratio must be more than 0"),
        ("value_range", [0, 1], "value_range must be 0, 255 for uint8, not (0, 1)"),
        ("mean", [], "std must be one positive number per channel, as many as mean"),
        ("std", [], "std must be one positive number per channel, as many as mean"),
        ("created", "soon", "created must be a UTC time"),
        ("created", "2026-11-24T06:00:00+05:00", "created must be a UTC time"),
        ("test_images", 0, "test_images must be 1 or more"),
    ],
)
def test_what_contradicts_itself_is_refused(field, value, says):
    with pytest.raises(ModelError) as error:
        from_metadata({**to_metadata(CARD), PREFIX + field: json.dumps(value)})
    assert says in str(error.value)


def test_what_is_written_is_held_to_what_is_read():
    with pytest.raises(ModelError, match=r"parity\.onnx_accuracy must be in 0\.\.1, not 7"):
        dataclasses.replace(CARD, parity=dataclasses.replace(PARITY, onnx_accuracy=7.0))
    names = tuple(f"{i} {'x' * 90}" for i in range(80_000))
    card = ModelCard("m", names, (3, 8, 8), "uint8", (0.0, 255.0))
    with pytest.raises(ModelError, match=f"too large: .* at most {MAX_CARD:,}"):
        to_metadata(card)


@pytest.mark.parametrize("schema", ["2.0", '"2"', "[2]", "true"])
def test_a_schema_is_a_whole_number(schema):
    with pytest.raises(ModelError, match=r"has schema .*, but this clf-edge reads 3"):
        from_metadata({**to_metadata(CARD), PREFIX + "schema": schema})


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("names", '{"0": "dog", "1": "cat"}'),
        ("names", '{"0": "cat"}'),
        ("names", "cat, dog"),
        ("imgsz", "[64, 64]"),
        ("channels", "1"),
        ("channels", "[["),
    ],
)
def test_a_file_that_says_otherwise_to_other_tools_is_refused(key, text):
    with pytest.raises(ModelError, match=f"the file's own key {key} contradicts it"):
        from_metadata({**to_metadata(CARD), key: text})


@pytest.mark.parametrize("text", ["{0: 'cat', 1: 'dog'}", '["cat", "dog"]', '{"1": "dog", "0":"cat"}', None])
def test_one_that_says_the_same_in_other_words_or_nothing_is_not(text):
    metadata = {**to_metadata(CARD), "names": text}
    assert from_metadata({key: value for key, value in metadata.items() if value is not None}) == CARD


def test_a_key_twice_within_a_value_is_refused():
    text = to_metadata(CARD)[PREFIX + "golden"][:-1] + ', "tolerance": 0.009}'
    with pytest.raises(ModelError, match=r"clf_edge\.golden has a duplicate key"):
        from_metadata({**to_metadata(CARD), PREFIX + "golden": text})


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
        from_metadata({**to_metadata(CARD), PREFIX + "schema": "4"})


def test_a_missing_field_is_refused():
    metadata = to_metadata(CARD)
    del metadata[PREFIX + "names"]
    with pytest.raises(ModelError, match="names"):
        from_metadata(metadata)


def test_an_older_schema_says_to_export_again():
    with pytest.raises(ModelError, match="export the model again"):
        from_metadata({**to_metadata(CARD), PREFIX + "schema": "1"})


@pytest.mark.parametrize(
    "changes",
    [
        {"images": "AAAA"},  # 3 bytes
        {"images": "!" * 8192},
        {"images": "A"},
        {"images": 7},
        {"images": None},
        {"probabilities": []},
        {"probabilities": [[0.5, 0.5]]},  # one row, two images
        {"probabilities": [[0.5, 0.5], [1.0]]},
        {"probabilities": [[0.5, 0.5], [1.0, "x"]]},
        {"probabilities": [[0.5, 0.5], [2.0, 0.0]]},
        {"probabilities": [[0.5, 0.6], [1.0, 0.0]]},
        {"probabilities": [[0.5, 0.5], [0.50009, 0.49991]]},  # ties, which prove nothing
        {"probabilities": [0.5, 0.5]},
        {"probabilities": "x"},
        {"tolerance": 0},
        {"tolerance": 2},
        {"tolerance": 1.0},
        {"tolerance": 0.011},
        {"difference": -1e-7},
        {"tolerance": None},
        {"provider": 1},
        {"difference": "small"},
        {"another": 1},
    ],
)
def test_a_golden_case_that_does_not_fit_is_refused_in_one_line(changes):
    golden = {**json.loads(to_metadata(CARD)[PREFIX + "golden"]), **changes}
    with pytest.raises(ModelError) as error:
        from_metadata({**to_metadata(CARD), PREFIX + "golden": json.dumps(golden)})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_int8_may_allow_itself_more_but_not_anything():
    golden = dataclasses.replace(GOLDEN, tolerance=0.1)
    assert dataclasses.replace(CARD, precision="int8", golden=golden).golden == golden
    with pytest.raises(ModelError, match=r"golden\.tolerance must be above 0 and at most 0\.1 for int8"):
        dataclasses.replace(CARD, precision="int8", golden=dataclasses.replace(GOLDEN, tolerance=0.2))


def test_golden_images_of_floats_are_numbers():
    images = np.zeros((2, 3, 32, 32), "<f4")
    golden = dataclasses.replace(GOLDEN, images=images.tobytes())
    card = {"dtype": "float32", "value_range": (0.0, 1.0), "golden": golden}
    assert dataclasses.replace(CARD, **card).dtype == "float32"
    images[1, 2, 3, 4] = np.nan
    with pytest.raises(ModelError, match="golden must be 1 to 64 images"):
        dataclasses.replace(CARD, **{**card, "golden": dataclasses.replace(GOLDEN, images=images.tobytes())})


def test_sixty_five_golden_cases_are_too_many():
    golden = dataclasses.replace(GOLDEN, images=bytes(3072) * 65, probabilities=((0.5, 0.5),) * 65)
    with pytest.raises(ModelError, match="golden must be 1 to 64 images"):
        dataclasses.replace(CARD, golden=golden)


@pytest.mark.parametrize("name", ["licence", "license"])
def test_the_licence_stands_where_others_look_for_it(name):
    assert to_metadata(CARD).get(name) == ("MIT" if name == "license" else None)
