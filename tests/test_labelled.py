"""Exact denoisers of pictures by class against torch's own densities: D = x + sigma^2 grad log p (Tweedie)."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from benchmarks import digits, labelled

NONE, FIRST, SECOND = [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]
STD = 0.3


def classes() -> list[torch.Tensor]:
    """Samples of two classes of three elements, of unlike means and covariances; in float64."""
    generator = torch.Generator().manual_seed(0)
    return [centre + torch.randn(50, 3, generator=generator, dtype=torch.float64) @ torch.randn(
        3, 3, generator=generator, dtype=torch.float64) for centre in (-1.0, 1.5)]


def density(samples, sigma: float):
    """Of what `labelled_gaussians` stands for under noise: each class's, and their even mixture's."""
    means = torch.stack([each.mean(dim=0) for each in samples])
    covariances = torch.stack([torch.cov(each.T, correction=0) for each in samples])
    covariances = covariances + (STD**2 + sigma**2) * torch.eye(3, dtype=torch.float64)
    each = [MultivariateNormal(mean, covariance) for mean, covariance in zip(means, covariances, strict=True)]
    return *each, MixtureSameFamily(Categorical(torch.ones(2)), MultivariateNormal(means, covariances))


@pytest.mark.parametrize("sigma", [0.05, 1.0, 20.0])
def test_each_row_is_answered_by_the_density_of_its_class(sigma):
    samples = classes()
    x = 3 * torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    asked = [0, 1, 2, 2, 0, 1]
    weights = torch.tensor([(FIRST, SECOND, NONE)[k] for k in asked])
    found = labelled.labelled_gaussians(samples, STD)(x, torch.full((6,), sigma), weights)
    x.requires_grad_()
    laws = density(samples, sigma)
    torch.stack([laws[k].log_prob(row) for k, row in zip(asked, x, strict=True)]).sum().backward()
    torch.testing.assert_close(found, x.detach() + sigma**2 * x.grad, rtol=1e-7, atol=1e-9)


def test_digits_of_a_class_are_its_own_and_of_none_all():
    """With hardly any noise a class draws a picture of another one to its own nearest; none leaves it where it is."""
    denoise, pictures = labelled.labelled_digits(), digits.load()
    labels = torch.from_numpy(labelled.load_digits().target)
    x, weights = pictures[labels == 0][:1].repeat(2, 1), torch.zeros(2, 10)
    weights[0, 7] = 1.0
    other, same = denoise(x, torch.full((2,), 0.01, dtype=torch.float64), weights)
    assert (same - x[0]).abs().max() < 0.01
    sevens = pictures[labels == 7]
    nearest = sevens[(sevens - x[0]).square().sum(dim=1).argmin()]
    kept = digits.KERNEL_STD**2 / (digits.KERNEL_STD**2 + 0.01**2)  # the kernel is wider than the noise
    torch.testing.assert_close(other, torch.lerp(nearest, x[0], kept), atol=1e-6, rtol=0)
