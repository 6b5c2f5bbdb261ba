"""scikit-learn's handwritten digits with an exact denoiser: another data set, and no network in between.

The distribution is a kernel density estimate: an equal mixture of isotropic Gaussians, one at each of the
1,797 images. Its denoiser and its moments are known in closed form.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits

from art_nodes.core.exact import Denoiser
from benchmarks.targets import Target

KERNEL_STD = 0.2  # in units of the pixels' standard deviation


def load() -> torch.Tensor:
    """The images as (1797, 64) float64, standardised over all pixels to mean 0 and variance 1."""
    pixels = torch.from_numpy(load_digits().data)
    return (pixels - pixels.mean()) / pixels.std(correction=0)


def kernel_denoiser(centres: torch.Tensor, std: float = KERNEL_STD) -> Denoiser:
    """Denoiser of the mixture of N(centre, std^2) over `centres` (N, F); takes x (B, F), works in x's dtype.

    Given x, each kernel has a share softmax(-|x - c|^2 / 2v), v = std^2 + sigma^2, and the shrinkage std^2 / v.
    """
    half_square = centres.square().sum(dim=1) / 2

    def denoise(x, sigma):
        points, offset = centres.to(x), half_square.to(x)
        variance = std**2 + sigma.to(x).reshape(-1, 1) ** 2
        # |x|^2 is the same for every kernel: without it the exponents are smaller, and so is their rounding.
        share = ((x @ points.T - offset) / variance).softmax(dim=1)
        return torch.lerp(share @ points, x, std**2 / variance)

    return denoise


def kernel_moments(centres: torch.Tensor, std: float = KERNEL_STD) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F,) and covariance (F, F) of the mixture."""
    covariance = torch.cov(centres.T, correction=0) + std**2 * torch.eye(centres.shape[1], dtype=centres.dtype)
    return centres.mean(dim=0).numpy(), covariance.numpy()


def draw(centres: torch.Tensor, count: int, seed: int, std: float = KERNEL_STD) -> torch.Tensor:
    """Exact samples (count, F) of the mixture: what a perfect sampler would give."""
    generator = torch.Generator().manual_seed(seed)
    chosen = centres[torch.randint(len(centres), (count,), generator=generator)]
    return chosen + std * torch.randn(chosen.shape, generator=generator, dtype=chosen.dtype)


DIGITS = Target("digits, EDM range", 80.0, 0.002, (64, 64), lambda: kernel_denoiser(load()))
