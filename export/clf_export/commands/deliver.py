"""clf-export --page, --for and --hub: what a model file becomes beside itself, for where it is used."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from clf_runtime.commands.shell import one_line
from clf_runtime.errors import UsageError

_PANEL = "Where the file is used (also with RUN a model file that exists)"

PageOption = Annotated[
    Path | None,
    typer.Option(
        "--page",
        metavar="DIR",
        rich_help_panel=_PANEL,
        help="Write a page that runs the model in a browser, for any web server; with --single one HTML file.",
    ),
]
SingleOption = Annotated[
    bool,
    typer.Option("--single", rich_help_panel=_PANEL, help="With --page: one HTML file, which also opens from a disk."),
]
OrtWebOption = Annotated[
    Path | None,
    typer.Option(
        "--ort-web",
        metavar="DIR",
        rich_help_panel=_PANEL,
        help="With --page: the npm package onnxruntime-web, for the page to contain; else it comes from a CDN.",
    ),
]
ForOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TOOL",
        rich_help_panel=_PANEL,
        help="Write the file or folder that another tool takes, beside the model or to --out: openvino, triton, "
        "transformers, ... (docs/tools.md).",
    ),
]
HubOption = Annotated[
    Path | None,
    typer.Option(
        "--hub",
        metavar="DIR",
        rich_help_panel=_PANEL,
        help="Write the folder of a Hugging Face repository: README card, model, labels, an example.",
    ),
]


@dataclass(frozen=True)
class Wanted:
    """What was asked for: see the options."""

    page: Path | None
    single: bool
    ort_web: Path | None
    tool: str | None
    hub: Path | None

    @property
    def any(self) -> bool:
        """Whether anything was."""
        return any(value is not None for value in (self.page, self.tool, self.hub))

    def refuse_nonsense(self, files: int, *, exists: bool, out: bool) -> None:
        """Raise UsageError for options without what they belong to, or with one place for several of `files`.

        `exists` says whether these are files that exist, `out` whether there is --out.
        """
        if self.page is None and (self.single or self.ort_web is not None):
            raise UsageError(f"{'--single' if self.single else '--ort-web'} is for a page: pass --page DIR")
        if files > 1 and (self.page is not None or self.hub is not None):
            option = "--page" if self.page is not None else "--hub"
            raise UsageError(f"{option} is for one file, and this is a run of {files} models; pass the folder of one")
        if exists and not self.any:
            raise UsageError(
                "RUN is a model file already: pass --page, --for or --hub too, or --onnx FILE to adopt a foreign one"
            )
        if exists and out and self.tool is None:
            raise UsageError("--out of a file that exists is for --for TOOL")

    def refuse_exported(self, folders: Sequence[Path], *, overwrite: bool) -> None:
        """Before an export beside the run folders, raise OutputError if a file is there that could be delivered."""
        from clf_export.errors import OutputError

        for folder in folders:
            file = folder.with_name(f"{folder.name}.onnx")
            if self.any and not overwrite and file.is_file():
                raise OutputError(f"{file}: exists already; pass it in place of the run folder, or pass --overwrite")

    def refuse_taken(self, *, overwrite: bool) -> None:
        """Before a long export, raise OutputError if a place exists (unless `overwrite`), DeliveryError for no tool."""
        from clf_export.delivery.tools import find_tool
        from clf_export.errors import OutputError

        if self.tool is not None:
            find_tool(self.tool)
        for place in (self.page, self.hub):
            if place is None or overwrite or not place.exists():
                continue
            if not place.is_dir() or any(place.iterdir()):
                raise OutputError(f"{place}: exists already; choose another place, or pass --overwrite")


def deliver(file: Path, wanted: Wanted, out: Path | None, *, overwrite: bool) -> Iterator[str]:
    """Write what was asked for of a model file, `out` what is for another tool; yields lines to print."""
    if wanted.page is not None:
        from clf_export.delivery.page import write_page

        yield from write_page(file, wanted.page, single=wanted.single, ort_web=wanted.ort_web, overwrite=overwrite)
    if wanted.tool is not None:
        from clf_export.delivery.tools import find_tool, write_for

        place = out or file.with_name(f"{file.stem}-{wanted.tool}{find_tool(wanted.tool).suffix}")
        yield from write_for(wanted.tool, file, place, overwrite=overwrite)
    if wanted.hub is not None:
        from clf_export.delivery.hub import write_hub

        yield from write_hub(file, wanted.hub, overwrite=overwrite)


def print_delivered(file: Path, wanted: Wanted, out: Path | None, *, overwrite: bool) -> None:
    """Deliver a file and print what was written."""
    for line in deliver(file, wanted, out, overwrite=overwrite):
        print(one_line(line))
