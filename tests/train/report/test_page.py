import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from clf_runtime.evaluation.interval import stated
from clf_train import find_recipe, read_source
from clf_train.evaluation.metrics import measure
from clf_train.models.recipe import change
from clf_train.report.page import comparison_page, run_page
from clf_train.training import train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "both"
    recipes = {model: change(find_recipe("fast", model), {"epochs": 1}) for model in ("simple", "conv")}
    return folder, train(read_source("digits"), recipes, folder)


class Reader(HTMLParser):
    """What a page shows and what it refers to."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.references, self.images, self.texts, self.style = [], [], [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name == "src" and value.startswith("data:image/png;base64,"):
                self.images.append(base64.b64decode(value.split(",")[1]))
            elif name in ("src", "href", "srcset", "action", "data", "poster"):
                self.references.append(value)

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "style" and "{" in data:
            self.style += data
        elif data.strip():
            self.texts.append(data.strip())

    def rows_with(self, first):
        """The texts that follow each text `first`."""
        return [self.texts[i + 1] for i, found in enumerate(self.texts[:-1]) if found == first]


@pytest.mark.parametrize("page", ["comparison.html", "simple/report.html", "conv/report.html"])
def test_a_page_stands_alone(made, page):
    reader = Reader((made[0] / page).read_text("utf-8"))
    assert reader.images
    assert reader.references  # the contents
    assert {r.removeprefix("#") for r in reader.references} <= set(reader.ids)
    assert all(r.startswith("#") for r in reader.references)
    assert len(set(reader.ids)) == len(reader.ids)
    assert not {"script", "link", "iframe", "object", "base"} & set(reader.tags)
    assert not re.search(r"url\(|@import|http", reader.style)


PICTURES = ("curves", "confusion", "confused", "explained", "reliability")


def test_a_report_holds_its_pictures_the_mistaken_images_among_them(made):
    folder, _ = made
    images = Reader((folder / "conv" / "report.html").read_text("utf-8")).images
    assert sorted(images) == sorted((folder / "conv" / f"{name}.png").read_bytes() for name in PICTURES)


def test_a_comparison_holds_everything(made):
    folder, runs = made
    reader = Reader((folder / "comparison.html").read_text("utf-8"))
    files = [folder / run.model / f"{name}.png" for run in runs for name in PICTURES]
    assert sorted(reader.images) == sorted(file.read_bytes() for file in files)
    for run in runs:
        assert f"#{run.model}-mistakes" in reader.references
        assert reader.texts.count(f"{100 * run.test.accuracy:.2f} %") >= 2  # large, and in its own report
        assert f"{stated(run.test.accuracy, run.test.images)}" in reader.texts  # in the table
        assert f"{run.parameters:,}" in reader.texts
    at = reader.texts.index("Recall by class", reader.texts.index("Models", 10))
    seven = reader.texts.index("7", at)
    shares = [f"{100 * run.test.class_accuracy[7]:.2f} %" for run in runs]
    assert reader.texts[seven + 1 : seven + 3] == shares


def test_the_better_of_two_is_marked(made):
    folder, (simple, conv) = made
    runs = [
        replace(simple, test=replace(simple.test, accuracy=0.25)),
        replace(conv, test=replace(conv.test, accuracy=0.5)),
    ]
    html = comparison_page(runs, folder)
    assert f'<td class="n best">{stated(0.5, 359)}</td>' in html
    assert f'<td class="n">{stated(0.25, 359)}</td>' in html


def test_a_bar_is_as_long_as_the_share(made):
    folder, (run, _) = made
    test = replace(run.test, class_accuracy=(0.125, None, *run.test.class_accuracy[2:]))
    html = run_page(replace(run, test=test), folder / "simple")
    assert '<td class="n">12.50 %</td><td class="bar"><i style="width:12.5%"></i></td>' in html
    assert '<td class="n">–</td><td class="bar"></td>' in html


def test_a_report_names_the_machine(made):
    folder, (run, _) = made
    run = replace(run, machine={"processor": "Fast & <new>", "memory": "3 GiB"})
    reader = Reader(run_page(run, folder / "simple"))
    assert reader.rows_with("processor") == ["Fast & <new>"]
    assert reader.rows_with("memory") == ["3 GiB"]
    assert reader.rows_with("device") == [run.device]


def test_a_recipe_is_told_without_what_it_does_not_use(made):
    folder, (run, _) = made
    recipe = find_recipe("seed", "simple")
    reader = Reader(run_page(replace(run, recipe=recipe), folder / "simple"))
    told = {name: reader.rows_with(name) for name in ("recipe", "batch size", "learning rate", "shuffle", "normalise")}
    assert told == {
        "recipe": ["seed"],
        "batch size": ["100"],
        "learning rate": ["0.1"],
        "shuffle": ["no"],
        "normalise": ["no"],
    }
    assert not {"flip", "shift", "momentum", "weight decay", "label smoothing", "patience"} & set(reader.texts)
    reader = Reader(run_page(replace(run, recipe=find_recipe("best", "conv")), folder / "simple"))
    assert reader.rows_with("flip") == ["yes"]
    assert reader.rows_with("validation share") == ["5 %"]


def test_text_of_others_is_never_markup(made):
    folder, runs = made
    evil = tuple(f"<script>{i}</script>&\"'" for i in range(10))
    data = replace(runs[0].data, source="<script>", layout="</title><script>", fingerprint="<script>")
    changed = [
        replace(run, names=evil, data=data, device="<script>", versions={"<script>": "<script>"}) for run in runs
    ]
    for html in (comparison_page(changed, folder), run_page(changed[0], folder / "simple")):
        reader = Reader(html)
        assert "script" not in reader.tags
        assert evil[3] in reader.texts


def test_without_a_mistake_a_report_says_so_and_needs_no_picture(made, tmp_path):
    folder, (run, _) = made
    for name in set(PICTURES) - {"confused"}:
        (tmp_path / f"{name}.png").write_bytes((folder / "simple" / f"{name}.png").read_bytes())
    reader = Reader(run_page(replace(run, test=measure(np.eye(10, dtype=np.float32), np.arange(10))), tmp_path))
    assert "No test image was misclassified." in reader.texts
    assert len(reader.images) == 3


def test_a_class_without_test_images_has_a_dash(made):
    folder, (run, _) = made
    test = measure(np.eye(10, dtype=np.float32)[[1, 1, 0]], np.array([1, 1, 1]))
    reader = Reader(run_page(replace(run, test=test), folder / "simple"))
    at = reader.texts.index("precision")
    assert reader.texts[at + 1 : at + 9] == ["0", "0", "–", "0.00 %", "1", "3", "66.67 %", "20.8 to 93.9 %"]
    assert reader.rows_with("lowest recall") == ["1, 66.67 %  (20.8 to 93.9 %, 3 images)"]
