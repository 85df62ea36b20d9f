"""`clf-predict --explain OUT.png`: one image, and the picture of where the model saw its class."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clf_runtime.commands.shell import say
from clf_runtime.errors import ImageError, UsageError

if TYPE_CHECKING:
    from clf_runtime.classifier import Classifier
    from clf_runtime.explanation.explain import Explanation


def refuse_to_explain(images: Sequence[str], out: Path) -> None:
    """Raise UsageError unless there is one argument that can be an image file, and `out` can become a PNG."""
    if len(images) != 1:
        raise UsageError("--explain takes one image" if images else "--explain excludes --card and --self-test")
    if images[0] == "-":
        raise UsageError("--explain takes the file of an image, not standard input")
    if out.suffix.lower() != ".png":
        raise UsageError(f"--explain writes a PNG: {out} must end in .png")
    try:
        if out.exists():
            raise UsageError(f"{out}: exists already; choose another name for --explain")
        from clf_runtime.whole_file import refuse_place

        refuse_place(out)
    except OSError as error:  # also a name that is too long
        raise UsageError(f"{out}: cannot be written: {error.strerror or error}") from None


def explain_image(classifier: "Classifier", image: str) -> "Explanation":
    """Explain the one image that an argument refers to. Raises ImageError if that is not one image."""
    from clf_runtime.explanation.explain import explain
    from clf_runtime.inputs.paths import find_files

    files = find_files(image)
    if len(files) != 1:
        raise ImageError(f"{image}: {len(files):,} files; --explain takes one image")
    return explain(classifier, files[0])


def write_heat_map(explained: "Explanation", out: Path, name: str | None) -> None:
    """Write the picture, and say on stderr, unless `name` is None, what was done and how long it took."""
    from clf_runtime.whole_file import whole_file

    with whole_file(out) as partial:
        partial.write_bytes(explained.to_png())
    if name is None:
        return
    (high, wide), heat = explained.patch, explained.heat
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    tried = f"{explained.runs} patches of {high}x{wide} pixels covered in {explained.seconds:.2f} s"
    most = f"at row {row}, column {column} of {heat.shape[0]}x{heat.shape[1]}, covering takes {heat.max():.1f} nats"
    say(name, f"{out}: where {explained.name} was seen: {tried}; most {most} of its log-odds")
