"""Class names and geometry in the words of other tools."""

from collections.abc import Container, Sequence

from clf_runtime.model.geometry import Geometry


def single_words(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Class names without blanks, for tools that separate them so, and a line that says so if any had some."""
    words = ["_".join(name.split()) for name in names]
    changed = [name for name, word in zip(names, words, strict=True) if name != word]
    if not changed:
        return words, []
    return words, [f"{len(changed)} class names have underscores for blanks: {changed[0][:60]!r}"]


def one_line_each(names: Sequence[str]) -> str:
    """Class names as a text file of labels, in the order of the output."""
    return "".join(" ".join(name.split()) + "\n" for name in names)


def describe_fit(geometry: Geometry, fits: Container[str], tool: str) -> list[str]:
    """A line that says what becomes of pictures of another size, where the tool resizes them otherwise."""
    if geometry.fit in fits:
        return [f"{tool} resizes pictures itself, with its own filter: give it them at the model's size to be exact"]
    return [f"{tool} does not know the fit {geometry.fit!r}: resize pictures to the model's size yourself"]
