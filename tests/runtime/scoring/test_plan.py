import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clf_runtime import ImageError
from clf_runtime.scoring import plan
from clf_runtime.scoring.source import Skipped, files_of
from clf_runtime.scoring.storage import File, place_of

NAMES = st.sampled_from(["a.png", "b.tar", "c.parquet", "d.npz"])
SIZES = st.integers(0, 3 * plan.SPLIT_BYTES)


@given(st.lists(st.builds(File, NAMES, SIZES, st.just(0)), max_size=30), st.integers(1, 8))
def test_every_file_is_in_one_partition_and_every_split_of_a_large_one(files, most):
    partitions = list(plan.divide(iter(files), most))
    seen = [file for each in partitions if each.split == 0 for file in each.files]
    assert seen == files
    for each in partitions:
        assert 1 <= len(each.files) <= most
        if len(each.files) > 1:
            assert sum(file.size for file in each.files) <= plan.SPLIT_BYTES
        if each.of > 1:
            assert len(each.files) == 1
            assert each.files[0].path in ("b.tar", "c.parquet")
    assert sum(1 / each.of for each in partitions if each.of > 1) == pytest.approx(
        sum(file.size > plan.SPLIT_BYTES and file.path in ("b.tar", "c.parquet") for file in files)
    )


def test_a_plan_is_read_back_partition_by_partition(tmp_path):
    files = [File(f"/ü/\udcff{i}.png", i, 10**18 + i) for i in range(7)]
    path = str(tmp_path / "plan")
    extent = plan.write(plan.divide(iter(files), 3), path)
    assert extent == plan.measure(plan.divide(iter(files), 3))
    assert (extent.partitions, extent.files, extent.bytes) == (3, 7, 21)
    with open(path, "rb") as stream:
        entries = list(plan.entries_of(stream))
    assert [plan.read(path, each) for each in entries[::-1]][::-1] == list(plan.divide(iter(files), 3))


def found(source, leave_out="", skipped=None):
    return [file.path for file in files_of(place_of(source), str(leave_out), skipped or Skipped())]


def test_a_folder_gives_its_images_at_any_depth_in_one_order(photos):
    skipped = Skipped()
    names = ["blue/same.png", "blue/two.npz", "green/bad.png", "green/same.png", "red/deep/A.JPG"]
    names += ["red/deep/ü [1]*.png", "red/same.png"]
    assert found(photos, skipped=skipped) == [str(photos / name) for name in names]
    assert skipped.note() == "skipped, since their names are not those of images: 1 (readme.md)"


def test_results_inside_the_source_are_no_images(photos):
    (photos / "out").mkdir()
    (photos / "out" / "part-00000000.parquet").write_bytes(b"")
    assert len(found(photos)) == 8
    assert str(photos / "out" / "part-00000000.parquet") not in found(photos, photos / "out")
    assert len(found(photos, photos / "out")) == 7


def test_links_to_folders_are_not_followed_those_to_files_are(photos, tmp_path):
    (photos / "loop").symlink_to(photos)
    (photos / "link.png").symlink_to(photos / "red" / "same.png")
    assert sum("link.png" in path for path in found(photos)) == 1
    assert not any("loop" in path for path in found(photos))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "photos/red/same.png\n\n/nowhere/x.png\r\n"),
        ("list.csv", "id,filename,label\n1,photos/red/same.png,red\n2,/nowhere/x.png,\n"),
        ("list.tsv", "path\tlabel\nphotos/red/same.png\ta\n/nowhere/x.png\tb\n"),
    ],
)
def test_a_list_names_files_beside_it_or_anywhere(photos, name, text):
    file = photos.parent / name
    file.write_text(text)
    there, lost = files_of(str(file), "", Skipped())
    assert there.path == str(photos / "red" / "same.png")
    assert there.size == (photos / "red" / "same.png").stat().st_size
    assert lost == File("/nowhere/x.png", 0, 0)


def test_sources_that_are_none(tmp_path):
    (tmp_path / "a.csv").write_text("label,number\ncat,3\n")
    (tmp_path / "b.txt").write_bytes(b"a.png\n\xff\xfe\n")
    (tmp_path / "c.bin").write_bytes(b"")
    np.save(tmp_path / "d.npy", np.zeros(3))
    for name, said in {
        "a.csv": "no column of paths, such as path or filename",
        "b.txt": "line 2: not text in UTF-8",
        "c.bin": "its name does not end in .txt, .lst, .csv",
        "none": "no such file or folder",
    }.items():
        with pytest.raises(ImageError, match=said):
            found(tmp_path / name)
    with pytest.raises(ImageError, match="not a file system that can be reached"):
        found("nonsense://bucket/x")
