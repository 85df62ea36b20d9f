import pytest
import torch

from clf_train.damping import damp, principal_axes
from clf_train.errors import RecipeError
from clf_train.models import build_model


def images(count=500):
    """Noise whose variance falls from one pixel to the next."""
    generator = torch.Generator().manual_seed(3)
    scale = 10 * 0.9 ** torch.arange(3 * 4 * 4)
    return (torch.randn(count, 48, generator=generator) * scale).view(count, 3, 4, 4)


def test_principal_axes_are_those_of_the_exact_decomposition():
    x = images().flatten(1)
    variances, axes = principal_axes(x, 5)
    exact = torch.linalg.eigh(x.T @ x / len(x))
    torch.testing.assert_close(variances, exact.eigenvalues.flip(0)[:5], rtol=1e-4, atol=0)
    aligned = (axes.T @ exact.eigenvectors.flip(1)[:, :5]).abs()
    torch.testing.assert_close(aligned, torch.eye(5), atol=1e-2, rtol=0)


def test_the_gradient_is_shortened_along_the_first_axes_and_nowhere_else():
    net = build_model("simple", (3, 4, 4), 3)
    x = images()
    variances, axes = principal_axes(x.flatten(1), 4)

    def gradient():
        net.zero_grad()
        net(x[:20]).square().sum().backward()
        return net.fc1.weight.grad.clone()

    plain = gradient()
    undo = damp(net, x, 4)
    damped = gradient()
    torch.testing.assert_close(damped @ axes, (plain @ axes) * (variances[-1] / variances), rtol=1e-3, atol=1e-3)
    rest = torch.eye(48) - axes @ axes.T
    torch.testing.assert_close(damped @ rest, plain @ rest, rtol=1e-3, atol=1e-2)
    undo()
    torch.testing.assert_close(gradient(), plain, rtol=0, atol=0)


def test_a_first_layer_that_is_not_linear_on_all_pixels_is_refused():
    with pytest.raises(RecipeError, match="damped axes must be 0 for this model"):
        damp(build_model("conv", (3, 16, 16), 3), torch.rand(20, 3, 16, 16), 4)


def test_images_that_are_all_the_same_do_no_harm():
    net = build_model("simple", (3, 4, 4), 3)
    damp(net, torch.zeros(20, 3, 4, 4), 8)
    net(torch.rand(5, 3, 4, 4)).sum().backward()
    assert net.fc1.weight.grad.isfinite().all()
