"""The names of arrays of images and labels: ours and those of Keras, MedMNIST and scikit-learn, in any case.

images, labels; train_images, train_labels, val_images, ..., test_labels      ours, and MedMNIST's
x_train, y_train, x_test, y_test; X, y; X_train, ...                          Keras's, and scikit-learn's convention
data, target, target_names (images, if they exist too)                        scikit-learn's data sets
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from clf_runtime.datasets.listing import PARTS, part_of_name
from clf_runtime.errors import ImageError

_PARTNER = {  # images to labels and back
    **{"images": "labels", "image": "label", "imgs": "labels", "x": "y", "data": "labels"},
    **{"labels": "images", "label": "image", "y": "x", "target": "data", "targets": "data"},
}
_IMAGES, _LABELS = ("images", "image", "imgs", "x", "data"), ("labels", "label", "y", "targets", "target")
_CLASSES = ("names", "classes", "class_names", "label_names", "target_names")
_ABOUT = ("feature_names", "descr", "frame", "filename", "data_module")  # of scikit-learn's data sets
_PART = "|".join(name for names in PARTS.values() for name in names)
_NAME = re.compile(
    rf"(?:(?P<before>{_PART})_?)?(?P<kind>{'|'.join((*_IMAGES, *_LABELS))})(?:_?(?P<behind>{_PART}))?", re.IGNORECASE
)


@dataclass(frozen=True)
class Keys:
    """The arrays that are read: images and labels of each part, and the class names, if there are any."""

    parts: dict[str, tuple[str, str]]
    names: str | None


def find_keys(there: Collection[str], where: str) -> Keys:
    """Find the arrays of images and labels among names. Raises ImageError for a missing, ambiguous or unknown one."""
    found: dict[tuple[str, str], list[str]] = {}
    names: list[str] = []
    held = ", ".join(sorted(there))[:200] or "none"
    for key in sorted(there):
        match = _NAME.fullmatch(key)
        if key.lower() in _CLASSES:
            names.append(key)
        elif match and not (match["before"] and match["behind"]):
            part = part_of_name(match["before"] or match["behind"] or "train") or "train"
            found.setdefault((part, "images" if match["kind"].lower() in _IMAGES else "labels"), []).append(key)
        elif key.lower() not in _ABOUT:
            raise ImageError(
                f"{where}: contains an unknown array {key[:60]}; expected images, labels, names, test_images, "
                "test_labels, or the names of Keras, MedMNIST or scikit-learn"
            )
    if not found:
        raise ImageError(f"{where}: contains no array images (arrays: {held})")
    parts = {}
    for part in {part: None for part, _ in found}:
        for kind, other in (("images", "labels"), ("labels", "images")):
            keys = found.setdefault((part, kind), [])
            if len(keys) == 2 and {key.lower() for key in keys} == {"data", "images"}:
                keys.remove(max(keys, key=lambda key: key.lower() == "data"))  # scikit-learn's: the same, flattened
            if len(keys) > 1:
                raise ImageError(f"{where}: contains {' and '.join(keys)}, which mean the same; keep one of them")
            if not keys:
                raise ImageError(f"{where}: contains no array {_partner(found[part, other][0])} (arrays: {held})")
        parts[part] = (found[part, "images"][0], found[part, "labels"][0])
    if len(names) > 1:
        raise ImageError(f"{where}: contains {' and '.join(names)}, which mean the same; keep one of them")
    return Keys(parts, names[0] if names else None)


def _partner(key: str) -> str:
    match = _NAME.fullmatch(key)
    assert match is not None
    return key[: match.start("kind")] + _PARTNER[match["kind"].lower()] + key[match.end("kind") :]
