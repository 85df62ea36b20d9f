"""What real processes do: workers that are killed, drivers that are killed, signals, two at once, a full disk."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest

from clf_runtime import ModelError, ScoringError, score
from clf_runtime.scoring.results import locked

IMAGES = 120


@pytest.fixture
def arrays(tmp_path):
    """Images, each of another brightness, so that each has its own answer."""
    folder = tmp_path / "arrays"
    folder.mkdir()
    for i in range(IMAGES):
        np.save(folder / f"{i:03}.npy", np.full((3, 8, 8), i, np.uint8))
    return folder


def start(*arguments, **options):
    code = "import sys; sys.argv[0] = 'clf-score'\nfrom clf_runtime.commands.score import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def is_there(group):
    """Whether a process group has processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def names(rows):
    return sorted(os.path.basename(row["image"]) for row in rows)


def test_two_processes_give_what_one_gives(arrays, tiny_file, tmp_path, rows):
    seen = []
    done = score(arrays, tmp_path / "two", tiny_file, workers=2, files_per_partition=9, watch=seen.append)
    assert (done.done, done.partitions, done.images, done.errors) == (14, 14, IMAGES, 0)
    assert [progress.done for progress in seen] == list(range(15))
    assert not multiprocessing.active_children()
    score(arrays, tmp_path / "one", tiny_file, workers=1, files_per_partition=9, form="jsonl")
    assert rows(tmp_path / "two") == rows(tmp_path / "one")


def test_killed_at_random_no_image_is_lost_and_none_is_there_twice(arrays, tiny_file, tmp_path, rows):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, out = random.Random(seed), tmp_path / "out"
    command = (arrays, "--model", tiny_file, "--out", out, "--format", "jsonl", "--partition", 1, "--workers", 2)
    for kill in range(int(os.environ.get("CLF_EDGE_KILLS", "3"))):
        process = start(*command)
        goal = chance.randrange(IMAGES // 4) + (kill == 0)
        before = len(list(out.glob("part-*")))
        until(lambda: len(list(out.glob("part-*"))) >= before + goal or process.poll() is not None)  # noqa: B023
        process.kill()
        process.communicate()
    process = start(*command)
    printed, said = process.communicate()
    assert process.returncode == 0, said
    assert printed.startswith(f"{out}: {IMAGES} of {IMAGES} partitions; ")
    found = rows(out)
    assert names(found) == [f"{i:03}.npy" for i in range(IMAGES)]
    assert len({row["model_sha256"] for row in found}) == 1


def test_a_killed_worker_is_replaced(arrays, tiny_file, tmp_path, rows):
    killed = []

    def kill(progress):
        if progress.done in (3, 20):
            process = multiprocessing.active_children()[0]
            process.kill()
            killed.append(process.pid)

    done = score(arrays, tmp_path / "out", tiny_file, workers=2, files_per_partition=2, watch=kill)
    assert len(set(killed)) == 2
    assert done.done == done.partitions
    assert names(rows(tmp_path / "out")) == [f"{i:03}.npy" for i in range(IMAGES)]


def test_a_partition_that_kills_its_workers_is_told_of_and_the_others_are_done(arrays, tiny_file, tmp_path, rows):
    np.save(arrays / "large.npy", np.zeros((30_000, 3, 8, 8), np.uint8))
    out, stop = tmp_path / "out", threading.Event()

    def killer():
        """What the system does to a process that takes too much memory."""
        while not stop.is_set():
            for file in out.glob(f".part-{IMAGES:08}.*.partial"):
                with suppress(ProcessLookupError):
                    os.kill(int(file.name.split(".")[3]), signal.SIGKILL)
            time.sleep(0.002)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        with pytest.raises(ScoringError, match=rf"1 partitions are missing \({IMAGES}\): their worker died 3 times"):
            score(arrays, out, tiny_file, workers=2, files_per_partition=1, form="jsonl")
    finally:
        stop.set()
        thread.join()
    assert len(list(out.glob("part-*"))) == IMAGES
    assert score(arrays, out, tiny_file, files_per_partition=1, form="jsonl").images == 30_000


def test_workers_that_die_while_they_load_the_model_end_it(arrays, tiny_file, tmp_path):
    stop = threading.Event()

    def killer():
        while not stop.is_set():
            for process in multiprocessing.active_children():
                process.kill()
            time.sleep(0.002)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        with pytest.raises(ScoringError, match="end while they load the model"):
            score(arrays, tmp_path / "out", tiny_file, workers=1)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    ("number", "code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_all_in_one_line(arrays, tiny_file, tmp_path, number, code, said):
    out = tmp_path / "out"
    process = start(arrays, "--model", tiny_file, "--out", out, "--partition", 1, start_new_session=True)
    until(lambda: any(out.glob("part-*")))
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    printed, err = process.communicate()
    assert (process.returncode, printed, err) == (code, "", f"clf-score: {said}\n")
    assert 0 < len(list(out.glob("part-*"))) < IMAGES
    until(lambda: not is_there(process.pid))  # no worker is left


def test_two_at_once_in_one_folder(arrays, tiny_file, tmp_path):
    with locked(str(tmp_path / "out")), pytest.raises(ScoringError, match="another clf-score is writing"):
        score(arrays, tmp_path / "out", tiny_file)


def test_a_full_disk_is_one_line_and_nothing_half(arrays, tiny_file, tmp_path):
    resource = pytest.importorskip("resource")
    np.save(arrays / "000.npy", np.zeros((2000, 3, 8, 8), np.uint8))
    out = tmp_path / "out"
    limit = (40_000, 40_000)
    process = start(
        *(arrays, "--model", tiny_file, "--out", out, "--format", "jsonl", "--workers", 1),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert process.communicate() == ("", f"clf-score: {out}/part-00000000.jsonl: File too large\n")
    assert process.returncode == 2
    assert not list(out.glob("*part-*"))


def test_a_model_that_was_replaced_in_the_folder_is_refused(arrays, tiny_file, tiny_model, tmp_path):
    out = tmp_path / "out"
    score(arrays, out, tiny_file, workers=1)
    next(out.glob("part-*")).unlink()
    (out / "_model.onnx").write_bytes(tiny_model(size=(4, 4)))
    with pytest.raises(ModelError, match="SHA-256"):
        score(arrays, out, tiny_file, workers=1)


def test_the_command_says_what_it_did(photos, tiny_file, tmp_path):
    process = start(photos, "--model", tiny_file, "--out", tmp_path / "out", "--json", "--workers", 1)
    printed, said = process.communicate()
    values = json.loads(printed)
    assert (process.returncode, values["images"], values["errors"], values["partitions"]) == (0, 8, 1, 1)
    assert said == f"clf-score: {photos}: skipped, since their names are not those of images: 1 (readme.md)\n"
