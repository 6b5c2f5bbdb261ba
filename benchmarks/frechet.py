"""Frechet distance between sets of features, by clean-fid's formula, with a paired bootstrap interval."""

import functools
import warnings

import numpy as np

from benchmarks.comfy.launch import declare_missing_operators

RESAMPLES = 200
Moments = tuple[np.ndarray, np.ndarray]  # mean (F,) and covariance (F, F), float64


@functools.cache
def _frechet_distance():
    """clean-fid's function; it imports torchvision, which on a CPU only loads once its operators are declared."""
    declare_missing_operators()
    from cleanfid.fid import frechet_distance

    return frechet_distance


def moments(features: np.ndarray, counts: np.ndarray | None = None) -> Moments:
    """Mean and covariance of features (N, F); `counts` (N,) says how often each row is taken, default once."""
    rows = np.asarray(features, dtype=np.float64)
    counts = np.ones(len(rows)) if counts is None else np.asarray(counts, dtype=np.float64)
    mean = counts @ rows / counts.sum()
    centred = rows - mean
    return mean, (centred * counts[:, None]).T @ centred / (counts.sum() - 1)


def distance(ours: Moments, theirs: Moments) -> float:
    """Frechet distance of two Gaussians with these moments: FID's formula."""
    with warnings.catch_warnings():
        # Of an argument that SciPy 1.18 drops, hence the pin; and of singular covariances, which features that are
        # always 0 make. With them the square root is still good to 1e-6 (tests/test_mnist_style.py).
        warnings.simplefilter("ignore")
        return float(_frechet_distance()(*ours, *theirs))


def fid(features: np.ndarray, real: Moments) -> float:
    """FID of features (N, F) against the moments of the real ones."""
    return distance(moments(features), real)


def paired_interval(ours: np.ndarray, theirs: np.ndarray, real: Moments,
                    resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of FID(ours) - FID(theirs); both (N, F), row i from the same noise and label.

    Each resample draws the same rows from both, so what they share cancels in the difference.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"paired features must have one shape; got {ours.shape} and {theirs.shape}; "
                         "draw both from the same noise")
    generator = np.random.default_rng(seed)
    share = np.full(len(ours), 1 / len(ours))
    differences = []
    for counts in generator.multinomial(len(ours), share, size=resamples):
        differences.append(distance(moments(ours, counts), real) - distance(moments(theirs, counts), real))
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)
