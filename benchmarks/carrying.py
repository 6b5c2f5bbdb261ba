"""What it takes to carry what a model was recorded to do to another: dress, range, size of the picture, smoothness."""

import dataclasses

import numpy as np

from art_nodes.core import OrbitBank
from art_nodes.core.arrival import added_noise
from art_nodes.core.exact import Denoiser

SLOPE = 2.0  # of a photograph's power spectrum, power ~ frequency^-2
SMOOTH = 0.25  # e-folds of sigma, the width of the smoothing; a Gaussian's stiffness stays as it is within 1 %
LEAST_CHANGE = 1e-4  # of the predictions in an e-fold of sigma, of the largest: stiffness is never 0
TRAINED_UP_TO = 80.0  # the photo model's largest sigma; above it pictures are all noise
KNOWN_UP_TO = 40.0  # what is recorded up to here the smoothing does not mix with what lies above
ALIKE = 1.2  # pictures whose short sides differ by less are taken to be of one size


def rescaled(denoiser: Denoiser, spread: float) -> Denoiser:
    """D of the same data times `spread`; above the trained range the noise counts as all there is."""
    def denoise(x, sigma):
        inside = (sigma / spread).clamp(max=TRAINED_UP_TO)
        shrink = inside * spread / sigma  # 1 within the range
        return spread * denoiser(x / spread * shrink.reshape(-1, *[1] * (x.ndim - 1)), inside)

    return denoise


def as_flow(denoiser: Denoiser) -> Denoiser:
    """D(x, share) of a rectified flow over the same data: x = (1 - share) x0 + share * noise, share in (0, 1]."""
    def denoise(x, share):
        # At a share of 1 nothing is left of the picture; a little below there is as little to see.
        share = share.clamp(max=TRAINED_UP_TO / (1 + TRAINED_UP_TO))
        column = share.reshape(-1, *[1] * (x.ndim - 1))
        return denoiser(x / (1 - column), share / (1 - share))

    return denoise


def field_variances(size: tuple[int, int], slope: float = SLOPE) -> tuple[np.ndarray, np.ndarray]:
    """Variances (M,) of the modes of a Gaussian field with an image's spectrum, and the share of modes with each.

    Power ~ (1 + f^2)^(-slope/2), f in cycles along the short side, as in core/exact.py; unit variance in all.
    """
    cycles = [np.fft.fftfreq(side) * min(size) for side in size]
    power = (1 + cycles[0][:, None] ** 2 + cycles[1] ** 2) ** (-slope / 2)
    variances, count = np.unique((power / power.mean()).round(9), return_counts=True)
    return variances, count / count.sum()


def field_stiffness(sigmas: np.ndarray, size: tuple[int, int], slope: float = SLOPE) -> np.ndarray:
    """RMS of dD/dsigma along the orbits of that field; (N,).

    A mode of variance v: D = v x/(v + s^2) with x = sqrt(v + s^2) z, so |dD/ds| = v s/(v + s^2)^1.5.
    """
    variances, share = field_variances(size, slope)
    s = np.asarray(sigmas, float)[:, None]
    return np.sqrt((variances**2 * s**2 / (variances + s**2) ** 3) @ share)


def size_factor(sigmas: np.ndarray, size: tuple[int, int], before: tuple[int, int], slope: float = SLOPE) -> np.ndarray:
    """By how much a picture of `size` is stiffer than one of the size `before`; (N,). Sigmas in units of the data."""
    return field_stiffness(sigmas, size, slope) / np.maximum(field_stiffness(sigmas, before, slope), 1e-300)


def smoothed(bank: OrbitBank, width: float = SMOOTH) -> OrbitBank:
    """The bank with predictions smoothed over ln of the noise added, by local parabolas under a Gaussian window."""
    u = np.log(added_noise(bank.sigmas, bank.share))
    keep = np.eye(len(u) + 1)  # the state at sigma_max stays
    for i, here in enumerate(u):
        window = np.exp(-0.5 * ((u - here) / width) ** 2)
        powers = np.vander(u - here, 3, increasing=True)
        keep[i + 1, 1:] = np.linalg.lstsq(powers.T @ (powers * window[:, None]), (powers * window[:, None]).T)[0][0]
    gram = keep @ bank.gram @ keep.T
    change = np.diff(np.eye(len(u) + 1), axis=0)[1:]
    length = np.sqrt(np.maximum(np.einsum("in,bnm,im->bi", change, gram, change), 0.0))
    folds = np.log(bank.sigmas[:-1] / bank.sigmas[1:])
    length = np.maximum(length, LEAST_CHANGE * (length / folds).max(axis=1, keepdims=True) * folds)
    stiffness = length / (bank.sigmas[:-1] - bank.sigmas[1:]) / (0.5 * (bank.sigmas[:-1] + bank.sigmas[1:]))
    return dataclasses.replace(bank, gram=gram, detail=None, stiffness=np.append(stiffness, stiffness[:, -1:], axis=1))


def stiffened(bank: OrbitBank, factor: np.ndarray) -> OrbitBank:
    """The bank with every change of the predictions times `factor` (N,), that of the cell below each node."""
    count = len(bank.sigmas)
    back = np.eye(count + 1)  # rows: x at sigma_max, then D at the nodes, from the last one up
    for i in range(count - 1, 0, -1):
        change = np.zeros(count + 1)
        change[[i, i + 1]] = 1.0, -1.0
        back[i] = back[i + 1] + factor[i - 1] * change
    return dataclasses.replace(bank, stiffness=bank.stiffness * factor, gram=back @ bank.gram @ back.T, detail=None)


def with_tail(bank: OrbitBank, noise: np.ndarray, trained: float = KNOWN_UP_TO) -> OrbitBank:
    """The bank with |Q| carried on where `noise` (N,), that of each cell in units of the data, is above the trained.

    Far above the spread of the data D - mean is ever less of a picture: |dD/dnoise| falls like noise^-2.
    """
    middle = 0.5 * (bank.edges[:-1] + bank.edges[1:])
    per_change = middle / (1 + noise) ** 2 if bank.share else middle
    rate = bank.stiffness * per_change  # |dD/dnoise|
    first = int(np.argmax(noise <= trained))
    rate[:, :first] = np.maximum(rate[:, :first], rate[:, first:first + 1] * (noise[first] / noise[:first]) ** 2)
    return dataclasses.replace(bank, stiffness=rate / per_change)


def prepared(bank: OrbitBank, size: tuple[int, int], before: tuple[int, int], spread: float = 1.0) -> OrbitBank:
    """A recording of pictures of the size `before` as it stands for another model's of `size`.

    spread: of the data of either, in the units of the bank's sigmas.
    """
    noise = added_noise(0.5 * (bank.edges[:-1] + bank.edges[1:]), bank.share) / spread
    bank = with_tail(smoothed(bank), noise)
    if 1 / ALIKE < min(size) / min(before) < ALIKE:
        return bank
    return stiffened(bank, size_factor(noise, size, before))
