"""Sources and results behind a URI: here a bucket that is a folder of this machine."""

import tarfile

import pytest
from pyarrow import fs

from clf_runtime import ImageError, ScoringError, score
from clf_runtime.scoring import images, remote
from clf_runtime.scoring.storage import place_of

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_system", lambda scheme, host: (fs.LocalFileSystem(), str(tmp_path)))
    return "s3://bucket"


def test_pictures_arrays_and_shards_of_a_bucket(bucket, photos, tiny_file, tmp_path, rows):
    with tarfile.open(photos / "z.tar", "w") as archive:
        archive.add(photos / "red" / "same.png", "a/b.png")
    (photos / "z.npz").write_bytes(b"PK no array")
    done = score(f"{bucket}/photos/", f"{bucket}/out", tiny_file, files_per_partition=4)
    assert (done.done, done.images, done.errors) == (3, 10, 2)
    found = rows(tmp_path / "out")
    score(photos, tmp_path / "local", tiny_file, files_per_partition=4)
    local = rows(tmp_path / "local")
    assert [str(row).replace(f"{bucket}/photos", str(photos)) for row in found] == [str(row) for row in local]
    assert found[-2]["image"] == f"{bucket}/photos/z.npz"
    assert found[-1]["image"] == f"{bucket}/photos/z.tar/a/b.png"
    assert not list((tmp_path / "out").glob(".*"))
    assert score(f"{bucket}/photos", f"{bucket}/out", tiny_file, files_per_partition=4).images == 0
    with pytest.raises(ScoringError, match="begun with top"):
        score(f"{bucket}/photos", f"{bucket}/out", tiny_file, files_per_partition=4, top=3)


def test_a_list_in_a_bucket_names_keys_and_uris(bucket, photos, tiny_file, tmp_path, rows):
    (tmp_path / "list.txt").write_text("photos/red/same.png\ns3://bucket/photos/blue/same.png\nphotos/none.png\n")
    score(f"{bucket}/list.txt", tmp_path / "out", tiny_file)
    assert [(row["name"], row["error"]) for row in rows(tmp_path / "out")] == [
        ("red", None),
        ("blue", None),
        (None, f"{bucket}/photos/none.png: cannot be read: No such file or directory"),
    ]


def test_a_network_that_fails_is_no_row(bucket, photos, tiny_file, tmp_path, monkeypatch):
    def fail(path, most):
        raise OSError("When reading: curlCode: 7, Could not connect to server")

    monkeypatch.setattr(images, "read_file", fail)
    with pytest.raises(OSError, match="Could not connect"):
        score(f"{bucket}/photos", f"{bucket}/out", tiny_file)
    assert not list((tmp_path / "out").glob("part-*"))


def test_the_options_of_an_s3_that_is_not_amazons(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/")
    assert remote._options() == "?scheme=http&endpoint_override=127.0.0.1%3A9000"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    system, root = remote._system("s3", "bucket")
    assert (system.type_name, system.region, root) == ("s3", "eu-west-1", "bucket")


def test_places(tmp_path):
    assert place_of("file:///a/b/") == "/a/b"
    assert place_of("s3://bucket/a/") == "s3://bucket/a"
    for none in ("", "s3://", "s3:///"):
        with pytest.raises(ImageError):
            place_of(none)
    assert place_of("a").startswith("/")
