"""Addresses of models on the Hugging Face Hub, before anything is asked for."""

import sys

import pytest

from clf_runtime.errors import MissingExtraError, ModelError
from clf_runtime.model.file import find_model
from clf_runtime.model.hub import parse_address

COMMIT = "1" * 40


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://owner/name", ("owner/name", None, None)),
        ("hf://o.w-n_er/n4me@v1.0", ("o.w-n_er/n4me", "v1.0", None)),
        ("hf://owner/name@refs/pr/3/onnx/a-b.onnx", ("owner/name", "refs/pr/3", "onnx/a-b.onnx")),
        (f"hf://owner/name@{COMMIT}/model.onnx", ("owner/name", COMMIT, "model.onnx")),
    ],
)
def test_an_address_is_parsed(text, parts):
    address = parse_address(text)
    assert ((address.repository, address.revision, address.file), str(address)) == (parts, text)


@pytest.mark.parametrize(
    "text",
    [
        *("hf://", "hf://name", "hf:///name", "hf://owner/", "hf://owner/name/", "hf://owner/name@", "hf://a b/c"),
        *("hf://../name", "hf://owner/..", "hf://o--x/name", "hf://owner/name.git", "hf://-o/name", "hf://owner/n\n"),
        *("hf://owner/name@../main", "hf://owner/name@a..b", "hf://owner/name@a%2F..", "hf://owner/name@-x"),
        *("hf://owner/name/../a.onnx", "hf://owner/name//a.onnx", "hf://owner/name/.git/a.onnx", "hf://o/n/a\\b.onnx"),
        *(
            "hf://owner/name/model.bin",
            "hf://owner/name/model.onnx/x",
            "hf://owner/name/.onnx",
            "hf://owner/name/é.onnx",
        ),
        *(
            "hf://owner/name/a?b.onnx",
            "hf://owner/name/a.onnx\n",
            "hf://datasets/owner/name",
            "hf://" + "a" * 200 + "/b",
        ),
    ],
)
def test_anything_else_is_refused_before_huggingface_hub_is_loaded(text, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="not the address of a model on the Hugging Face Hub"):
        find_model(text, print)


def test_without_huggingface_hub_the_message_is_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r'^hf://a/b: .*pip install "clf-edge\[hub\]"$'):
        find_model("hf://a/b", print)
