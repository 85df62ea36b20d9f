from dataclasses import replace

import numpy as np
import pytest
import torch

from clf_train.data.dataset import Split
from clf_train.data.normalisation import Normalisation
from clf_train.data.preparation import class_weights
from clf_train.errors import RecipeError, TrainError
from clf_train.evaluation.inference import class_scores, probabilities
from clf_train.loop import validation
from clf_train.loop.fit import Watcher, fit
from clf_train.loop.optimizers import make_optimizer
from clf_train.loop.validation import validate
from clf_train.models.freezing import freeze_first_layer
from clf_train.models.recipe import Recipe
from clf_train.models.registry import build_model, find_recipe

CPU = torch.device("cpu")
AS_IS = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
PLAIN = Recipe("plain", 2, 8, 0.05, momentum=0.9)
FREEZING = {"freeze_after": freeze_first_layer}


@pytest.fixture(autouse=True)
def same_weights_every_time():
    torch.manual_seed(0)


def coloured(count=60, size=16, seed=0):
    """Three classes that can be learned: noise with one channel brighter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.random((count, 3, size, size), dtype=np.float32) * 0.6
    images[np.arange(count), labels] += 0.4
    return Split(images, labels)


@pytest.mark.parametrize("model", ["simple", "conv"])
def test_the_recipe_seed_is_the_user_s_loop_to_the_last_bit(model):
    split = coloured(130, 32)
    recipe = replace(find_recipe("seed", model), epochs=2)
    torch.manual_seed(0)
    ours = build_model(model, (3, 32, 32), 3)
    theirs = build_model(model, (3, 32, 32), 3)
    theirs.load_state_dict(ours.state_dict())

    fit(ours, split, recipe, AS_IS, CPU, seed=5)

    x, y = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=recipe.learning_rate)
    theirs.train()
    for _ in range(2):
        for i in range(0, len(x), recipe.batch_size):
            theirs.zero_grad()
            torch.nn.CrossEntropyLoss()(theirs(x[i : i + recipe.batch_size]), y[i : i + recipe.batch_size]).backward()
            optimizer.step()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_it_learns_and_tells_each_epoch():
    net = build_model("conv", (3, 16, 16), 3)
    fitted = fit(net, coloured(), replace(PLAIN, epochs=12), AS_IS, CPU, seed=0)
    history = fitted.history
    assert fitted.best_epoch == 12
    assert history[0].validation_accuracy is None
    assert [e.epoch for e in history] == list(range(1, 13))
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].accuracy > 0.8  # chance is a third
    assert all(e.seconds > 0 and e.images_per_second > 0 for e in history)
    test = coloured(seed=1)
    assert (class_scores(net, test.images, AS_IS, CPU).argmax(1).numpy() == test.labels).mean() > 0.8


def weights_after(seed, **changes):
    torch.manual_seed(seed)
    net = build_model("conv", (3, 16, 16), 3)
    fit(net, coloured(), replace(PLAIN, flip=True, shift=1, **changes), AS_IS, CPU, seed)
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    assert torch.equal(weights_after(1), weights_after(1))
    assert not torch.equal(weights_after(1), weights_after(2))


def test_every_image_is_told_once_an_epoch():
    told = []
    fit(
        build_model("simple", (3, 16, 16), 3),
        coloured(61),
        PLAIN,
        AS_IS,
        CPU,
        0,
        Watcher(lambda e, n, loss: told.append((e, n))),
    )
    assert [sum(n for e, n in told if e == epoch) for epoch in (1, 2)] == [61, 61]


def test_rows_that_are_held_out_never_train():
    split, held = coloured(90), np.arange(0, 90, 9)
    seen = []
    net = build_model("conv", (3, 16, 16), 3)
    net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]) if module.training else None)
    fit(net, split, replace(PLAIN, epochs=1), AS_IS, CPU, 0, held_out=held)
    trained = torch.cat(seen)
    assert len(trained) == 80
    kept = torch.from_numpy(np.delete(split.images, held, axis=0))
    assert torch.equal(trained.sum((1, 2, 3)).sort().values, kept.sum((1, 2, 3)).sort().values)


def test_the_best_epoch_by_validation_is_kept():
    split, held = coloured(90), np.arange(0, 90, 9)
    torch.manual_seed(0)
    net = build_model("conv", (3, 16, 16), 3)
    fitted = fit(net, split, replace(PLAIN, epochs=8, learning_rate=0.3), AS_IS, CPU, 0, held_out=held)
    best = max(fitted.history, key=lambda e: (e.validation_accuracy, -e.validation_loss))
    assert fitted.best_epoch == best.epoch
    assert validate(net, split, held, AS_IS, CPU) == (best.validation_loss, best.validation_accuracy)


def test_a_validation_of_many_classes_goes_by_blocks(monkeypatch):
    split, held = coloured(90), np.arange(0, 90, 9)
    net = build_model("conv", (3, 16, 16), 3)
    whole = validate(net, split, held, AS_IS, CPU)
    monkeypatch.setattr(validation, "_MOST_SCORES", 4 * 3)
    assert validate(net, split, held, AS_IS, CPU) == pytest.approx(whole)


def test_patience_ends_a_training_that_gets_no_better():
    split, held = coloured(90), np.arange(0, 90, 9)
    recipe = replace(PLAIN, epochs=60, validation_share=0.1, patience=3)
    fitted = fit(build_model("conv", (3, 16, 16), 3), split, recipe, AS_IS, CPU, 0, held_out=held)
    assert len(fitted.history) == fitted.best_epoch + 3 < 60


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_lost_loss_is_one_clear_error(optimizer):
    recipe = replace(PLAIN, learning_rate=100, optimizer=optimizer, epochs=20)
    split = coloured()
    if optimizer == "muon":
        split.images[3] = np.inf
    with pytest.raises(TrainError, match=r"the loss became (nan|inf) in epoch \d+: choose a lower learning rate"):
        fit(build_model("simple", (3, 16, 16), 3), split, recipe, AS_IS, CPU, 0)


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW"), ("muon", "Muon")])
def test_the_optimizer_is_the_recipe_s(name, kind):
    momentum = 0.9 if name in ("sgd", "muon") else 0.0
    recipe = replace(PLAIN, optimizer=name, weight_decay=0.01, momentum=momentum)
    optimizer = make_optimizer(build_model("simple", (3, 16, 16), 3), recipe)
    assert type(optimizer).__name__ == kind
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.05, 0.01)
    assert optimizer.defaults.get("momentum", 0.9) == 0.9


def test_probabilities_are_a_softmax_at_the_temperature_whatever_the_training_mode():
    split = coloured(7)
    net = build_model("conv", (3, 16, 16), 3).train()
    normalise = Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    answers = probabilities(net, split.images, normalise, CPU, temperature=2.0)
    assert net.training
    x = torch.from_numpy(
        (split.images - np.float32([0.1, 0.2, 0.3])[:, None, None]) / np.float32([0.5, 0.6, 0.7])[:, None, None]
    )
    with torch.no_grad():
        expected = torch.softmax(net.eval()(x) / 2, 1).numpy()
    np.testing.assert_allclose(answers, expected, atol=1e-6)


def test_weights_that_are_lost_in_the_last_step_are_a_lost_loss(monkeypatch):
    def spoil(optimizer):
        for group in optimizer.param_groups:
            group["params"][0].data.fill_(float("nan"))

    monkeypatch.setattr(torch.optim.SGD, "step", spoil)
    with pytest.raises(TrainError, match="the loss became nan in epoch 1"):
        fit(build_model("simple", (3, 16, 16), 3), coloured(), replace(PLAIN, epochs=1, batch_size=60), AS_IS, CPU, 0)


def test_bfloat16_learns_too():
    net = build_model("conv", (3, 16, 16), 3)
    fitted = fit(net, coloured(), replace(PLAIN, epochs=12, precision="bf16"), AS_IS, CPU, 0)
    assert fitted.history[-1].loss < 0.6 * fitted.history[0].loss
    assert all(p.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("model", ["conv", "simple"])
def test_the_first_layer_stays_once_its_share_of_the_steps_is_behind(model):
    nets = []
    for epochs, share in ((2, 0.5), (2, 1.0)):
        torch.manual_seed(0)
        net = build_model(model, (3, 16, 16), 3)
        first = next(net.parameters())
        after = []
        recipe = replace(PLAIN, epochs=epochs, freeze_after=share)
        watcher = Watcher(epoch=lambda _, p=first, seen=after: seen.append(p.detach().clone()))
        fit(net, coloured(), recipe, AS_IS, CPU, 0, watcher, tricks=FREEZING)
        assert all(p.requires_grad for p in net.parameters())
        nets.append(after)
    assert torch.equal(nets[0][0], nets[1][0])
    assert torch.equal(nets[0][1], nets[0][0])
    assert not torch.equal(nets[1][1], nets[1][0])


def test_the_batch_statistics_of_a_frozen_layer_stay_too():
    net = build_model("conv", (3, 16, 16), 3)
    seen = []

    def tell(_):
        seen.append([int(norm.num_batches_tracked) for norm in (net.norm1, net.norm2)])

    split = coloured()
    recipe = replace(PLAIN, epochs=4, freeze_after=0.5)
    fit(net, split, recipe, AS_IS, CPU, 0, Watcher(epoch=tell), np.arange(0, len(split), 10), tricks=FREEZING)
    steps = seen[0][0]
    assert seen == [[steps * min(epoch, 2), steps * epoch] for epoch in (1, 2, 3, 4)]
    assert net.norm1.training


def test_a_net_of_one_layer_has_none_to_freeze():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
    with pytest.raises(RecipeError, match="freeze after must be 1 for this model"):
        fit(net, coloured(), replace(PLAIN, freeze_after=0.5), AS_IS, CPU, 0, tricks=FREEZING)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"low_frequencies": 4}, "low frequencies must be 0"), ({"freeze_after": 0.5}, "freeze after must be 1")],
)
def test_a_trick_that_the_model_has_not_is_refused(changes, says):
    net = build_model("simple", (3, 16, 16), 3)
    with pytest.raises(RecipeError, match=f"{says} for this model"):
        fit(net, coloured(), replace(PLAIN, **changes), AS_IS, CPU, 0)


def unequal(seed=0):
    """Two classes that overlap, 90 and 10 images of one grey pixel each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [90, 10])
    images = rng.normal(labels, 1.0).astype(np.float32).reshape(100, 1, 1, 1)
    return Split(images, labels)


def test_balanced_weights_find_the_rare_class():
    recall = {}
    for weights in ("off", "balanced"):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 2))
        recipe = replace(PLAIN, epochs=20, batch_size=20, class_weights=weights)
        grey = Normalisation((0.0,), (1.0,))
        fit(net, unequal(), recipe, grey, CPU, 0)
        test = unequal(seed=1)
        right = class_scores(net, test.images, grey, CPU).argmax(1).numpy() == test.labels
        recall[weights] = right[test.labels == 1].mean()
    assert recall["off"] < 0.4 < recall["balanced"]


def test_balanced_validation_figures_are_the_means_of_the_classes():
    split, grey = unequal(), Normalisation((0.0,), (1.0,))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 2))
    rows = np.arange(0, 100, 3)
    weights = class_weights(split.labels, 2, replace(PLAIN, class_weights="balanced"))
    np.testing.assert_allclose(weights, [100 / 180, 5.0])
    of_rows = class_weights(split.labels[rows], 2, replace(PLAIN, class_weights="balanced"))
    loss, accuracy = validate(net, split, rows, grey, CPU, of_rows)
    each = [validate(net, split, rows[split.labels[rows] == label], grey, CPU) for label in (0, 1)]
    np.testing.assert_allclose((loss, accuracy), np.mean(each, axis=0), rtol=1e-6)
