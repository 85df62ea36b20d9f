"""The README.md of a repository on the Hugging Face Hub: a metadata block in YAML, then the card in Markdown.

The keys of the block are those of https://huggingface.co/docs/hub/model-cards. What comes from the model's card may
hold anything: in YAML it is a quoted scalar in ASCII, in Markdown it is inside of code, which is not interpreted.
"""

import re
from dataclasses import dataclass

from clf_runtime.classifier import Classifier
from clf_runtime.commands.describe import card_lines
from clf_runtime.commands.shell import one_line
from clf_runtime.evaluation.interval import span
from clf_runtime.model.card import ModelCard

MODEL, README, LABELS, IMAGE, EXAMPLE = "model.onnx", "README.md", "labels.json", "image.npy", "example.json"
# The identifiers of https://huggingface.co/docs/hub/repositories-licenses that are in use for data and models.
_LICENSES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "zlib", "bsl-1.0", "wtfpl"),
    *("agpl-3.0", "gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "eupl-1.2", "epl-2.0", "artistic-2.0", "ncsa", "ms-pl"),
    *("cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "odc-by"),
    *("cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "odbl", "pddl", "openrail", "afl-3.0"),
}
_MOST = 200  # characters of a text in a sentence or in the block


@dataclass(frozen=True)
class Example:
    """The file's answer to an image: class, and its probability in 0..1, which may differ by `tolerance` elsewhere."""

    index: int
    name: str
    probability: float
    tolerance: float


def readme(classifier: Classifier, example: Example | None) -> str:
    """The text of README.md for a loaded model."""
    return f"---\n{_metadata(classifier.card)}---\n\n{_body(classifier, example)}"


def yaml_text(text: str) -> str:
    """A text as a double-quoted YAML scalar in ASCII: no character of it can end the scalar, or be misread."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in text[:_MOST])
    return f'"{plain}"'


def code(text: str) -> str:
    """A text as a code span of Markdown, on one line: nothing in it is markup, a link or HTML."""
    line = one_line(text[:_MOST]) or " "
    fence = "`" * (1 + _longest_run(line))
    space = " " * (line[0] in "` " or line[-1] in "` ")  # CommonMark removes one at each end
    return f"{fence}{space}{line}{space}{fence}"


def block(lines: list[str]) -> str:
    """Lines of text as a code block of Markdown, which no line of it can end."""
    fence = "`" * max(3, 1 + max(map(_longest_run, lines), default=0))
    return "\n".join((f"{fence}text", *lines, fence))


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _metadata(card: ModelCard) -> str:
    """The metadata block: licence, library, task, tags, and the accuracy with what it was measured on."""
    lines = [*_license(card.license), "library_name: clf-edge", "pipeline_tag: image-classification", "tags:"]
    lines += [f"- {tag}" for tag in ("image-classification", "onnx", "onnxruntime", "clf-edge")]
    lines += ["- int8"] * (card.precision == "int8")
    if (measured := _accuracy(card)) is not None:
        accuracy, images, how, split = measured
        lines += [
            "metrics:",
            "- accuracy",
            "model-index:",
            f"- name: {yaml_text(card.model)}",
            "  results:",
            "  - task:",
            "      type: image-classification",
            "    dataset:",
            "      type: unpublished",
            f"      name: {yaml_text(card.data or 'labelled images')}",
            f"      split: {split}",
            "      args:",
            f"        sha256: {yaml_text(card.data_fingerprint)}",
            f"        images: {images}",
            "    metrics:",
            "    - type: accuracy",
            f"      value: {accuracy:.6g}",
            f"      name: {yaml_text(f'accuracy on {images:,} {how} (95 % interval {span(accuracy, images)})')}",
        ]
    return "\n".join(lines) + "\n"


def _license(stated: str) -> list[str]:
    """The lines for a licence: the Hub's identifier of it, or `other` with its name; none if none is stated."""
    if not stated.strip():
        return []
    identifier = re.sub("-(only|or-later)$", "", stated.strip().lower())
    if identifier in _LICENSES:
        return [f"license: {identifier}"]
    return ["license: other", f"license_name: {yaml_text(stated.strip())}"]


def _accuracy(card: ModelCard) -> tuple[float, int, str, str] | None:
    """The file's accuracy, in 0..1, the number of images and what they are, and the name of the split, if it is known.

    It is that of this file on the test images, or else that of the nets of the folds; never one on training images.
    """
    if card.test_accuracy is not None:
        if card.parity is not None and not card.parity_is_of_training:
            return card.parity.onnx_accuracy, card.parity.images, "test images", "test"
        return card.test_accuracy, card.test_images, "test images", "test"
    if card.fold_accuracy is not None and card.precision == "float32":
        how = f"training images, each predicted by one of {card.fold_count} nets that had not seen it"
        return card.fold_accuracy, card.fold_images, how, "train"
    return None


def _body(classifier: Classifier, example: Example | None) -> str:
    card, sha256 = classifier.card, classifier.sha256
    return f"""# {code(card.model)}

An image classifier with {len(card.names):,} classes: one ONNX file with preprocessing, class names and a self-test.
{_summary(card)}

## Use

With clf-edge, in the shell; OWNER/NAME is this repository:

```sh
pip install "clf-edge[cpu,hub,images]"
clf-predict --self-test --model hf://OWNER/NAME --sha256 {sha256}
clf-predict {IMAGE if example else "IMAGE"} --model hf://OWNER/NAME --sha256 {sha256}
```

in Python, where `hf download OWNER/NAME --local-dir .` has put the files:

```python
from clf_runtime import Classifier

classifier = Classifier.load("{MODEL}", sha256="{sha256}")
print(classifier.predict("{IMAGE if example else "IMAGE"}"))
```

and with numpy and onnxruntime alone:

```python
import json, numpy, onnxruntime

image = {f'numpy.load("{IMAGE}")[None]' if example else f'numpy.zeros({[1, *card.input_shape]}, "{card.dtype}")'}
session = onnxruntime.InferenceSession("{MODEL}", providers=["CPUExecutionProvider"])
probabilities = session.run(["probabilities"], {{"image": image}})[0][0]
with open("{LABELS}") as labels:
    print(json.load(labels)[probabilities.argmax()], probabilities.max())
```

{_tensors(card, example)}

## What the file says of itself

{block(card_lines(classifier))}

SHA-256 of `{MODEL}`: `{sha256}`
"""


def _summary(card: ModelCard) -> str:
    """Accuracy with what it was measured on, licence, and what the training began with."""
    said = ["The file states no accuracy on images that it was not trained on."]
    if (measured := _accuracy(card)) is not None:
        accuracy, images, how, _ = measured
        said = [f"Accuracy: {100 * accuracy:.2f} % on {images:,} {how} (95 % interval: {span(accuracy, images)})."]
    said += [f"Licence: {code(card.license)}." if card.license.strip() else "No licence is stated."]
    said += [f"Its training began with the weights of {code(card.pretrained)}."] * bool(card.pretrained.strip())
    return " ".join(said)


def _tensors(card: ModelCard, example: Example | None) -> str:
    """The input and the outputs, and the answer to the example."""
    channels, height, width = card.image_shape
    axes = "1, height, width, 3" if card.input == "photo" else ", ".join(map(str, ("batch", *card.input_shape)))
    order = ", RGB" if channels == 3 else ""
    low, high = card.value_range
    scaled = f", of any size: the graph scales it to {height}x{width}" if card.input == "photo" else ""
    lines = [
        f"- input `image`: {card.dtype} [{axes}]{order}, {low:g} to {high:g}{scaled}; normalisation is in the graph",
        f"- output `probabilities`: float32 [batch, {len(card.names)}], in the order of `{LABELS}`",
    ]
    if card.familiarity is not None:
        known = f"below {card.familiarity.threshold:g} an image is unlike those that the model knows"
        lines.append(f"- output `familiarity`: float32 [batch], 0 to 1; {known}")
    if example is not None:
        answer = f"class {example.index}, {code(example.name)}, with probability {example.probability:.4f}"
        lines.append(
            f"- `{IMAGE}`, one of the file's golden cases, is {answer}, which may differ by {example.tolerance:g} on "
            f"another processor (`{EXAMPLE}`)"
        )
    return "\n".join(lines)
