"""What class names must be: text that a person sees, and can tell apart."""

import time

import pytest

from clf_runtime.model.names import names_fault, seen


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["a", "b", "a"], "duplicate class name 'a'"),
        (["a", ""], "class name 1 is empty"),
        ([" ", "a"], "class name 0 is empty"),
        (["a", "\u00a0\u3000"], "class name 1 is empty"),
        (["a", "\u200b\u200d"], "class name 1 has no visible character: '\\u200b\\u200d'"),
        (["a", "\u00ad"], "has no visible character"),
        (["a", "\x00\x1b"], "has no visible character"),
        (["a", "\u202e"], "has no visible character"),
        (["a", "\u3164"], "has no visible character"),
        (["a", "\u2800 \ufe0f"], "has no visible character"),
        (["a", "\U000e0061"], "has no visible character"),
        (["a", "a\u200b"], "the class names 'a' and 'a\\u200b' look the same"),
        (["a", "a\u202e"], "look the same"),
        (["ice cream", "ice  cream"], "look the same"),
        (["a", "a\t"], "look the same"),
        (["\u00e9", "e\u0301"], "look the same"),
        (["\u00e9", "e\u200b\u0301"], "look the same"),
        (["a", 3], "class name 1 is too long, or not valid text"),
        (["a", "\ud800"], "class name 1 is too long, or not valid text"),
        (["a", "x" * 10_001], "class name 1 is too long, or not valid text"),
    ],
)
def test_names_that_nobody_can_tell_apart_are_a_fault(names, fault):
    assert fault in names_fault(names)


@pytest.mark.parametrize(
    "names", [["a", "A"], ["fi", "\ufb01"], ["m2", "m\u00b2"], ["می‌خواهم", "日本", "❤️"], ["a b", "ab"], ["-", "_"]]
)
def test_names_that_can_be_told_apart_are_none(names):
    assert names_fault(names) is None


def test_what_is_seen_of_plain_text_is_the_text():
    assert seen("ice cream") == "ice cream"
    assert seen("caf\u0065\u0301\u200b  noir ") == "caf\u00e9 noir"


def test_a_hundred_thousand_names_take_no_longer_than_a_hundred_thousand_looks():
    names = [f"класс {i}" for i in range(100_000)]
    started = time.process_time()
    assert names_fault(names) is None
    assert "class name 100000 is empty" in names_fault([*names, ""])
    assert time.process_time() - started < 60  # a comparison of each with each would take much longer
