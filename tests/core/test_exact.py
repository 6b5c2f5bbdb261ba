"""The ground truth itself: closed-form denoisers against numerical posteriors."""

import numpy as np
import pytest
import torch

from art_nodes.core.exact import gaussian, image_gaussian, mixture, power_spectrum


def posterior_mean(log_density, x: float, sigma: float) -> float:
    """E[x0 | x] by quadrature over a fine grid."""
    x0 = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    weight = (log_density(x0) - 0.5 * (x - x0) ** 2 / sigma**2).softmax(0)
    return float((weight * x0).sum())


def test_gaussian_is_the_posterior_mean():
    for x, sigma in [(0.7, 0.3), (-2.0, 1.5), (5.0, 3.0)]:
        expected = posterior_mean(lambda z: -0.5 * z**2 / 0.25, x, sigma)
        got = gaussian(0.25)(torch.tensor([[x]]), torch.tensor([sigma]))
        assert abs(float(got) - expected) < 1e-5


def test_mixture_is_the_posterior_mean():
    means, stds, weights = torch.tensor([-2.0, 1.0]).double(), torch.tensor([0.3, 0.6]).double(), [0.3, 0.7]

    def log_density(z):
        parts = [torch.log(torch.tensor(w)) - torch.log(s) - 0.5 * (z - m) ** 2 / s**2
                 for m, s, w in zip(means, stds, weights, strict=True)]
        return torch.logsumexp(torch.stack(parts), 0)

    for x, sigma in [(0.1, 0.5), (-1.0, 1.0), (3.0, 2.0)]:
        got = mixture(means, stds, weights)(torch.tensor([[x]]), torch.tensor([sigma]))
        assert abs(float(got) - posterior_mean(log_density, x, sigma)) < 1e-5


@pytest.mark.parametrize("size", [15, 16])
def test_the_mean_pixel_variance_is_1_at_any_size(size):
    """Over all frequencies, of which half are kept."""
    every = power_spectrum(size)[:, np.abs(np.fft.fftfreq(size) * size).astype(int)]
    assert float(every.mean()) == pytest.approx(1, rel=1e-6)


def test_image_gaussian_has_unit_pixels_and_shrinks_each_frequency():
    power = power_spectrum(16)
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft2(torch.randn(4000, 1, 16, 16, generator=generator)) * power.sqrt()
    images = torch.fft.irfft2(spectrum, s=(16, 16))
    assert abs(float(images.square().mean()) - 1) < 0.02
    wave = torch.cos(2 * torch.pi * 3 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    gain = power[0, 3] / (power[0, 3] + 0.25)
    assert torch.allclose(image_gaussian(16)(wave, torch.tensor([0.5])), gain * wave, atol=1e-5)
