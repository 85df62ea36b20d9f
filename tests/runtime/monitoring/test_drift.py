"""Streams of four classes, whose probabilities are drawn: the same world, and others."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from clf_runtime import Classifier, DriftMonitor, ModelCard, ModelError, Prediction
from clf_runtime.model.metadata import PREFIX, from_metadata, to_metadata
from clf_runtime.model.reference import Reference
from clf_runtime.monitoring.reference import fit_reference

NAMES = ("a", "b", "c", "d")
MIX = np.array([0.4, 0.3, 0.2, 0.1])
SURENESS = np.array([9.0, 6.0, 4.0, 2.0])  # each class has its own


def rows(random, count, mix=MIX, sureness=1.0):
    """Probabilities float32 [count, 4] of images of this mix of predicted classes."""
    classes = random.choice(4, count, p=mix)
    tops = 0.3 + 0.7 * random.beta(SURENESS[classes] * sureness, 2)
    found = np.repeat((1 - tops)[:, None] / 3, 4, axis=1)
    found[np.arange(count), classes] = tops
    return found.astype(np.float32)


def predictions(probabilities):
    best = probabilities.argmax(1)
    return [Prediction(int(k), NAMES[k], float(p[k]), "", "") for k, p in zip(best, probabilities, strict=True)]


@pytest.fixture(scope="module")
def card():
    reference = fit_reference(rows(np.random.default_rng(99), 5000))
    return ModelCard("x", NAMES, (3, 8, 8), "uint8", (0.0, 255.0), reference=reference)


def changes(monitor, found):
    return [change for change in map(monitor.add, found) if change is not None]


def test_the_same_world_is_no_change_and_both_changes_are_told_apart_and_once(card):
    random = np.random.default_rng(0)
    monitor = DriftMonitor(card)
    assert changes(monitor, predictions(rows(random, 20_000))) == []
    assert monitor.summary().tested

    told = changes(monitor, predictions(rows(random, 20_000, MIX[::-1])))
    assert [(change.appearance is None, change.mix is None) for change in told] == [(True, False)]
    assert 20_000 < told[0].image < 22_000
    assert told[0].mix.distance > 0.3

    told = changes(monitor, predictions(rows(random, 20_000, MIX[::-1], sureness=0.5)))
    assert [(change.appearance is None, change.mix is None) for change in told] == [(False, True)]
    assert 40_000 < told[0].image < 45_000
    assert monitor.summary().appearance == told[0].image


def test_images_that_are_seen_for_long_are_no_change(card):
    random = np.random.default_rng(1)
    for mean in (30, 300):
        scenes = predictions(rows(random, 80_000 // mean))
        stream = [scene for scene in scenes for _ in range(random.geometric(1 / mean))]
        assert changes(DriftMonitor(card), stream) == []


def test_one_image_for_a_day_is_no_change(card):
    random = np.random.default_rng(2)
    monitor = DriftMonitor(card)
    assert changes(monitor, predictions(rows(random, 20_000))) == []
    assert changes(monitor, predictions(rows(random, 1)) * 50_000) == []


def test_no_test_before_there_are_enough_images(card):
    monitor = DriftMonitor(card)
    assert changes(monitor, predictions(rows(np.random.default_rng(3), 8000, MIX[::-1], 0.2))) == []
    assert not monitor.summary().tested


def test_a_world_that_was_never_the_same_is_told_soon_after_that(card):
    told = changes(DriftMonitor(card), predictions(rows(np.random.default_rng(4), 10_000, MIX[::-1], 0.3)))
    assert told[0].image < 9000
    assert told[0].appearance.distance > 0.1


def test_summaries_are_of_all_images_or_of_those_since_the_last(card):
    monitor = DriftMonitor(card)
    with pytest.raises(ValueError, match="no images"):
        monitor.summary()
    rejected = Prediction(None, "unknown", 0.25, "", "", np.array([0.25, 0.26, 0.24, 0.25], np.float32))
    for prediction in (*[Prediction(0, "a", 0.5, "", "")] * 3, rejected):
        monitor.add(prediction)
    first = monitor.interval()
    assert (first.first, first.last, first.unknown, first.shares) == (1, 4, 0.25, (0.75, 0.25, 0, 0))
    assert (first.value, first.mean) == ("probability", pytest.approx(1.75 / 4))
    assert first.held_out_mean == card.reference.mean
    assert first.held_out_shares == pytest.approx(MIX, abs=0.02)
    monitor.add(Prediction(2, "c", 1.0, "", ""))
    second = monitor.interval()
    assert (second.first, second.last, second.images, second.mean) == (5, 5, 1, 1)
    assert (monitor.summary().first, monitor.summary().last) == (1, 5)
    with pytest.raises(ValueError, match="distribution=True"):
        monitor.add(Prediction(None, "unknown", 0.25, "", ""))


def test_without_a_reference_there_are_summaries_and_no_test(card):
    monitor = DriftMonitor(dataclasses.replace(card, reference=None))
    assert changes(monitor, predictions(rows(np.random.default_rng(5), 20_000, MIX[::-1], 0.2))) == []
    found = monitor.summary()
    assert (found.held_out_mean, found.held_out_shares, found.tested) == (None, None, False)


def test_familiarity_is_compared_where_the_model_gives_one(card):
    random = np.random.default_rng(6)
    reference = fit_reference(rows(random, 5000), random.random(5000))
    assert reference.value == "familiarity"
    assert reference.mean == pytest.approx(0.5, abs=0.02)
    monitor = DriftMonitor(dataclasses.replace(card, reference=reference))

    def seen(count, power):
        for probabilities in rows(random, count):
            k, familiarity = int(probabilities.argmax()), random.random() ** power
            yield SimpleNamespace(index=k, probability=float(probabilities[k]), familiarity=familiarity)

    assert changes(monitor, seen(12_000, 1)) == []
    told = changes(monitor, seen(4000, 3))
    assert told[0].appearance is not None
    assert told[0].mix is None
    assert (monitor.summary().value, monitor.summary().held_out_mean) == ("familiarity", reference.mean)


def test_a_reference_counts_the_images_and_few_are_none():
    probabilities = rows(np.random.default_rng(7), 500)
    reference = fit_reference(probabilities)
    assert reference.images == 500
    assert [sum(row) for row in reference.counts] == np.bincount(probabilities.argmax(1), minlength=4).tolist()
    assert [sum(column) for column in zip(*reference.counts, strict=True)] == pytest.approx([50] * 10, abs=2)
    assert fit_reference(probabilities[:99]) is None
    sure = np.zeros((200, 2), np.float32)
    sure[:, 0] = [1, 1 - 1e-7] * 100  # equal but for rounding, so they are in one bin
    assert sorted(map(sum, zip(*fit_reference(sure).counts, strict=True)))[-1] == 200


def test_many_classes_have_one_row_of_counts_and_no_mix():
    random = np.random.default_rng(8)
    many = random.random((200, 1001), np.float32)
    names = tuple(f"n{i}" for i in range(1001))
    card = ModelCard("x", names, (3, 8, 8), "uint8", (0.0, 255.0), reference=fit_reference(many))
    assert len(card.reference.counts) == 1
    monitor = DriftMonitor(card)
    for i in range(9000):
        assert monitor.add(Prediction(i % 1001, names[i % 1001], float(many[i % 200].max()), "", "")) is None
    assert monitor.summary().held_out_shares is None


def test_the_card_carries_it_and_old_runtimes_ignore_what_they_do_not_know(card):
    metadata = to_metadata(card)
    assert from_metadata(metadata) == card
    assert from_metadata({**metadata, PREFIX + "future": "[1]"}) == card


GOOD = Reference("probability", tuple(i / 10 for i in range(1, 10)), ((1,) * 10,) * 4, 0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"value": "heat"},
        {"edges": (0.5,)},
        {"edges": (*GOOD.edges[:8], 1.5)},
        {"edges": GOOD.edges[::-1]},
        {"counts": GOOD.counts[:3]},
        {"counts": ((1,) * 9,) * 4},
        {"counts": ((0,) * 10,) * 4},
        {"counts": ((-1,) * 10,) * 4},
        {"counts": ((0.5,) * 10,) * 4},
        {"mean": float("nan")},
        {"mean": 2.0},
    ],
)
def test_an_impossible_reference_is_refused(card, change):
    dataclasses.replace(card, reference=GOOD)
    with pytest.raises(ModelError, match="reference must be"):
        dataclasses.replace(card, reference=dataclasses.replace(GOOD, **change))


def test_a_damaged_reference_is_refused_in_one_line(card, tiny_model):
    metadata = to_metadata(dataclasses.replace(card, reference=GOOD))
    for value in ('{"value": "probability"}', "[1]", '{"value": 1, "edges": [], "counts": [], "mean": 0}', "{"):
        with pytest.raises(ModelError, match=r"^tiny.onnx: the model's card is .*[Rr]eference") as error:
            Classifier(tiny_model(card=None, metadata={**metadata, PREFIX + "reference": value}), "tiny.onnx")
        assert "\n" not in str(error.value)
