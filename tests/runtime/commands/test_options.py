"""One table of options, two parsers: plain words mean what typer says they mean, all else is left to typer."""

import pytest

from clf_runtime.commands.options import parse_plain
from clf_runtime.commands.predict import IMAGES, OPTIONS, main
from clf_runtime.commands.typer_app import call, make_app_of
from clf_runtime.errors import UsageError

DEFAULTS = {option.keyword: option.default for option in OPTIONS}
NAMES = {name: option for option in OPTIONS for name in option.names}


def by_typer(words):
    """What typer has the command called with: its arguments and all options; None if it does not call it."""
    calls = []

    def command(images, **options):
        calls.append((images, options))

    try:
        call(make_app_of(command, OPTIONS, "IMAGE...", IMAGES), "clf-predict", words)
    except UsageError:
        return None
    return calls[0] if calls else None


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_read_as_typer_reads_it(name):
    words = ["x.npy", name, *([] if NAMES[name].type is bool else ["2"]), "y.npy"]
    found = parse_plain(OPTIONS, words)
    assert found == by_typer(words)
    assert found[0] == ["x.npy", "y.npy"]
    assert found[1] != DEFAULTS


@pytest.mark.parametrize(
    "words",
    [
        "x",
        "-",
        "a b",
        "--top 3 x --top 5",
        "--json --json x",
        "--reject-below 1e-3 -",
        "--reject-below inf x",
        "x=1 ~/x",
    ],
)
def test_plain_words_are_what_typer_reads(words):
    assert parse_plain(OPTIONS, words.split()) == by_typer(words.split())


@pytest.mark.parametrize(
    "words",
    [
        *("--top 0 x", "--top x y", "--top ٣ x", "--top 1_0 x", "--top +3 x", "--model", "--model -x", "-- -x"),
        *(
            "--top=3 x",
            "-qx",
            "-qq",
            "--js x",
            "-h",
            "--help",
            "--version",
            "--reject-below nothing x",
            "--threads -1 x",
        ),
    ],
)
def test_what_is_in_doubt_is_left_to_typer(words):
    assert parse_plain(OPTIONS, words.split()) is None


def test_an_empty_word_is_left_to_typer():
    assert parse_plain(OPTIONS, ["x", ""]) is None
    assert parse_plain(OPTIONS, ["--model", "", "x"]) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--top 0 x.npy", "0 is not in the range"),
        ("--topp 3 x.npy", "No such option"),
        ("--model", "requires an argument"),
        ("", "no image given"),
        ("--json --csv x.npy", "exclude each other"),
        ("--reject-below=2 x.npy", "--reject-below takes a probability in 0..1, not 2"),
    ],
)
def test_a_mistake_is_one_line_with_the_way_to_help(command, arguments, said):
    ended = command(main, *arguments.split())
    assert ended.code == 2
    assert ended.out == ""
    assert said in ended.err
    assert ended.err.startswith("clf-predict: ")
    assert ended.err.endswith(" See clf-predict --help.\n")
    assert ended.err.count("\n") == 1
