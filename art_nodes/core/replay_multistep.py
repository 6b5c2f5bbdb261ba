"""Replays of samplers that remember: a step follows the predictions of the steps before it, too."""

import numpy as np

from .adams import adams_weights
from .replay import Replay

SHORTEST = 1e-6  # e-folds of a step that can be told from none


class Dpmpp2M(Replay):
    """DPM-Solver++(2M): the prediction carried on along the last two, in ln sigma; first order at both ends."""

    order = 2
    memory = 1

    def begin(self) -> None:
        self.before: tuple[np.ndarray, np.ndarray] | None = None  # the last prediction and its sigma

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        before, self.before = self.before, (denoised, self.sigma)
        if before is None:
            return denoised
        old, sigma = before
        last = np.log(sigma / self.sigma)
        step = np.log(self.sigma / np.where(there > 0, there, self.sigma))
        return denoised + self.lead(step, last)[:, None] * (denoised - old)

    @staticmethod
    def lead(step: np.ndarray, last: np.ndarray) -> np.ndarray:
        """By what share of the last change the prediction is carried on; e-folds of this step and the last, (E,)."""
        return 0.5 * step / last


class ResMultistep(Dpmpp2M):
    """RES multistep (arXiv 2308.02157): the prediction a straight line in ln sigma, integrated exactly."""

    @staticmethod
    def lead(step: np.ndarray, last: np.ndarray) -> np.ndarray:
        """The mean of the line under the weight e^t that the exact solution gives it."""
        return np.where(step > 0, -adams_weights([np.maximum(step, SHORTEST), last])[1], 0.0)


class Deis(Replay):
    """DEIS (arXiv 2204.13902), "tab" of third order: the slope a parabola in the time of a VP diffusion."""

    order = 3
    memory = 2

    # The VP diffusion whose time runs from 1e-3 at sigma 0.002 to 1 at sigma 80.
    LOW, HIGH, FIRST = np.log1p(0.002**2), np.log1p(80.0**2), 1e-3
    BETA_D = 2 * (LOW / FIRST - HIGH) / (FIRST - 1)
    BETA_MIN = HIGH - 0.5 * BETA_D
    POINTS, WEIGHTS = np.polynomial.legendre.leggauss(16)

    def begin(self) -> None:
        self.slopes: list[np.ndarray] = []  # the newest first
        self.times: list[np.ndarray] = []

    def move(self, there: np.ndarray) -> np.ndarray:
        start = self.state + self.error
        denoised = self.predict(start, self.state, self.sigma)
        self.slopes = [(start - denoised) / self.sigma[:, None], *self.slopes[:self.memory]]
        self.times = [self.time(self.sigma), *self.times[:self.memory]]
        if not there.any() or len(self.slopes) == 1:
            return start + (there - self.sigma)[:, None] * self.slopes[0]
        shares = self.shares(self.time(there))
        return start + sum(share[:, None] * slope for share, slope in zip(shares, self.slopes, strict=True))

    def shares(self, end: np.ndarray) -> list[np.ndarray]:
        """The integral over sigma, up to VP time `end` (E,), of each slope's Lagrange polynomial; (E,) each."""
        begin = self.times[0]
        half = (end - begin) / 2
        at = ((end + begin) / 2)[:, None] + half[:, None] * self.POINTS  # (E, 16)
        grown = np.exp(0.5 * self.BETA_D * at**2 + self.BETA_MIN * at)
        speed = 0.5 * (self.BETA_D * at + self.BETA_MIN) * grown / np.sqrt(grown - 1)  # dsigma/dt
        found = []
        for j, time in enumerate(self.times):
            others = [other for k, other in enumerate(self.times) if k != j]
            polynomial = np.prod([(at - other[:, None]) / (time - other)[:, None] for other in others], axis=0)
            found.append(half * ((speed * polynomial) @ self.WEIGHTS))
        return found

    @classmethod
    def time(cls, sigma: np.ndarray) -> np.ndarray:
        """VP time of `sigma` (E,)."""
        return (np.sqrt(cls.BETA_MIN**2 + 2 * cls.BETA_D * np.log1p(sigma**2)) - cls.BETA_MIN) / cls.BETA_D


class UniPC(Replay):
    """UniPC (arXiv 2302.04867), bh1 of third order as the host runs it: each prediction corrects the step to it.

    The prediction is made where the predictor ends, and not anew where the corrector does.
    """

    order = 3
    memory = 2
    LAST = 1e-3  # sigma that stands for 0

    def begin(self) -> None:
        if self.steps is None:
            raise ValueError("a replay of uni_pc needs to know its number of steps; got none; give steps=K")
        self.made = 0
        self.known = [(self.orbits.denoised(self.sigma), self.sigma)]  # predictions and their sigmas, the newest first

    def move(self, there: np.ndarray) -> np.ndarray:
        self.made += 1
        order = max(1, min(self.order, self.steps - 1, self.made, self.steps + 1 - self.made))
        end = np.where(there > 0, there, self.LAST * np.minimum(1.0, self.sigma / (2 * self.LAST)))
        (newest, here), older = self.known[0], self.known[1:order]
        step = np.log(here / end)
        ratios = np.stack([np.log(here / sigma) / step for _, sigma in older] + [np.ones_like(step)], axis=1)  # (E, p)
        changes = [(old - newest) / ratio[:, None] for (old, _), ratio in zip(older, ratios.T, strict=False)]
        powers = ratios[:, None, :] ** np.arange(order)[:, None]  # (E, p, p)
        moments = self.moments(step, order)
        plain = (end / here)[:, None] * (self.state + self.error) - np.expm1(-step)[:, None] * newest
        moved = plain
        if changes:
            weights = (np.full((len(step), 1), 0.5) if order == 2 else
                       np.linalg.solve(powers[:, :-1, :-1], moments[:, :-1, None])[..., 0])
            moved = plain + step[:, None] * _weighted(weights, changes)
        if there.any():
            predicted = self.predict(moved, self.orbits.state(there), there)
            weights = (np.full((len(step), 1), 0.5) if order == 1 else
                       np.linalg.solve(powers, moments[..., None])[..., 0])
            moved = plain + step[:, None] * _weighted(weights, [*changes, predicted - newest])
            kept = self.orbits.denoised(there) if self.on_orbit else predicted
            self.known = [(kept, there), *self.known[:self.order - 1]]
        return moved

    @staticmethod
    def moments(step: np.ndarray, order: int) -> np.ndarray:
        """What the corrector's weights must sum to against powers of the ratios; (E, order)."""
        found, factorial = [], 1
        rest = np.expm1(-step) / -step - 1
        for i in range(1, order + 1):
            found.append(rest * factorial / -step)
            factorial *= i + 1
            rest = rest / -step - 1 / factorial
        return np.stack(found, axis=1)


def _weighted(weights: np.ndarray, changes: list[np.ndarray]) -> np.ndarray:
    """Sum of weights (E, p) times changes, p of (E, N + 1); (E, N + 1)."""
    return sum(weight[:, None] * change for weight, change in zip(weights.T, changes, strict=True))
