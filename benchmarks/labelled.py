"""Exact denoisers of pictures by class, D(x, sigma, weights): guidance with no network in between.

Weights (B, classes) are the demo model's conditioning: a one names the class of a picture, a row of zeros none.
"""

from collections.abc import Callable, Sequence

import torch
from sklearn.datasets import load_digits

from art_nodes.core.exact import Denoiser
from benchmarks import digits, fashion

Labelled = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def by_class(every: Denoiser, classes: Sequence[Denoiser]) -> Labelled:
    """One denoiser of x (B, F) of those of all pictures and of each class's."""

    def denoise(x, sigma, weights):
        asked = torch.where(weights.any(dim=1), weights.argmax(dim=1), len(classes))
        found = torch.empty_like(x)
        for number in asked.unique().tolist():
            rows = asked == number
            found[rows] = (*classes, every)[number](x[rows], sigma[rows])
        return found

    return denoise


def labelled_digits() -> Labelled:
    """Of scikit-learn's digits under a kernel, x (B, 64), see benchmarks/digits.py."""
    pictures, labels = digits.load(), torch.from_numpy(load_digits().target)
    return by_class(digits.kernel_denoiser(pictures),
                    [digits.kernel_denoiser(pictures[labels == number]) for number in range(10)])


def labelled_garments() -> Labelled:
    """Of Fashion-MNIST as one Gaussian a class, of its mean and covariance and the digits' kernel; x (B, 784)."""
    pictures, labels = fashion.load("train")
    return labelled_gaussians([pictures[labels == number].flatten(1).double() for number in range(10)])


def labelled_gaussians(samples: Sequence[torch.Tensor], std: float = digits.KERNEL_STD) -> Labelled:
    """Of classes as often as each other: a Gaussian with the moments of each's `samples` (N, F), and noise of `std`."""
    means = torch.stack([each.mean(dim=0) for each in samples])
    eigen = [torch.linalg.eigh(torch.cov(each.T, correction=0)) for each in samples]
    variances = torch.stack([values.clamp(min=0) + std**2 for values, _ in eigen])
    bases = torch.stack([basis for _, basis in eigen])

    def posteriors(x, sigma, numbers):
        """Of each of some classes the log of its weight (B,) and its denoiser's answer (B, F)."""
        for k in numbers:
            mean, variance, basis = means[k].to(x), variances[k].to(x), bases[k].to(x)
            total = variance + sigma.to(x).reshape(-1, 1) ** 2
            along = (x - mean) @ basis
            yield (-0.5 * (total.log() + along.square() / total).sum(dim=1),
                   mean + (along * variance / total) @ basis.T)

    def every(x, sigma):
        logs, answers = zip(*posteriors(x.double(), sigma, range(len(means))), strict=True)
        share = torch.stack(logs).softmax(dim=0)
        return (share[..., None] * torch.stack(answers)).sum(dim=0).to(x)

    def one(k):
        return lambda x, sigma: next(posteriors(x.double(), sigma, [k]))[1].to(x)

    return by_class(every, [one(k) for k in range(len(means))])
