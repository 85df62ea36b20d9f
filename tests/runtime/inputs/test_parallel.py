"""Work shared by threads: in order, a few items ahead, errors at their turn, and no more pixels than there is room."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from clf_runtime import Classifier, answer_files
from clf_runtime.commands.predict import main
from clf_runtime.inputs import parallel
from clf_runtime.inputs.parallel import Room, in_order
from clf_runtime.inputs.pictures import MAX_FILE_BYTES, MAX_PIXELS


def test_results_come_in_order_and_few_items_are_taken_ahead():
    taken, working, most = [], 0, 0
    lock = threading.Lock()

    def items():
        for i in range(40):
            taken.append(i)
            yield i

    def work(i):
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.004 if i % 3 == 0 else 0)
        with lock:
            working -= 1
        return i * i

    seen = []
    for result in in_order(work, items(), 3):
        seen.append(result)
        assert len(taken) <= len(seen) + 6
    assert seen == [i * i for i in range(40)]
    assert 1 < most <= 3


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_raised_is_raised_at_its_turn_and_no_thread_is_left(threads):
    before = threading.active_count()

    def items():
        yield from range(5)
        raise OSError("no more")

    seen = []
    with pytest.raises(ZeroDivisionError):
        seen.extend(in_order(lambda i: 1 / (3 - i), range(9), threads))
    assert len(seen) == 3
    with pytest.raises(OSError, match="no more"):
        seen.extend(in_order(str, items(), threads))
    assert seen[3:] == list("01234")
    given_up = in_order(str, range(1000), threads)
    assert next(given_up) == "0"
    given_up.close()
    assert threading.active_count() == before


def test_heavy_items_are_not_gathered():
    taken = []

    def items():
        for i in range(9):
            taken.append(i)
            yield i

    seen = 0
    for _ in in_order(lambda i: i, items(), 4, lambda i: MAX_FILE_BYTES // 2 + 1):
        seen += 1
        assert len(taken) <= seen + 1  # the one that was taken, and did not fit
    assert seen == 9


def test_room_is_shared_and_the_largest_waits_for_all_of_it():
    held, most = 0, 0
    lock, room = threading.Lock(), Room(2)

    def work(pixels):
        nonlocal held, most
        with room(pixels):
            with lock:
                held += pixels
                most = max(most, held)
            time.sleep(0.002)
            with lock:
                held -= pixels
        return pixels

    sizes = [MAX_PIXELS // 3, MAX_PIXELS // 3, MAX_PIXELS, 1, MAX_PIXELS // 2 + 1, MAX_PIXELS // 2] * 3
    assert list(in_order(work, sizes, 6)) == sizes
    assert held == 0
    assert MAX_PIXELS // 2 < most <= MAX_PIXELS


@pytest.fixture
def folder(tmp_path):
    """Pictures red, green, blue in turn, with broken ones, a moving one, arrays, and a batch named as a picture."""
    place = tmp_path / "shots"
    place.mkdir()
    for i in range(12):
        Image.new("RGB", (20, 10), ["red", "lime", "blue"][i % 3]).save(place / f"{i:02}.png")
    (place / "03.png").write_bytes(b"no picture")
    (place / "07.jpg").write_bytes((place / "00.png").read_bytes()[:40])
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("blue", "red")]
    frames[0].save(place / "08b.gif", save_all=True, append_images=frames[1:])
    batch = np.zeros((5, 3, 8, 8), np.uint8)
    batch[:, 1] = 255
    np.save(place / "04.npy", batch)
    with (place / "05b.png").open("wb") as file:
        np.save(file, batch)
    return place


def test_a_folder_is_answered_by_threads_as_by_one(tiny_file, folder):
    classifier = Classifier.load(tiny_file)
    told = {1: [], 3: []}
    found = {
        n: [
            (a.image, a.index, a.prediction and tuple(a.prediction)[:3], str(a.error))
            for a in answer_files(classifier, [folder, "nowhere.png", "*.none"], note=told[n].append, threads=n)
        ]
        for n in told
    }
    assert found[1] == found[3]
    assert len(found[1]) == 26
    assert told[1] == told[3] == [f"{folder / '08b.gif'}: contains several pictures; the first is used"]


def test_the_command_answers_by_threads_in_the_same_order(command, tiny_file, folder, monkeypatch):
    monkeypatch.setattr("clf_runtime.engine.threads.usable_processors", lambda: 3)
    monkeypatch.setattr("clf_runtime.classifier.usable_processors", lambda: 3)
    used = []
    monkeypatch.setattr(parallel, "Room", lambda threads: used.append(threads) or Room(threads))
    arguments = ("--model", tiny_file, "--csv", folder, folder / "00.png")
    one, three = command(main, *arguments), command(main, *arguments, "--threads", 3)
    assert (one.code, one.out, one.err) == (three.code, three.out, three.err)
    assert used == [3]
