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

    def refuse_nonsense(self, files: int, *, exists: bool, out: bool, data: bool) -> None:
        """Raise UsageError for options without what they belong to, or with one place for several of `files`.

        `exists` says whether these are files that exist, `out` and `data` whether there is --out and --data.
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
        if exists and data and self.tool is None:
            raise UsageError("--data of a file that exists is for --for litert, which calibrates its int8 on it")

    def refuse_exported(self, folders: Sequence[Path], *, overwrite: bool) -> None:
        """Before an export beside the run folders, raise OutputError if a file is there that could be delivered."""
        from clf_export.errors import OutputError

        for folder in folders:
            file = folder.with_name(f"{folder.name}.onnx")
            if self.any and not overwrite and file.is_file():
                raise OutputError(f"{file}: exists already; pass it in place of the run folder, or pass --overwrite")

    def refuse_taken(self, files: Sequence[Path], *, overwrite: bool) -> None:
        """Before a long export to `files`, raise what `deliver` would of the places, the tool and onnxruntime-web."""
        if self.page is not None:
            from clf_export.delivery.ort_web import find_ort_web
            from clf_export.delivery.page_files import page_file, refuse_place_of_page

            place = page_file(self.page, files[0]) if self.single else self.page
            refuse_place_of_page(place, single=self.single, overwrite=overwrite)
            find_ort_web(self.ort_web)
        if self.tool is not None:
            from clf_export.delivery.place import refuse_taken
            from clf_export.delivery.tools import find_tool

            tool = find_tool(self.tool)
            for file in files:
                refuse_taken(self.beside(file), tool.folder, overwrite=overwrite)
        if self.hub is not None:
            from clf_export.delivery.hub import refuse_place_of_hub

            refuse_place_of_hub(self.hub, overwrite=overwrite)

    def beside(self, file: Path) -> Path:
        """Where what is for the tool goes without --out. Raises DeliveryError if there is no such tool."""
        from clf_export.delivery.tools import find_tool

        assert self.tool is not None
        return file.with_name(f"{file.stem}-{self.tool}{find_tool(self.tool).suffix}")


def deliver(file: Path, wanted: Wanted, out: Path | None, data: str | None, *, overwrite: bool) -> Iterator[str]:
    """Write what was asked for of a model file, `out` what is for another tool; yields lines to print.

    `data` is the source of the images that a delivery is calibrated on, if there is one.
    """
    if wanted.page is not None:
        from clf_export.delivery.page import write_page

        yield from write_page(file, wanted.page, single=wanted.single, ort_web=wanted.ort_web, overwrite=overwrite)
    if wanted.tool is not None:
        from clf_export.delivery.tools import write_for

        yield from write_for(wanted.tool, file, out or wanted.beside(file), labelled=data, overwrite=overwrite)
    if wanted.hub is not None:
        from clf_export.delivery.hub import write_hub

        yield from write_hub(file, wanted.hub, overwrite=overwrite)


def print_delivered(file: Path, wanted: Wanted, out: Path | None, data: str | None, *, overwrite: bool) -> None:
    """Deliver a file and print what was written."""
    for line in deliver(file, wanted, out, data, overwrite=overwrite):
        print(one_line(line))
