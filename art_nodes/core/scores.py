"""Statistics of end errors: many samplings from the same noises, summed up and compared in pairs."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000
FEW = 64  # of fewer noises a bootstrap's quantiles lie too close: docs/measured.md, "What an interval is worth"
STUDENT = {2: 12.706, 3: 4.303}  # quantiles for so few noises that resamples of them tell no error
WIDEST = np.log(1000.0)  # of half an interval, in the logarithm: nothing is known there
LEAST_ERROR = 1e-3  # of the standard error of all, which one of a resample must have to count


def total(errors: np.ndarray, axis: int | None = None):
    """Root mean square of samplings' own RMS errors, (N,), or along an axis; NaN where one of them is."""
    return np.sqrt(np.mean(np.square(errors, dtype=np.float64), axis=axis))


def ratio_interval(ours: np.ndarray, theirs: np.ndarray, of: Callable = total) -> tuple[float, float]:
    """95 % interval of of(ours) / of(theirs); both (N,), entry by entry from the same noise.

    of: total, or np.median, which a few pictures that turn into another subject do not move.
    A paired bootstrap over noises: in a total such pictures carry much of the error, and chance decides how many of
    them there are. Its quantiles; of a total over few noises the studentized interval too, if that is wider (Efron and
    Tibshirani, An Introduction to the Bootstrap, 12.5, symmetric in the logarithm). Where rare pictures carry most of
    the total even that is too narrow. The same input gives the same interval. Raises ValueError for other shapes, NaN,
    infinity, or a 0 among `theirs`.
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
    if of is total and 1 < len(ours) < FEW and ours.any():
        ratio, width = _studentized(ours**2, theirs**2, drawn)
        low, high = min(low, ratio / width), max(high, ratio * width)
    return float(low), float(high)


def _studentized(ours: np.ndarray, theirs: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """Root of the ratio of the sums of two lists (N,), and the factor >= 1 to either side that its interval goes.

    drawn: (resamples, N) indices. Standard errors are of the logarithm, by the delta method.
    """
    def estimate(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a_mean, b_mean = a.mean(axis=-1, keepdims=True), b.mean(axis=-1, keepdims=True)
        log_ratio = 0.5 * np.log(a_mean / b_mean)[..., 0]
        return log_ratio, 0.5 * (a / a_mean - b / b_mean).std(axis=-1, ddof=1) / a.shape[-1] ** 0.5

    center, error = estimate(ours, theirs)
    kept = drawn[ours[drawn].any(axis=1)]
    centers, errors = estimate(ours[kept], theirs[kept])
    told = errors > LEAST_ERROR * error  # a resample of one noise only has no error
    far = np.quantile(np.abs(centers - center)[told] / errors[told], 0.95) if told.any() else 0.0
    far = max(far, STUDENT.get(len(ours), 0.0))
    return float(np.exp(center)), float(np.exp(min(far * error, WIDEST)))
