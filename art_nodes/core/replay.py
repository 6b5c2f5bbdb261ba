"""Samplers replayed on recorded orbits, many grids at once and without the model (docs/theory.md, section 7).

Off the orbit the prediction is taken to follow the state, D(x + e) = D(x) + e: an error made at one
sigma then arrives at 0 as it is, which is what trained models are seen to do on average. With an
`Arrival` it follows as much as makes errors arrive as that says.
"""

import numpy as np

from .arrival import Arrival
from .orbits import Orbits


class Replay:
    """Euler's method from the orbits at sigma `start` (E,), for E grids at once.

    error: (E, N + 1) weights of how far each run is off its orbit.
    on_orbit: put every run back onto its orbit after each step, so that steps are judged one by one.
    steps: how many there will be, where the sampler makes use of that.
    arrival: what becomes of errors on their way; None for nothing.
    """

    order = 1
    memory = 0  # how many steps before it a step depends on

    def __init__(self, orbits: Orbits, start: np.ndarray, on_orbit: bool = False, steps: int | None = None,
                 arrival: Arrival | None = None):
        self.orbits, self.on_orbit, self.steps, self.sigma, self.arrival = orbits, on_orbit, steps, start, arrival
        self.state, self.error = orbits.state(start), np.zeros((len(start), orbits.size))
        self.begin()

    def begin(self) -> None:
        """Make room for what the steps to come are to remember of those before them."""

    def step(self, there: np.ndarray) -> np.ndarray:
        """Move to `there` (E,), 0 at the last step; returns what that adds to the error, (E, N + 1)."""
        moved = self.move(there)  # first: it asks the orbits for where it is, whose answers are still kept
        state = self.orbits.state(there)
        error = moved - state
        kept = 1.0 if self.arrival is None else (self.arrival.gain(self.sigma) / self.arrival.gain(there))[:, None]
        added = error - kept * self.error
        self.sigma, self.state = there, state
        if not self.on_orbit:
            self.error = error
        return added

    def move(self, there: np.ndarray) -> np.ndarray:
        """The state at `there` (E,) where the sampler gets to from where it is; (E, N + 1)."""
        keep = (there / self.sigma)[:, None]
        denoised = self.predict(self.state + self.error, self.state, self.sigma)
        return keep * (self.state + self.error) + (1 - keep) * self.target(denoised, there)

    def predict(self, state: np.ndarray, on_orbit: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """D at `state`, which may be off the orbit, whose own state is `on_orbit`, eq. (15); (E, N + 1)."""
        follows = 1.0 if self.arrival is None else self.arrival.follows(sigma)[:, None]
        return self.orbits.denoised(sigma) + follows * (state - on_orbit)

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The prediction that this step heads for, given the one at its start; both (E, N + 1)."""
        return denoised


class Heun(Replay):
    """Heun's method: the mean slope of both ends, with an Euler step to 0."""

    order = 2

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        """x + h (slope + slope')/2, solved for the prediction of an Euler step that would do the same."""
        here, inner = self.sigma[:, None], np.maximum(there, self.orbits.sigmas[-1] * 1e-3)
        start, end = self.state + self.error, inner[:, None]
        moved = (end / here) * start + (1 - end / here) * denoised
        again = self.predict(moved, self.orbits.state(inner), inner)
        mean_slope = 0.5 * ((start - denoised) / here + (moved - again) / end)
        return np.where(there[:, None] > 0, start - here * mean_slope, denoised)


class Rk4(Replay):
    """The classic fourth-order method, with an Euler step to 0: the solver of the paper's table 4; no host has it."""

    order = 4

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        """x + h (first + 2 second + 2 third + fourth)/6, solved for the prediction of an Euler step like it."""
        here, end = self.sigma, np.maximum(there, self.orbits.sigmas[-1] * 1e-3)
        start, step = self.state + self.error, (end - here)[:, None]

        def slope(moved, sigma):
            return (moved - self.predict(moved, self.orbits.state(sigma), sigma)) / sigma[:, None]

        first = (start - denoised) / here[:, None]
        second = slope(start + step / 2 * first, (here + end) / 2)
        third = slope(start + step / 2 * second, (here + end) / 2)
        fourth = slope(start + step * third, end)
        mean_slope = (first + 2 * second + 2 * third + fourth) / 6
        return np.where(there[:, None] > 0, start - here[:, None] * mean_slope, denoised)

