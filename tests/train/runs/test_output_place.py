"""Nothing is written among the images that are read."""

import pytest

from clf_train.errors import RunError
from clf_train.runs.output_place import refuse_among_images


@pytest.fixture
def pictures(write_pictures, tmp_path):
    """Class-named folders, one of them a link to elsewhere, and a link to them all."""
    write_pictures(tmp_path / "data", "train/red/1.png", "train/blue/1.png")
    write_pictures(tmp_path / "elsewhere", "1.png")
    (tmp_path / "data" / "train" / "green").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    return tmp_path


@pytest.mark.parametrize(
    "place",
    [
        "data/run",
        "data",
        "link/run",
        "link",
        "data/train/red/run",
        "elsewhere/run",
        "data/train/green/x.png",
        "data/../data/x.onnx",
        "data/artifacts",
        "data/artifacts/x.png",
        "data/train/artifacts/run",
        "data/train/red/x-samples.png",
    ],
)
def test_a_place_among_the_images_is_refused(pictures, monkeypatch, place):
    monkeypatch.chdir(pictures)
    for source in ("data", "link", str(pictures / "data")):
        with pytest.raises(RunError, match=r"choose an --out outside of it") as error:
            refuse_among_images(pictures / place, source)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "place", ["run", "dat", "data-run", "data/artifacts/run", "data/artifacts/run.onnx", "data/a-samples.png"]
)
def test_a_place_beside_the_images_or_of_a_name_that_sources_know_is_not(pictures, place):
    refuse_among_images(pictures / place, str(pictures / "data"))


def test_a_run_that_holds_the_images_is_not_replaced(pictures):
    with pytest.raises(RunError, match="contains the images"):
        refuse_among_images(pictures, str(pictures / "data"))


def test_words_have_no_folder_and_a_file_has_neighbours(pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    (pictures / "digits").mkdir()
    refuse_among_images(pictures / "digits" / "run", "digits")
    with pytest.raises(RunError):
        refuse_among_images(pictures / "digits" / "run", "./digits")
    (pictures / "x.npz").touch()
    refuse_among_images(pictures / "run", "x.npz")
    with pytest.raises(RunError):
        refuse_among_images(pictures / "x.npz", "x.npz")
