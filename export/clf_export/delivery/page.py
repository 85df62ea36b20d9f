"""A page that runs a model in a browser: a folder for any web server, or one HTML file."""

import shlex
from pathlib import Path

from clf_export.delivery.ort_web import CDN, OrtWeb, find_ort_web
from clf_export.delivery.page_data import describe_page
from clf_export.delivery.page_files import page_file, refuse_place_of_page, write_folder, write_single
from clf_export.delivery.page_html import folder_page, single_page
from clf_export.errors import DeliveryError
from clf_runtime.classifier import Classifier
from clf_runtime.engine.engine import open_engine
from clf_runtime.model.file import read_model
from clf_runtime.model.metadata import from_metadata

LARGE = 50_000_000  # bytes of one HTML file, above which its size is remarked


def write_page(
    model: Path, to: Path, *, single: bool = False, ort_web: Path | None = None, overwrite: bool = False
) -> list[str]:
    """Write a page that runs the `.onnx` file `model` in a browser; returns lines to print.

    `to` is a folder, to be served by any web server. With `single` the page is one HTML file, which a browser also
    opens from a disk: `to`, if it ends in .html, or a file in the folder `to` with the model's name. `ort_web` is a
    folder with the npm package onnxruntime-web, whose two files the page then contains; without it the page loads
    them from a CDN, by version and SHA-384.
    Raises DeliveryError if the model has no card or takes no pictures, or if `ort_web` lacks a file; OutputError if
    `to` exists (unless `overwrite`, which replaces an earlier page and nothing else) or cannot be written; ModelError
    if the model is not valid.
    """
    place = page_file(to, model) if single else to

    def refuse() -> None:
        refuse_place_of_page(place, single=single, overwrite=overwrite)

    refuse()
    data = read_model(model)
    if from_metadata(open_engine(data, str(model), device="cpu").metadata) is None:
        raise DeliveryError(f"{model}: has no model card, which the page needs; export it with clf-export")
    classifier = Classifier(data, str(model), device="cpu")
    page, runtime = describe_page(classifier, str(model)), find_ort_web(ort_web)
    if single:
        html = single_page(page, data, runtime)
        write_single(place, html)
        return _single_lines(place, len(html), runtime)
    files = folder_page(page, data, runtime)
    write_folder(place, files, refuse)
    return _folder_lines(place, sum(map(len, files.values())), runtime)


def _single_lines(place: Path, size: int, runtime: OrtWeb) -> list[str]:
    lines = [f"{place}: the model as a page, one file, {_mb(size)}; open it in a browser"]
    if size > LARGE:
        lines.append(f"{place}: is large: a browser reads it whole before it shows it; a folder is shown at once")
    return [*lines, *_cdn_lines(place, runtime)]


def _folder_lines(place: Path, size: int, runtime: OrtWeb) -> list[str]:
    lines = [
        f"{place}: the model as a page, {_mb(size)}; put it on a web server (https: for the camera, and offline), or "
        f"try it here: python3 -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(place))}"
    ]
    return [*lines, *_cdn_lines(place, runtime)]


def _cdn_lines(place: Path, runtime: OrtWeb) -> list[str]:
    if runtime.files is not None:
        return []
    return [
        f"{place}: loads {runtime.name} (14 MB) from {CDN}, checked by SHA-384; --ort-web FOLDER puts it into the page"
    ]


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
