"""Arguments read directly mean what typer says they mean, or are left to typer."""

import inspect
from unittest.mock import patch

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from clf_runtime.commands import predict as cli
from clf_runtime.commands import predict_options as predict_cli
from clf_runtime.commands.classify import classify
from clf_runtime.commands.plain_arguments import FLAGS, VALUES, read_arguments
from clf_runtime.commands.typer_app import call
from clf_runtime.errors import UsageError

DEFAULTS = {p.name: p.default for p in inspect.signature(classify).parameters.values() if p.name != "images"}


def by_typer(arguments):
    """What typer has classify called with: images and all options; None if it is not called."""
    calls = []
    with patch.object(predict_cli, "classify", lambda images, **options: calls.append((images, options))):
        try:
            call(predict_cli.app, "clf-predict", arguments)
        except UsageError:
            return None
    return calls[0] if calls else None


def directly(arguments):
    """The same by what is read directly; None if that is left to typer."""
    found = read_arguments(arguments)
    return None if found is None else (found.pop("images"), DEFAULTS | found)


WORDS = st.one_of(
    st.sampled_from([*FLAGS, *VALUES]),
    st.sampled_from(
        ["-", "--", "x.npy", "", "0", "1", "7", "0.5", "1e-3", "-1", "--help", "-h", "--version", "--top=3"]
    ),
    st.sampled_from(["-qq", "--js", "+3", " 3", "3 ", "1_0", "٣", "nan", "inf", "a b", "a\nb", "x=1", "*.png", "~/x"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),  # no argument can hold a NUL
)


@settings(max_examples=1500, deadline=None)
@given(arguments=st.lists(WORDS, max_size=7))
def test_what_is_read_directly_is_what_typer_reads(arguments):
    found = directly(arguments)
    if found is not None:
        assert repr(found) == repr(by_typer(arguments))  # by its text, in which NaN is NaN


@pytest.mark.parametrize("word", [*FLAGS, *VALUES])
def test_every_option_is_read_directly(word):
    arguments = ["x.npy", word, *(["2"] if word in VALUES else []), "y.npy"]
    found = directly(arguments)
    assert found == by_typer(arguments)
    assert found[0] == ["x.npy", "y.npy"]
    assert found[1] != DEFAULTS


def test_no_option_was_forgotten():
    command = typer.main.get_command(predict_cli.app)
    options = {name for p in command.params if p.param_type_name == "option" for name in p.opts}
    assert options - {"--version"} == set(FLAGS) | set(VALUES)
    assert set(FLAGS.values()) | {keyword for keyword, _ in VALUES.values()} == set(DEFAULTS)


@pytest.mark.parametrize(
    "arguments", ["--top 0 x", "--top x y", "--model", "--model -x", "-- -x", "--top=3 x", "-qx", "-h"]
)
def test_what_is_in_doubt_is_left_to_typer(arguments):
    assert read_arguments(arguments.split()) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--top 0 x.npy", "0 is not in the range"),
        ("--topp 3 x.npy", "No such option"),
        ("--model", "requires an argument"),
        ("", "no image is given"),
        ("--json --csv x.npy", "two forms of output"),
        ("--reject-below=2 x.npy", "--reject-below takes a probability in 0..1, not 2"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_to_help(command, arguments, said):
    ended = command(cli.main, *arguments.split())
    assert ended.code == 2
    assert ended.out == ""
    assert said in ended.err
    assert ended.err.startswith("clf-predict: ")
    assert ended.err.endswith(" See clf-predict --help.\n")
    assert ended.err.count("\n") == 1
