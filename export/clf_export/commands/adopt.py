"""clf-export --onnx: adopt a foreign file, and print what was verified."""

import sys
from collections.abc import Callable
from pathlib import Path

from clf_export.adoption.adopt import Adopted, adopt_onnx
from clf_export.adoption.stated import Stated
from clf_export.commands.export_text import golden_lines, int8_lines
from clf_export.errors import ParityError
from clf_export.export import Input
from clf_export.familiarity.fit import FamiliarityMode
from clf_export.int8_export import Int8Mode
from clf_export.outputs import named_together, output_files
from clf_export.proof.proof import table
from clf_runtime.commands.progress import following
from clf_runtime.commands.shell import one_line, say
from clf_train.runs.output_place import refuse_among_images


def adopt(
    name: str,
    path: Path,
    stated: Stated,
    data: str | None,
    out: Path | None,
    *,
    overwrite: bool,
    license: str,
    keep_rejected: bool,
    int8: Int8Mode,
    input: Input,
    familiarity: FamiliarityMode,
    quiet: bool,
    refuse: Callable[[Path], object],
) -> Path:
    """Adopt one foreign file for the command `name`; without `out` as `<name>.adopted.onnx` beside it: its path.

    Before it begins `refuse` is called with that path.
    """
    [file] = output_files([path.parent / f"{path.stem}.adopted"], out, overwrite=overwrite, with_int8=int8 != "off")
    refuse(file)
    if data is not None:
        refuse_among_images(file, data)
    if not quiet:
        say(name, f"adopting {path}")
    try:
        with named_together() as waiting, following(name, quiet) as watch:
            made = adopt_onnx(
                path,
                stated,
                data,
                file,
                overwrite=overwrite,
                license=license,
                keep_rejected=keep_rejected,
                int8=int8,
                input=input,
                familiarity=familiarity,
                watch=watch,
                files=waiting,
            )
    except ParityError as error:
        for line in error.table:
            print(one_line(line), file=sys.stderr)
        raise
    if not quiet:
        for note in made.notes:
            say(name, note)
    for line in adopted_lines(made):
        print(one_line(line))
    return made.model.path


def adopted_lines(made: Adopted) -> list[str]:
    """The files of an adoption, and what was verified of them."""
    written = made.model
    card = written.card
    lines = [
        f"original                         {made.original}",
        f"preprocessing, as stated         {made.stated}",
        *table(made.proof, card.names, labelled=made.labelled, origin="the original"),
    ]
    if made.rest is not None:
        lines.append(
            f"{f'{made.rest.images:,} other images':<33}max. difference {made.rest.max_difference:.2e}, "
            f"{made.rest.differing:,} predictions differ"
        )
    if not made.labelled:
        lines.append("accuracy                         not known: the images have no labels")
    if made.photos is not None:
        lines += made.photos.lines()
    if made.familiarity_problem is not None:
        lines.append(f"unknown by familiarity           never: {made.familiarity_problem}")
    lines += [*golden_lines(written), *int8_lines(made)]
    head = f"{written.path}: {written.size:,} bytes, {card.model}, verified against the original file"
    return [head, *(f"  {line}" for line in lines)]
