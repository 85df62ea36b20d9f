"""Pages in a real browser: they agree, they answer as Python does, and they need neither mouse, eyes nor network."""

import base64
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest

from clf_export.delivery import page_html
from clf_export.delivery.ort_web import CDN, INTEGRITY, MODULE, VERSION, WASM, integrity
from clf_export.delivery.page import write_page
from clf_export.graph.photo import with_photo_input
from clf_export.proof.pictures import with_golden_picture
from clf_runtime import Classifier, ModelCard
from clf_runtime.model.familiarity import Familiarity
from clf_runtime.model.file import default_model
from clf_runtime.model.geometry import Geometry
from clf_runtime.model.metadata import to_metadata
from clf_runtime.model.records import Golden

Image = pytest.importorskip("PIL.Image")

HOSTILE = ("</script><img src=x onerror=alert(1)>", "{{ 7 * 7 }} <!-- &amp;", "blue")
ANSWER = "() => document.querySelector('#results > li').answer"
LIT = """
() => new Uint32Array(document.querySelector("#pad").getContext("2d").getImageData(0, 0, 320, 320).data.buffer)
  .reduce((count, pixel) => count + (pixel === 0xffffffff), 0)
"""
EVENT = """
([kind, name, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}
"""


@pytest.fixture
def small_model(tiny_model, tmp_path):
    """A file of a small model with a card, golden cases and a golden picture; `change` changes its card."""

    def make(geometry=Geometry("crop"), photo=False, change=lambda card: card, **options):  # noqa: B008
        dtype, layout = options.get("dtype", "uint8"), options.get("layout", "NCHW")
        size = options.setdefault("size", (8, 12))
        high = 255 if dtype == "uint8" else 1
        images = np.zeros((4, 3, *size), dtype)
        images[np.arange(3), np.arange(3)] = high
        images[:3, :, :2] = high // 2
        if layout == "NHWC":
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        model = tiny_model(**options)
        probabilities, familiarity = Classifier(model, "it").scores(images)
        rows = tuple(map(tuple, probabilities.tolist()))
        golden = Golden(images.astype(f"{np.dtype(dtype).newbyteorder('<').str}").tobytes(), rows, 1e-4, "CPU", 1e-7)
        known = None
        if options.get("familiar"):
            known = Familiarity(0.25, 100, True, 10, ("noise",), (1.0,), tuple(familiarity.tolist()), foreign=1)
        card = ModelCard("tiny", ("red", "green", "blue"), (3, *size), dtype, (0.0, float(high)), layout=layout)
        card = replace(card, geometry=geometry, golden=golden, familiarity=known)
        proto = onnx.ModelProto.FromString(model)
        if photo:
            del proto.metadata_props[:]
            proto = with_photo_input(proto, (3, *size), geometry)
            pixels = images.transpose(0, 2, 3, 1).tobytes()
            card = replace(card, input="photo", layout="NHWC", golden=replace(golden, images=pixels))
        card = change(with_golden_picture(proto.SerializeToString(), card))
        onnx.helper.set_model_props(proto, to_metadata(card))
        file = tmp_path / "tiny.onnx"
        file.write_bytes(proto.SerializeToString())
        return file

    return make


@pytest.fixture
def folder_of(ort_web, tmp_path, serve):
    """Write the page of a model into a folder and serve it; returns its address."""

    def make(model):
        write_page(model, tmp_path / "page", ort_web=ort_web)
        return serve(tmp_path / "page")[0]

    return make


@pytest.fixture
def shot(tmp_path):
    """A PNG of a red picture with noise, whose sides are not the input's."""
    random = np.random.default_rng(3)
    pixels = random.integers(0, 90, (61, 47, 3), np.uint8)
    pixels[..., 0] += 120
    file = tmp_path / "shot.png"
    Image.fromarray(pixels).save(file)
    return file


def agreement(page):
    return page.get_attribute("#agreement", "data-state"), page.inner_text("#agreement")


def answered(page, count=1):
    page.wait_for_selector(f"#results > li:nth-child({count})")
    return page.evaluate(ANSWER)


def assert_as_in_python(answer, model, picture, reject=None):
    prediction = Classifier.load(model).predict(str(picture), distribution=True, reject=reject)
    np.testing.assert_allclose(answer["probabilities"], prediction.distribution, atol=1e-6)
    assert answer["name"] == prediction.name
    if prediction.familiarity is not None:
        assert answer["familiarity"] == pytest.approx(prediction.familiarity, abs=1e-6)
    return prediction


def test_the_model_that_ships_answers_as_in_python_with_the_keyboard_and_then_without_a_network(
    ort_web, tmp_path, serve, visit, shot
):
    model, asked, walked = default_model(), [], []
    write_page(model, tmp_path / "page", ort_web=ort_web)
    address, stop = serve(tmp_path / "page")
    page = visit(address, prepare=lambda page: page.on("request", lambda request: asked.append(request.url)))
    state, text = agreement(page)
    assert state == "agrees"
    assert "9 golden cases: largest difference" in text
    for _ in range(4):
        page.keyboard.press("Tab")
        walked.append(page.evaluate("document.activeElement.id || document.activeElement.title"))
    assert walked == ["files", "camera-button", "golden case 1: airplane", "golden case 2: automobile"]
    page.keyboard.press("Enter")
    assert answered(page)["name"] == "automobile"
    assert page.text_content("#announcement").startswith("golden case 2: automobile, ")
    page.focus("#clear")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "files"
    assert page.locator("#results > li").count() == 0
    assert [url for url in asked if not url.startswith((address, "blob:"))] == []

    page.get_by_text("Ready without a network.").wait_for()
    stop()
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector("body[data-state=ready]")
    assert agreement(page)[0] == "agrees"
    page.set_input_files("#files", shot)
    assert_as_in_python(answered(page), model, shot, "auto")


def test_a_newer_version_waits_until_it_is_asked_for(small_model, ort_web, tmp_path, serve, visit):
    write_page(small_model(), tmp_path / "page", ort_web=ort_web)
    page = visit(serve(tmp_path / "page")[0])
    page.get_by_text("Ready without a network.").wait_for()
    newer = small_model(change=lambda card: replace(card, names=("red", "green", "newer")))
    write_page(newer, tmp_path / "page", ort_web=ort_web, overwrite=True)
    page.reload()
    assert page.title() == "red, green or blue"
    page.get_by_role("button", name="Update").click()
    page.wait_for_selector("h1:has-text('newer')")
    page.wait_for_selector("body[data-state=ready]")
    assert agreement(page)[0] == "agrees"


def test_one_file_is_opened_from_a_disk_and_asks_for_nothing(ort_web, visit, tmp_path, shot):
    asked = []
    [line] = write_page(default_model(), tmp_path, single=True, ort_web=ort_web)
    file = tmp_path / "conv.html"
    assert line.startswith(f"{file}: the model as a page, one file, 5.")
    assert "connect-src &#39;none&#39;" in file.read_text("utf-8")[:1000]
    page = visit(file.as_uri(), prepare=lambda page: page.on("request", lambda request: asked.append(request.url)))
    assert agreement(page)[0] == "agrees"
    page.set_input_files("#files", shot)
    assert_as_in_python(answered(page), default_model(), shot, "auto")
    assert [url for url in asked if not url.startswith("blob:")] == [file.as_uri()]


@pytest.mark.parametrize("options", [
    {"geometry": Geometry("pad", (9, 0, 70)), "dtype": "float32"},
    {"geometry": None, "dtype": "float32", "layout": "NHWC"},
    {"geometry": Geometry("pad", (0, 0, 200)), "photo": True},
], ids=["pad", "unstated", "photo"])  # fmt: skip
def test_every_kind_of_input_is_answered_as_in_python(options, small_model, folder_of, visit, shot, tmp_path):
    model = small_model(**options)
    page = visit(folder_of(model))
    state, text = agreement(page)
    assert state == "agrees", text
    assert ("and a picture" in text) == (options["geometry"] is not None)
    pixels = np.random.default_rng(5).integers(0, 256, (40, 20, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, clear, files = tmp_path / "turned.png", tmp_path / "clear.png", [shot]
    Image.fromarray(pixels).save(turned, exif=exif)
    files.append(turned)
    if options["geometry"] is not None:  # else the colours that transparency hides would count
        alpha = np.broadcast_to(np.where(np.arange(20) < 9, 255, 0).astype(np.uint8), (40, 20))
        Image.fromarray(np.dstack([pixels, alpha])).save(clear)
        files.append(clear)
    for count, file in enumerate(files, 1):
        page.set_input_files("#files", file)
        assert_as_in_python(answered(page, count), model, file)


def test_what_it_does_not_know_is_unknown_and_it_says_why(small_model, folder_of, visit, shot, tmp_path):
    model, dark = small_model(familiar=True), tmp_path / "dark.png"
    Image.new("RGB", (30, 20), (30, 20, 10)).save(dark)
    page = visit(folder_of(model))
    assert agreement(page)[0] == "agrees"
    encoded = base64.b64encode(dark.read_bytes()).decode()
    page.evaluate(EVENT, ["drop", "dark.png", encoded])
    assert assert_as_in_python(answered(page), model, dark, "auto").rejected == "unfamiliar"
    result = page.inner_text("#results > li")
    assert result.startswith("unknown")
    assert re.search(r"11.8.% of known images are less familiar.*below 25.0.% .*would be red", result)
    assert page.text_content("#announcement") == "dark.png, 30×20: unknown, unlike what the model knows."
    page.evaluate(EVENT, ["paste", "image.png", encoded])
    assert answered(page, 2)["name"] == "unknown"
    page.set_input_files("#files", shot)
    assert assert_as_in_python(answered(page, 3), model, shot, "auto").name == "red"


def test_a_browser_that_does_not_agree_is_told_and_names_are_only_text(small_model, folder_of, visit, shot):
    def change(card):
        rows = tuple((0.5, 0.25, 0.25) for _ in card.golden.probabilities)
        picture = replace(card.golden_picture, input_sha256="0" * 64)
        named = replace(card, names=HOSTILE, description=HOSTILE[0], model=HOSTILE[1])
        return replace(named, golden=replace(card.golden, probabilities=rows), golden_picture=picture)

    page = visit(folder_of(small_model(change=change)))
    state, text = agreement(page)
    assert state == "differs"
    assert "4 of 4 golden cases differ" in text
    assert "decodes the golden picture to other pixels" in text
    assert page.inner_text("h1") == page.title() == f"{HOSTILE[0]}, {HOSTILE[1]} or {HOSTILE[2]}"
    page.set_input_files("#files", [shot, __file__])
    answered(page, 2)
    assert page.inner_text("#results > li:nth-child(1) .why") == "This browser cannot decode it as a picture."
    assert page.inner_text("#results > li:nth-child(2) .name") == HOSTILE[0]
    assert page.locator("img").count() == 0


def grey(card):
    return replace(card, mean=(80.0, 80.0, 80.0), std=(70.0, 70.0, 70.0))


def test_a_drawing_by_hand_or_key_and_the_camera_are_answered_at_once(small_model, folder_of, visit):
    page = visit(folder_of(small_model(geometry=Geometry("stretch"), change=grey)))
    page.click("#drawing-button")
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.up()
    page.wait_for_selector("#drawing-live .bars li")
    page.click("#pad-keep")
    assert answered(page)["name"] == "red"  # of three equal ones, since what is drawn is grey
    before = page.evaluate(LIT)
    page.focus("#pad")
    for key in (" ", "ArrowDown", "ArrowDown", "ArrowRight", " ", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate(LIT) > before > 1000
    page.click("#pad-clear")
    assert page.evaluate(LIT) == 0

    page.click("#camera-button")
    page.wait_for_selector("#camera-live .bars li")
    page.click("#take")
    assert sum(answered(page, 2)["probabilities"]) == pytest.approx(1, abs=1e-4)
    page.click("#camera-button")
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_axe_finds_nothing_in_either_scheme_and_a_narrow_screen_needs_no_scrolling(
    small_model, folder_of, visit, shot, axe
):
    model = small_model(familiar=True, change=lambda card: replace(grey(card), names=("r" * 90, "green", "blue")))
    page = visit(folder_of(model), viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    page.click("#drawing-button")
    page.click("#camera-button")
    page.click("#example-buttons button:last-child")  # the dark one, unknown
    page.set_input_files("#files", [shot, __file__])
    answered(page, 3)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    page.evaluate(axe)
    for scheme, ground in (("light", "rgb(246, 247, 249)"), ("dark", "rgb(18, 19, 22)")):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
        found = page.evaluate("axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] })")
        assert [(one["id"], [node["html"][:90] for node in one["nodes"]]) for one in found["violations"]] == []


def test_without_a_folder_the_runtime_is_the_cdns_and_no_other_bytes(
    small_model, ort_web, tmp_path, serve, visit, monkeypatch
):
    """Another server on this machine stands in for the CDN: another origin, with its header."""
    cdn = tmp_path / "cdn"
    cdn.mkdir()
    for name in (MODULE, WASM):
        assert integrity((ort_web / "dist" / name).read_bytes()) == INTEGRITY[name]
        (cdn / name).symlink_to(ort_web / "dist" / name)
    monkeypatch.setattr(page_html, "CDN", serve(cdn)[0])
    lines = write_page(small_model(), tmp_path / "page")
    assert f"onnxruntime-web {VERSION} (14 MB) from {CDN}" in lines[-1]
    assert not (tmp_path / "page" / "ort").exists()
    address, _ = serve(tmp_path / "page")
    assert agreement(visit(address))[0] == "agrees"
    (cdn / MODULE).unlink()
    (cdn / MODULE).write_bytes((ort_web / "dist" / MODULE).read_bytes() + b" ")
    page = visit(address, state=None)
    page.wait_for_selector("#agreement[data-state=differs]")
    assert "is not the file that this page was made for" in agreement(page)[1]
    assert visit.errors
    assert all("integrity" in error for error in visit.errors)
    visit.errors.clear()
