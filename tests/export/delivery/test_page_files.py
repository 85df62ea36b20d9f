"""The files of a page, without a browser: what is refused, what is written, and what their scripts must not do."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clf_export.delivery import ort_web as runtime
from clf_export.delivery.page import write_page
from clf_export.delivery.page_data import describe_page, drawing_colours, title_of
from clf_export.delivery.page_html import MODULES
from clf_export.errors import DeliveryError, OutputError
from clf_runtime import Classifier, ModelCard
from clf_runtime.errors import ModelError

ROOT = Path(__file__).parents[3]
WEB = ROOT / "export" / "clf_export" / "delivery" / "web"


@pytest.fixture
def fake_ort(tmp_path):
    """A folder as npm makes it, with other bytes."""
    dist = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    (dist / runtime.MODULE).write_bytes(b"module")
    (dist / runtime.WASM).write_bytes(b"wasm")
    (dist / "another.wasm").write_bytes(b"more")
    (dist.parent / "package.json").write_text('{"version": "9.8.7"}')
    return tmp_path


def test_a_page_is_whole_and_replaces_an_earlier_page_and_nothing_else(tiny_file, fake_ort, tmp_path):
    to = tmp_path / "new" / "page"
    [line] = write_page(Path(tiny_file), to, ort_web=fake_ort)
    assert line.startswith(f"{to}: the model as a page, 0.1 MB; put it on a web server")
    assert sorted(file.name for file in (to / "ort").iterdir()) == ["LICENSE.txt", runtime.WASM, runtime.MODULE]
    assert (to / "model.onnx").read_bytes() == Path(tiny_file).read_bytes()
    assert "onnxruntime-web 9.8.7" in (to / "index.html").read_text("utf-8")
    with pytest.raises(OutputError, match="exists already; choose another --page, or pass --overwrite"):
        write_page(Path(tiny_file), to)
    write_page(Path(tiny_file), to, overwrite=True)
    assert not (to / "ort").exists()
    (to / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"notes.txt: is no file of a page, and would be lost"):
        write_page(Path(tiny_file), to, overwrite=True)
    with pytest.raises(OutputError, match="exists already, and is not a page"):
        write_page(Path(tiny_file), tmp_path, overwrite=True)
    assert sorted(file.name for file in to.parent.iterdir()) == ["page"]


def test_one_file_has_the_models_name_in_a_folder_or_its_own(tiny_file, fake_ort, tmp_path):
    for to, file in ((tmp_path / "out", tmp_path / "out" / "tiny.html"), (tmp_path / "x.html", tmp_path / "x.html")):
        lines = write_page(Path(tiny_file), to, single=True, ort_web=fake_ort)
        assert [line.split(": ")[0] for line in lines] == [str(file)]
        assert file.is_file()
    lines = write_page(Path(tiny_file), tmp_path / "x.html", single=True, overwrite=True)
    assert "loads onnxruntime-web" in lines[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', (tmp_path / "x.html").read_text("utf-8"))[1]
    files = [f"{runtime.CDN}{name}" for name in (runtime.MODULE, runtime.WASM)]
    assert f"connect-src {' '.join(files)};" in policy
    with pytest.raises(OutputError, match="pass --single"):
        write_page(Path(tiny_file), tmp_path / "y.html")
    (tmp_path / "z.html").write_text("mine")
    with pytest.raises(OutputError, match="is not a page"):
        write_page(Path(tiny_file), tmp_path / "z.html", single=True, overwrite=True)


def test_what_makes_no_page_is_refused_in_a_line_and_nothing_is_written(tiny_model, tmp_path):
    def refused(model, match, error=DeliveryError, **options):
        file = tmp_path / "it.onnx"
        file.write_bytes(model)
        with pytest.raises(error, match=match) as found:
            write_page(file, tmp_path / "page", **options)
        assert "\n" not in str(found.value)
        assert not (tmp_path / "page").exists()

    card = ModelCard("tiny", ("red", "green", "blue"), (3, 8, 8), "float32", (-1.0, 1.0))
    refused(tiny_model(card=None), "has no model card")
    refused(tiny_model(dtype="float32", card=card, value_range=(-1.0, 1.0)), "takes floats in -1..1")
    refused(tiny_model(), "has no ort-wasm-simd-threaded.wasm: make the folder with npm install", ort_web=tmp_path)
    refused(b"nonsense", "it.onnx", ModelError)


def test_the_versions_and_the_integrity_of_the_runtime_are_those_that_are_tested(ort_web):
    pinned = json.loads((ROOT / "package.json").read_text("utf-8"))["dependencies"]["onnxruntime-web"]
    found = runtime.find_ort_web(ort_web)
    assert found.version == runtime.VERSION == pinned
    assert {name: runtime.integrity(data) for name, data in found.files.items()} == runtime.INTEGRITY


def test_scripts_make_no_markup_of_text_and_evaluate_none():
    assert sorted(MODULES) == sorted(file.name for file in WEB.glob("*.js") if file.name != "service-worker.js")
    for file in WEB.glob("*.js"):
        forbidden = (
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(|XMLHttpRequest|</script"
        )
        assert re.search(forbidden, file.read_text("utf-8")) is None, file.name


def test_what_the_page_knows_stands_in_a_script_element_whatever_the_names_are(tiny_model, tmp_path):
    names = ("</script><script>alert(1)</script>", "<!--", "\u2028&amp;")
    card = ModelCard("tiny", names, (3, 8, 8), "uint8", (0.0, 255.0))
    (tmp_path / "it.onnx").write_bytes(tiny_model(card=card))
    write_page(tmp_path / "it.onnx", tmp_path / "page")
    html = (tmp_path / "page" / "index.html").read_text("utf-8")
    data = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', html, re.DOTALL)[1]
    assert json.loads(data)["model"]["names"] == list(names)
    assert html.count("<script") == 2
    assert "alert(1)</script>" not in html


@pytest.mark.parametrize(("shape", "mean", "std", "drawn"), [
    ((1, 28, 28), (33.0,), (78.0,), "#ffffff"), ((1, 28, 28), (221.0,), (78.0,), "#000000"),
    ((1, 8, 8), (), (), "#ffffff"),
    ((3, 32, 32), (70.0,) * 3, (90.0,) * 3, "#ffffff"), ((3, 32, 32), (125.3, 123.0, 114.0), (62.5, 61.9, 66.5), None),
    ((1, 224, 224), (33.0,), (78.0,), None),
])  # fmt: skip
def test_small_grey_images_can_be_drawn_in_the_grey_of_the_training(shape, mean, std, drawn):
    card = ModelCard("it", ("a", "b"), shape, "uint8", (0.0, 255.0), mean=mean, std=std)
    colours = drawing_colours(card)
    assert (colours and colours["ink"]) == drawn


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (("cat", "dog"), "cat or dog"),
        (("bolt", "nut", "washer", "screw"), "bolt, nut, washer or screw"),
        (("bolt", "nut", "washer", "screw", "pin"), "bolt, nut, washer, screw or 1 other"),
        (tuple(map(str, range(1000))), "0, 1, 2, 3 or one of 996 others"),
        (("a" * 100, "b" * 100), f"{'a' * 37}... or 1 other"),
    ],
)
def test_the_title_says_what_is_told_apart(names, title):
    assert title_of(ModelCard("conv", names, (3, 8, 8), "uint8", (0.0, 255.0))) == title


def test_a_golden_picture_that_leaves_its_palette_is_left_out(tiny_file):
    """As versions before this one made them: browsers show such a colour as they like."""
    from clf_runtime.model.records import Golden, GoldenPicture

    classifier = Classifier.load(tiny_file)
    golden = Golden(np.zeros((1, 3, 8, 8), np.uint8).tobytes(), ((1.0, 0.0, 0.0),), 1e-4, "CPU", 0.0)
    for colours, there in ((63, False), (64, True)):
        png = b"\x89PNG" + (3 * colours).to_bytes(4, "big") + b"PLTE" + bytes(3 * colours)
        picture = GoldenPicture(png, "0" * 64, (1.0, 0.0, 0.0))
        classifier.card = replace(classifier.card, golden=golden, golden_picture=picture)
        assert (describe_page(classifier, "it").scripts["golden"]["picture"] is not None) == there
