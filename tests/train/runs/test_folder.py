"""The run folder's place: it appears whole or not at all, and takes the place of nothing that is not its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from clf_train.errors import RunError
from clf_train.runs.folder import free_name, new_folder, refuse_early


@pytest.fixture
def finished(tmp_path):
    """A folder with what shows that a run in it is finished."""
    folder = tmp_path / "runs" / "finished"
    folder.mkdir(parents=True)
    (folder / "run.json").touch()
    return folder


def interrupted(folder, name):
    """Leave a partial folder that holds a file."""
    work = new_folder(folder)
    file = work.__enter__() / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert not work.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)


def test_it_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "run"
    with new_folder(folder) as partial:
        (partial / "x").write_text("1")
        assert partial == tmp_path / "run.partial"
        assert not folder.exists()
    assert [p.name for p in folder.iterdir()] == ["x"]
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_nothing_is_left_when_the_work_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "run"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_nor_are_the_folders_above_it(tmp_path):
    with pytest.raises(ValueError, match="broken"), new_folder(tmp_path / "runs" / "a" / "run"):
        raise ValueError("broken")
    assert not (tmp_path / "runs").exists()


def test_an_existing_run_is_kept_unless_asked(finished):
    with pytest.raises(RunError, match="--overwrite"), new_folder(finished):
        pass
    assert (finished / "run.json").exists()
    with new_folder(finished, overwrite=True) as partial:
        (partial / "new").write_text("")
    assert [p.name for p in finished.iterdir()] == ["new"]
    assert [p for p in finished.parent.iterdir() if p.suffix in (".old", ".partial")] == []


def test_the_old_run_is_kept_when_overwriting_fails(finished):
    with pytest.raises(RuntimeError), new_folder(finished, overwrite=True):
        raise RuntimeError
    assert (finished / "run.json").exists()


def test_a_folder_that_is_no_run_is_never_overwritten(tmp_path):
    (tmp_path / "home" / "photos").mkdir(parents=True)
    with pytest.raises(RunError, match="not a run folder"), new_folder(tmp_path / "home", overwrite=True):
        pass
    assert (tmp_path / "home" / "photos").exists()


def test_a_folder_that_holds_runs_and_other_things_is_never_overwritten(tmp_path):
    (tmp_path / "home" / "run1").mkdir(parents=True)
    (tmp_path / "home" / "run1" / "run.json").touch()
    for extra in ("thesis.txt", "comparison.html"):
        (tmp_path / "home" / extra).touch()
        with pytest.raises(RunError, match="not a run folder"), new_folder(tmp_path / "home", overwrite=True):
            pass
    (tmp_path / "home" / "thesis.txt").rename(tmp_path / "home" / "run1.onnx")
    with new_folder(tmp_path / "home", overwrite=True):
        pass
    assert list((tmp_path / "home").iterdir()) == []


def test_a_second_training_is_refused_while_the_first_works(tmp_path):
    with new_folder(tmp_path / "run") as partial:
        (partial / "x").write_text("1")
        with pytest.raises(RunError, match="another training is using it"), new_folder(tmp_path / "run"):
            pass
        assert (partial / "x").exists()


def test_what_a_killed_training_left_is_cleared(tmp_path):
    code = (
        "import os; from pathlib import Path; from clf_train.runs.folder import new_folder\n"
        "with new_folder(Path('run')) as p: (p / 'x').mkdir(); os._exit(9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert killed.returncode == 9
    assert (tmp_path / "run.partial" / "x").is_dir()
    with new_folder(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_state_is_kept_when_the_work_fails_and_not_lost_to_the_next_one(tmp_path):
    interrupted(tmp_path / "run", "state.pt")
    (tmp_path / "run.partial" / ".state.pt.7.partial").touch()  # a kill while it was written
    assert (tmp_path / "run.partial" / "state.pt").exists()
    with pytest.raises(RunError, match=r"pass --overwrite, since its plan\.json cannot be read"):
        new_folder(tmp_path / "run").__enter__()
    with new_folder(tmp_path / "run", resume=True) as again:
        assert (again / "state.pt").exists()
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["state.pt"]


def test_overwrite_gives_a_stopped_training_up(tmp_path):
    interrupted(tmp_path / "run", "conv/run.json")
    with new_folder(tmp_path / "run", overwrite=True) as again:
        assert not (again / "conv").exists()


def test_there_must_be_something_to_go_on_with(tmp_path, finished):
    with pytest.raises(RunError, match="no training was stopped there"):
        new_folder(tmp_path / "nowhere", resume=True).__enter__()
    with pytest.raises(RunError, match="is finished"):
        new_folder(finished, resume=True).__enter__()


def test_a_partial_folder_that_no_training_made_is_never_cleared(tmp_path):
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "precious").touch()
    with pytest.raises(RunError, match="not of a training"), new_folder(tmp_path / "run"):
        pass
    assert (tmp_path / "run.partial" / "precious").exists()


def test_nobody_else_s_folder_is_touched(tmp_path):
    (tmp_path / "run.old").mkdir()
    for overwrite in (False, True):
        with new_folder(tmp_path / "run", overwrite=overwrite) as partial:
            (partial / "run.json").touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run.old"]


def test_a_folder_that_appears_meanwhile_is_kept_and_so_is_the_run(tmp_path):
    work = new_folder(tmp_path / "run")
    partial = work.__enter__()
    (partial / "x").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    with pytest.raises(RunError, match=r"the finished run is in .*run\.partial"):
        work.__exit__(None, None, None)
    assert (tmp_path / "run" / "precious").exists()
    assert (tmp_path / "run.partial" / "x").exists()


def test_the_folder_one_stands_in_can_be_replaced(finished, monkeypatch):
    monkeypatch.chdir(finished)
    with new_folder(Path(), overwrite=True) as partial:
        (partial / "new").touch()
    assert [p.name for p in finished.iterdir()] == ["new"]


def test_a_free_name_is_one_that_nothing_has(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a-2.partial").mkdir()
    assert free_name(tmp_path, "a").name == "a-3"
    assert free_name(tmp_path, "b").name == "b"


@pytest.mark.parametrize("name", ["x.partial", "a\nb", "n" * 248])
def test_a_name_that_no_training_s_folder_can_have_is_refused_at_once(tmp_path, name):
    with pytest.raises(RunError, match="choose a"):
        refuse_early(tmp_path / name, False)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_is_not_too_long_in_the_end(tmp_path):
    with new_folder(tmp_path / ("n" * 247)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 247]
