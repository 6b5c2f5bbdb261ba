"""Samplers replayed on recorded orbits, many grids at once and without the model (docs/theory.md, section 7).

Off the orbit the prediction is taken to follow the state, D(x + e) = D(x) + e: an error made at one
sigma then arrives at 0 as it is, which is what trained models are seen to do on average.
"""

import numpy as np

from .orbits import Orbits


class Replay:
    """Euler's method from the orbits at sigma `start` (E,), for E grids at once.

    error: (E, N + 1) weights of how far each run is off its orbit.
    on_orbit: put every run back onto its orbit after each step, so that steps are judged one by one.
    """

    order = 1
    looks_back = False  # whether a step depends on the one before

    def __init__(self, orbits: Orbits, start: np.ndarray, on_orbit: bool = False):
        self.orbits, self.on_orbit, self.sigma = orbits, on_orbit, start
        self.state, self.error = orbits.state(start), np.zeros((len(start), orbits.size))

    @staticmethod
    def calls(steps: int) -> int:
        """Model calls of a run of `steps` steps."""
        return steps

    def step(self, there: np.ndarray) -> np.ndarray:
        """Move to `there` (E,), 0 at the last step; returns what that adds to the error, (E, N + 1)."""
        denoised = self.orbits.denoised(self.sigma) + self.error
        state = self.orbits.state(there)
        keep = (there / self.sigma)[:, None]
        error = keep * (self.state + self.error) + (1 - keep) * self.target(denoised, there) - state
        added = error - self.error
        self.sigma, self.state = there, state
        if not self.on_orbit:
            self.error = error
        return added

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The prediction that this step heads for, given the one at its start; both (E, N + 1)."""
        return denoised


class Heun(Replay):
    """Heun's method: the mean slope of both ends, with an Euler step to 0."""

    order = 2

    @staticmethod
    def calls(steps: int) -> int:
        """Two a step but the last."""
        return 2 * steps - 1

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        """x + h (slope + slope')/2, solved for the prediction of an Euler step that would do the same."""
        here, inner = self.sigma[:, None], np.maximum(there, self.orbits.sigmas[-1] * 1e-3)
        start, end = self.state + self.error, inner[:, None]
        moved = (end / here) * start + (1 - end / here) * denoised
        again = self.orbits.denoised(inner) + moved - self.orbits.state(inner)
        mean_slope = 0.5 * ((start - denoised) / here + (moved - again) / end)
        return np.where(there[:, None] > 0, start - here * mean_slope, denoised)


class Dpmpp2M(Replay):
    """DPM-Solver++(2M): the prediction carried on along the last two, in ln sigma; first order at both ends."""

    order = 2
    looks_back = True

    def __init__(self, orbits: Orbits, start: np.ndarray, on_orbit: bool = False):
        super().__init__(orbits, start, on_orbit)
        self.before: tuple[np.ndarray, np.ndarray] | None = None  # the last prediction and its sigma

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        before, self.before = self.before, (denoised, self.sigma)
        if before is None:
            return denoised
        old, sigma = before
        last = np.log(sigma / self.sigma)
        step = np.log(self.sigma / np.where(there > 0, there, self.sigma))
        return denoised + (0.5 * step / last)[:, None] * (denoised - old)


class Rk4(Replay):
    """The classic fourth-order method, with an Euler step to 0: the solver of the paper's table 4; no host has it."""

    order = 4

    @staticmethod
    def calls(steps: int) -> int:
        """Four a step but the last."""
        return 4 * steps - 3

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        """x + h (first + 2 second + 2 third + fourth)/6, solved for the prediction of an Euler step like it."""
        here, end = self.sigma, np.maximum(there, self.orbits.sigmas[-1] * 1e-3)
        start, step = self.state + self.error, (end - here)[:, None]

        def slope(moved, sigma):
            predicted = self.orbits.denoised(sigma) + moved - self.orbits.state(sigma)
            return (moved - predicted) / sigma[:, None]

        first = (start - denoised) / here[:, None]
        second = slope(start + step / 2 * first, (here + end) / 2)
        third = slope(start + step / 2 * second, (here + end) / 2)
        fourth = slope(start + step * third, end)
        mean_slope = (first + 2 * second + 2 * third + fourth) / 6
        return np.where(there[:, None] > 0, start - here[:, None] * mean_slope, denoised)


REPLAYS: dict[str, type[Replay]] = {"euler": Replay, "heun": Heun, "dpmpp_2m": Dpmpp2M, "rk4": Rk4}
