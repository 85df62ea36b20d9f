"""`clf-train --show`: a description of a source, and a sheet of samples."""

from pathlib import Path

import numpy as np

from clf_runtime.commands.shell import one_line
from clf_train.data.dataset import Dataset
from clf_train.errors import RunError
from clf_train.files import whole_file
from clf_train.report.plots import save_sheet
from clf_train.runs.output_place import refuse_among_images


def show_source(dataset: Dataset, out: Path | None) -> None:
    """Describe a source, and write its sheet of samples to the file or folder `out`, or the current folder.

    Raises RunError if the sheet would be among the images, OSError as the system does.
    """
    file = _sheet_file(dataset, out)
    refuse_among_images(file, dataset.source)
    width = max(len(name) for name in dataset.names)
    counts = [np.bincount(part.labels, minlength=len(dataset.names)) for part in (dataset.train, dataset.test)]
    print(f"source       {one_line(dataset.source)}")
    print(f"layout       {dataset.layout}")
    held = "" if dataset.validation_images is None else f", the last {dataset.validation_images:,} for validation"
    for title, part, more in (("training", dataset.train, held), ("test", dataset.test, "")):
        print(
            f"{title:<12} {part.images.dtype} {'x'.join(map(str, part.images.shape))}, labels {part.labels.dtype}{more}"
        )
    low, high = dataset.value_range
    print(f"value range  {low:g}..{high:g}")
    print(f"mean         {'  '.join(f'{m:.4f}' for m in dataset.mean)}")
    print(f"std          {'  '.join(f'{s:.4f}' for s in dataset.std)}")
    print(f"fingerprint  {dataset.fingerprint}")
    print(f"classes      {len(dataset.names)}, with training and test images:")
    for label, name in enumerate(dataset.names):
        print(f"  {label:>3}  {one_line(name):<{width}}  {counts[0][label]:>8,}  {counts[1][label]:>8,}")
    for sentence in (*dataset.notes, *dataset.doubts):
        print(f"note         {one_line(sentence)}")
    with whole_file(file) as partial:
        save_sheet(dataset, partial)
    print(f"samples      {file}")


def refuse_sheet(out: Path | None, overwrite: bool) -> None:
    """Raise RunError if `out` exists as a file, unless it is a PNG to `overwrite`."""
    if out is not None and out.exists() and not out.is_dir() and not (overwrite and _is_png(out)):
        raise RunError(f"{out}: exists already; choose another --out{', or pass --overwrite' * _is_png(out)}")


def _sheet_file(dataset: Dataset, out: Path | None) -> Path:
    """Where the sheet of samples goes: the PNG `out`, or a file in the folder `out` or the current one."""
    if out is None or out.is_dir() or not _is_png(out):
        return (out or Path()) / f"{stem(dataset.source)}-samples.png"
    return out


def _is_png(out: Path) -> bool:
    return out.suffix.lower() == ".png"


def stem(source: str) -> str:
    """A source's or model's name in a form for file names."""
    name = Path(source).name.split(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "data"
