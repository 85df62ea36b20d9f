"""What arrays of images and labels are called: our names and those of Keras, MedMNIST and scikit-learn, in any case.

images, labels; train_images, train_labels, val_images, ..., test_labels      ours, and MedMNIST's
x_train, y_train, x_test, y_test; X, y; X_train, ...                          Keras's, and the custom of scikit-learn
data, target, target_names (images, where they are there too)                 scikit-learn's own sets
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from clf_runtime.datasets.listing import PARTS, part_of_name
from clf_runtime.errors import ImageError

_PARTNER = {  # what lies beside what
    **{"images": "labels", "image": "label", "imgs": "labels", "x": "y", "data": "labels"},
    **{"labels": "images", "label": "image", "y": "x", "target": "data", "targets": "data"},
}
_IMAGES, _LABELS = ("images", "image", "imgs", "x", "data"), ("labels", "label", "y", "targets", "target")
_CLASSES = ("names", "classes", "class_names", "label_names", "target_names")
_ABOUT = ("feature_names", "descr", "frame", "filename", "data_module")  # of scikit-learn's own sets
_PART = "|".join(name for names in PARTS.values() for name in names)
_NAME = re.compile(
    rf"(?:(?P<before>{_PART})_?)?(?P<kind>{'|'.join((*_IMAGES, *_LABELS))})(?:_?(?P<behind>{_PART}))?", re.IGNORECASE
)


@dataclass(frozen=True)
class Keys:
    """Which arrays are read: of each part those of images and labels, and those of class names, if there are any."""

    parts: dict[str, tuple[str, str]]
    names: str | None


def find_keys(there: Collection[str], where: str) -> Keys:
    """Find the arrays of images and labels among names. Raises ImageError if one is missing, twice, or not read."""
    found: dict[tuple[str, str], list[str]] = {}
    names: list[str] = []
    held = ", ".join(sorted(there))[:200] or "nothing"
    for key in sorted(there):
        match = _NAME.fullmatch(key)
        if key.lower() in _CLASSES:
            names.append(key)
        elif match and not (match["before"] and match["behind"]):
            part = part_of_name(match["before"] or match["behind"] or "train") or "train"
            found.setdefault((part, "images" if match["kind"].lower() in _IMAGES else "labels"), []).append(key)
        elif key.lower() not in _ABOUT:
            raise ImageError(
                f"{where}: holds an array {key[:60]}, which is not read; wanted: images, labels, names, test_images, "
                "test_labels, or the names of Keras, MedMNIST or scikit-learn"
            )
    if not found:
        raise ImageError(f"{where}: holds no array named images (it holds {held})")
    parts = {}
    for part in {part: None for part, _ in found}:
        for kind, other in (("images", "labels"), ("labels", "images")):
            keys = found.setdefault((part, kind), [])
            if len(keys) == 2 and {key.lower() for key in keys} == {"data", "images"}:
                keys.remove(max(keys, key=lambda key: key.lower() == "data"))  # scikit-learn's: the same values, flat
            if len(keys) > 1:
                raise ImageError(f"{where}: holds {' and '.join(keys)}, which may be the same; keep one of them")
            if not keys:
                raise ImageError(f"{where}: holds no array named {_partner(found[part, other][0])} (it holds {held})")
        parts[part] = (found[part, "images"][0], found[part, "labels"][0])
    if len(names) > 1:
        raise ImageError(f"{where}: holds {' and '.join(names)}, which may be the same; keep one of them")
    return Keys(parts, names[0] if names else None)


def _partner(key: str) -> str:
    match = _NAME.fullmatch(key)
    assert match is not None
    return key[: match.start("kind")] + _PARTNER[match["kind"].lower()] + key[match.end("kind") :]
