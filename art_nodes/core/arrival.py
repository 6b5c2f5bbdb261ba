"""What becomes of an error on its way to sigma 0 (docs/theory.md, section 7)."""

import numpy as np

MOST_ADDED = 400.0  # noise added to a picture, in units of the picture, that counts as nothing but noise


class Arrival:
    """How much of an error arrives: less of one made far above the scale of the data, more where pictures part.

    reach: in units of added noise, above which errors are contracted as by a Gaussian of that spread; a number, or one
        for each of F bands, which every F-th of E sigmas belongs to.
    growth, power: the gamma and P of eq. (16). share: whether sigma is the share of noise of a rectified flow, whose x
        is (1 - sigma) times the one with added noise.
    """

    def __init__(self, reach, growth: float = 0.0, power: float = 1.0, share: bool = False):
        self.reach, self.growth, self.power, self.share = np.atleast_1d(np.asarray(reach, float)), growth, power, share

    def gain(self, sigma: np.ndarray) -> np.ndarray:
        """The g of eq. (16): size at 0 of an error of size 1 that is made at `sigma` (E,); (E,)."""
        noise = added_noise(sigma, self.share)
        reach = self._reach(noise)
        found = (1 + noise if self.share else 1) * reach / np.hypot(reach, noise)
        return found * np.sqrt(1 + self.growth * noise**2 / (noise**2 + self.power))

    def follows(self, sigma: np.ndarray) -> np.ndarray:
        """By what share predictions follow an error in x, for it to arrive so: 1 + d ln g/d ln sigma; (E,)."""
        noise = added_noise(sigma, self.share)
        reach, square = self._reach(noise), noise**2
        grows = self.growth * square * self.power / (square + self.power) ** 2
        grows = grows / (1 + self.growth * square / (square + self.power))
        return (1 + noise if self.share else 1) * (reach**2 / (reach**2 + square) + grows)

    def _reach(self, noise: np.ndarray) -> np.ndarray:
        """Of each of E sigmas."""
        return np.tile(self.reach, len(noise) // len(self.reach))


def added_noise(sigmas, share: bool) -> np.ndarray:
    """Noise added to a picture, in units of the picture, at `sigmas`: themselves, or sigma / (1 - sigma) of a share."""
    sigmas = np.asarray(sigmas, float)
    return np.minimum(sigmas / np.maximum(1 - sigmas, 1e-9), MOST_ADDED) if share else sigmas
