import os
import threading
import time

import numpy as np
import pytest

from clf_runtime import Classifier, ModelError
from clf_runtime import classifier as module
from clf_runtime.engine.threads import run_blocks, share


@pytest.mark.parametrize(
    ("count", "threads", "size"),
    [(1, 1, 32), (1000, 1, 250), (1000, 5, 200), (100, 5, 32), (10**6, 2, 256), (768, 2, 192), (0, 1, 32)],
)
def test_blocks_keep_all_threads_busy_and_are_neither_tiny_nor_huge(count, threads, size):
    assert share(count, threads, 256) == size


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 31, 64, 1000])
@pytest.mark.parametrize("block", [1, 256])
def test_every_row_is_answered_once_and_in_its_place(threads, count, block):
    answers = np.full(count, -1)
    asked = []

    def answer(rows):
        asked.append(rows)
        return np.arange(count)[rows]

    run_blocks(answer, answers, block, threads)
    assert answers.tolist() == list(range(count))
    sizes = [block] * (count // block) + [count % block] * (count % block > 0)
    assert sorted(rows.stop - rows.start for rows in asked) == sorted(sizes)


def test_the_threads_work_at_the_same_time_and_are_gone_afterwards():
    together = threading.Barrier(3, timeout=20)

    def answer(rows):
        together.wait()
        return np.zeros(rows.stop - rows.start)

    before = threading.active_count()
    run_blocks(answer, np.empty(96), 32, 3)
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [ModelError("it failed"), KeyboardInterrupt()])
def test_an_error_of_any_thread_is_raised_and_ends_the_work(error):
    started = []

    def answer(rows):
        started.append(rows)
        if rows.start >= 64:
            raise error
        time.sleep(0.01)
        return np.zeros(rows.stop - rows.start)

    with pytest.raises(type(error)):
        run_blocks(answer, np.empty(32_000), 32, 2)
    assert len(started) < 20


def test_answers_are_those_of_one_thread(tiny_model, monkeypatch):
    monkeypatch.setattr(module, "usable_processors", lambda: 3)
    images = np.random.default_rng(0).integers(0, 256, (700, 3, 8, 8), np.uint8)
    one, three = (Classifier(tiny_model(), "x", threads=n) for n in (1, 0))
    assert (one.threads, three.threads, three.notes) == (1, 3, ())
    np.testing.assert_allclose(three.probabilities(images), one.probabilities(images), atol=1e-6)
    assert three.predict_batch(images[:5]) == one.predict_batch(images[:5])


def test_no_more_threads_than_the_process_may_use(tiny_model, monkeypatch):
    monkeypatch.setattr(module, "usable_processors", lambda: 2)
    classifier = Classifier(tiny_model(), "x", threads=8)
    assert classifier.threads == 2
    assert classifier.notes == ("running 2 threads: this process may not use more",)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_classifier_works_on_after_a_fork(tiny_model, monkeypatch):
    monkeypatch.setattr(module, "usable_processors", lambda: 2)
    classifier = Classifier(tiny_model(), "x", threads=2)
    images = np.random.default_rng(0).integers(0, 256, (200, 3, 8, 8), np.uint8)
    expected = classifier.probabilities(images)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(classifier.probabilities(images), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(classifier.probabilities(images), expected)


def test_a_classifier_is_not_sent_to_another_process(tiny_model):
    import pickle

    with pytest.raises(TypeError, match="load it in each process"):
        pickle.dumps(Classifier(tiny_model(), "x"))


def test_blocks_of_a_size_that_is_asked_for_are_those_of_one_thread(tiny_model, monkeypatch):
    """As clf-eval asks: the same sums, to the last bit."""
    monkeypatch.setattr(module, "usable_processors", lambda: 3)
    images = np.random.default_rng(0).integers(0, 256, (700, 3, 8, 8), np.uint8)
    seen = []
    three = Classifier(tiny_model(), "x", threads=3)
    run = three._run
    three._run = lambda batch: seen.append(len(batch)) or run(batch)
    one = Classifier(tiny_model(), "x")
    assert np.array_equal(three.probabilities(images, block=300), one.probabilities(images, block=300))
    assert sorted(seen) == [100, 300, 300]
