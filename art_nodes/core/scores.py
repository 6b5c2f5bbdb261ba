"""Statistics of end errors: many samplings from the same noises, summed up and compared in pairs."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000


def total(errors: np.ndarray, axis: int | None = None):
    """Root mean square of samplings' own RMS errors, (N,), or along an axis; NaN where one of them is."""
    return np.sqrt(np.mean(np.square(errors, dtype=np.float64), axis=axis))


def ratio_interval(ours: np.ndarray, theirs: np.ndarray, of: Callable = total) -> tuple[float, float]:
    """95 % interval of of(ours) / of(theirs); both (N,), entry by entry from the same noise.

    of: total, or np.median, which a few pictures that turn into another subject do not move.
    A paired bootstrap over noises: in a total such pictures carry much of the error, and chance
    decides how many of them there are. The same input gives the same interval. Raises ValueError
    for other shapes, NaN, infinity, or a 0 among `theirs`.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.ndim != 1 or ours.shape != theirs.shape or not len(ours):
        raise ValueError(f"errors to compare must be two lists from the same noises; got shapes {ours.shape} and "
                         f"{theirs.shape}; sample both from one batch")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all() and (theirs > 0).all()):
        raise ValueError("errors to compare must be finite, and those to divide by above 0; got NaN, infinity or 0; "
                         "leave such a sampling out")
    drawn = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    ratios = of(ours[drawn], axis=1) / of(theirs[drawn], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)
