"""Scores of many images are those of each image, and evaluation keeps nothing of a block but its scores."""

import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clf_train.data.normalisation import Normalisation
from clf_train.evaluation import inference as evaluate
from clf_train.evaluation.inference import class_scores

CPU = torch.device("cpu")
SCALED = Normalisation((10.0, 20.0, 30.0), (255.0, 200.0, 100.0))


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 6, 5), nn.Dropout(0.5))


def make_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 6), dtype=np.uint8)


@pytest.mark.parametrize("rows", [None, np.array([19, 3, 4, 3, 0]), np.arange(20)[::-1].copy(), np.array([], int)])
@pytest.mark.parametrize("block", [1, 3, 5, 20, 500])
def test_the_scores_do_not_depend_on_the_blocks(
    monkeypatch: pytest.MonkeyPatch, block: int, rows: np.ndarray | None
) -> None:
    monkeypatch.setattr(evaluate, "_BLOCK", block)
    net, images = make_net(), make_images(20)
    wanted = net.eval()(SCALED(torch.from_numpy(images)))[slice(None) if rows is None else rows]
    net.train()
    scores = class_scores(net, images, SCALED, CPU, rows)
    assert scores.shape == (20 if rows is None else len(rows), 5)
    torch.testing.assert_close(scores, wanted)
    assert net.training


def test_a_net_s_own_train_is_called() -> None:
    """Some nets merge weights for evaluation, and take them apart again."""

    class Merging(nn.Linear):
        merged = False

        def train(self, mode: bool = True) -> "Merging":
            self.merged = not mode
            return super().train(mode)

    net = nn.Sequential(nn.Flatten(), Merging(3 * 8 * 6, 5))
    class_scores(net, make_images(3), SCALED, CPU)
    assert net[1].merged is False


def test_a_part_that_is_frozen_stays_so() -> None:
    net = make_net()
    net[2].eval()
    class_scores(net, make_images(3), SCALED, CPU)
    assert [net.training, net[1].training, net[2].training] == [True, True, False]


def test_no_answer_is_kept_beside_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_BLOCK", 2)
    net = make_net()
    answers: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def note(_: nn.Module, __: Any, answer: Tensor) -> None:
        alive.append(sum(old() is not None for old in answers))
        answers.append(weakref.ref(answer))

    net.register_forward_hook(note)
    class_scores(net, make_images(20), SCALED, CPU)
    assert len(alive) == 10
    assert max(alive) <= 1
