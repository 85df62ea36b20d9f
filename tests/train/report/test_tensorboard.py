import builtins

import pytest

from clf_runtime import MissingExtraError
from clf_train.loop.checkpoint import Epoch
from clf_train.report.tensorboard import check_installed, scalars


def test_the_figures_of_each_epoch_are_written(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with scalars(tmp_path) as log:
        for epoch in (1, 2, 3):
            log(Epoch(epoch, 1 / epoch, 0.5, 0.1, 2.0, 100.0, 0.75, None))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    written = {"loss", "accuracy", "learning_rate", "seconds", "images_per_second", "validation_loss"}
    assert set(events.Tags()["scalars"]) == written
    assert [(e.step, round(e.value, 4)) for e in events.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 0.3333)]


def test_without_a_folder_nothing_is_loaded_or_written(tmp_path, monkeypatch):
    monkeypatch.setattr(builtins, "__import__", lambda *_: pytest.fail("something is imported"))
    with scalars(None) as log:
        log(Epoch(1, 1.0, 0.5, 0.1, 2.0, 100.0))


def test_a_missing_package_is_answered_with_the_install_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"clf-edge\[tensorboard\]"):
        check_installed()
