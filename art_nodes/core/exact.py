"""Distributions whose denoiser D(x, sigma) = E[x0 | x0 + sigma z = x] is known in closed form.

They are the ground truth of the tests and of the paper's one-dimensional table.
"""

from collections.abc import Callable

import torch

Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def ask(denoiser: Denoiser, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """D(x, sigma) of a denoiser that may change its input, or answer in one buffer again and again."""
    denoised = denoiser(x.clone(), sigma)
    return denoised.clone() if isinstance(denoised, torch.Tensor) else denoised


def _column(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(B,) noise levels shaped to broadcast against x (B, ...)."""
    return sigma.to(x).reshape(-1, *[1] * (x.ndim - 1))


def gaussian(variance: torch.Tensor | float = 1.0) -> Denoiser:
    """Denoiser of N(0, diag(variance)); `variance` is a number or broadcasts against one sample."""

    def denoise(x, sigma):
        v = torch.as_tensor(variance).to(x)
        return x * v / (v + _column(sigma, x) ** 2)

    return denoise


def mixture(means, stds, weights) -> Denoiser:
    """Denoiser of a one-dimensional Gaussian mixture, applied to each element of x on its own."""
    means, stds, weights = (torch.as_tensor(values, dtype=torch.float64) for values in (means, stds, weights))

    def denoise(x, sigma):
        y, s = x.double()[..., None], _column(sigma, x).double()[..., None]
        variance = stds**2 + s**2
        log_weight = weights.log() - 0.5 * variance.log() - 0.5 * (y - means) ** 2 / variance
        posterior = means + stds**2 / variance * (y - means)
        return (log_weight.softmax(dim=-1) * posterior).sum(dim=-1).to(x)

    return denoise


def power_spectrum(size: int = 64, slope: float = 2.0) -> torch.Tensor:
    """Variances (size, size//2 + 1) of an image-like Gaussian: power ~ 1/frequency^slope, mean pixel variance 1."""
    fy, fx = torch.fft.fftfreq(size)[:, None] * size, torch.fft.rfftfreq(size)[None] * size
    power = (1 + fy**2 + fx**2) ** (-slope / 2)
    weight = torch.full_like(power, 2.0)  # rfft keeps one of each conjugate pair ...
    weight[:, 0] = 1.0
    if size % 2 == 0:
        weight[:, -1] = 1.0  # ... except on the two self-conjugate columns
    return power * size * size / (power * weight).sum()


def image_gaussian(size: int = 64, slope: float = 2.0) -> Denoiser:
    """Denoiser of a stationary Gaussian field over (B, C, size, size) with `power_spectrum` variances."""
    power = power_spectrum(size, slope)

    def denoise(x, sigma):
        gain = power.to(x) / (power.to(x) + _column(sigma, x) ** 2)
        return torch.fft.irfft2(torch.fft.rfft2(x) * gain, s=x.shape[-2:])

    return denoise
