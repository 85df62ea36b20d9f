import csv
import io
import json

import numpy as np
import pytest

from clf_runtime import Answer, ImageError, Prediction
from clf_runtime.commands.output import csv_header, to_line

NAMES = ("cat", "dog", "bird")
SURE = Prediction(1, "dog", 0.75, "ab" * 32, "CPUExecutionProvider", np.array([0.2, 0.75, 0.05], np.float32))
REJECTED = SURE._replace(index=None, name="unknown")
GOOD = Answer("x.npy", 3, SURE)
UNKNOWN = Answer("x.npy", None, REJECTED)
BAD = Answer('a,"b"\n\x1b[31m\udcff.npy', None, error=ImageError("it is\nbad"))


def table(*answers, top=1):
    text = "\n".join([csv_header(top), *(to_line(answer, "csv", NAMES, top) for answer in answers)])
    assert text.count("\n") == len(answers)
    return list(csv.DictReader(io.StringIO(text), strict=True))


def test_text():
    assert to_line(GOOD, "text", NAMES) == "x.npy[3]: dog 0.7500"
    assert to_line(GOOD, "text", NAMES, 2) == "x.npy[3]: dog 0.7500  cat 0.2000"
    assert to_line(UNKNOWN, "text", NAMES) == "x.npy: unknown 0.7500"
    assert to_line(UNKNOWN, "text", NAMES, 2) == "x.npy: unknown 0.7500  dog 0.7500  cat 0.2000"
    assert to_line(BAD, "text", NAMES) == 'a,"b"\\n\\x1b[31m\\udcff.npy: error: it is\\nbad'


def test_every_record_of_json_has_the_same_fields():
    good, unknown, bad = (json.loads(to_line(answer, "json", NAMES, 2)) for answer in (GOOD, UNKNOWN, BAD))
    assert list(good) == list(unknown) == list(bad)
    assert good["image"] == "x.npy"
    assert (good["index"], good["class"], good["name"], good["probability"]) == (3, 1, "dog", 0.75)
    assert (unknown["index"], unknown["class"], unknown["name"], unknown["probability"]) == (
        None,
        None,
        "unknown",
        0.75,
    )
    assert [t["name"] for t in good["top"]] == [t["name"] for t in unknown["top"]] == ["dog", "cat"]
    assert good["error"] is None
    assert bad["image"] == BAD.image
    assert (bad["class"], bad["name"], bad["probability"], bad["top"], bad["error"]) == (
        None,
        None,
        None,
        [],
        "it is\nbad",
    )


@pytest.mark.parametrize("top", [1, 2, 5])
def test_csv_is_one_line_a_record_and_reads_back(top):
    good, unknown, bad = table(GOOD, UNKNOWN, BAD, top=top)
    assert (good["image"], good["index"], good["class"], good["name"], good["probability"]) == (
        "x.npy",
        "3",
        "1",
        "dog",
        "0.75",
    )
    assert (unknown["index"], unknown["class"], unknown["name"], unknown["error"]) == ("", "", "unknown", "")
    assert (bad["image"], bad["name"], bad["error"]) == ('a,"b"\\n\\x1b[31m\\udcff.npy', "", "it is\\nbad")
    if top > 1:
        assert (good["top_1"], good["top_2"], unknown["top_1"], bad["top_1"]) == ("dog", "cat", "dog", "")
        assert float(good["top_2_probability"]) == pytest.approx(0.2)


def test_a_rejected_image_names_no_class_where_the_distribution_was_not_asked_for():
    bare = Answer("x", None, REJECTED._replace(distribution=None))
    assert json.loads(to_line(bare, "json", NAMES))["top"] == []
