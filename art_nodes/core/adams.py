"""The scheme that orbits are recorded with: third-order Adams-Bashforth in ln sigma, one model call a node."""

from collections.abc import Sequence

import numpy as np

from .replay import Replay

ORDER = 3


def adams_weights(steps: Sequence) -> list:
    """Weights, newest first, of the last predictions in the one that a step heads for.

    steps: e-folds of sigma, > 0, of this step, the last one and the one before, as far as there are; floats or (E,).
    Heading for that prediction is the exact solution where D is the parabola in ln sigma through the last three, a
    line through two, or constant.
    """
    step, *past = steps
    if not past:
        return [1.0]
    covered = -np.expm1(-step)
    mean = (step - covered) / covered  # of the e-folds t past the newest, under the weight e^t of the exact solution
    slope = mean / past[0]
    weights = [1 + slope, -slope]
    if len(past) > 1:
        last, before = past
        bend = ((step**2 / covered - 2 * mean) + last * mean) / (last + before)
        weights = [weights[0] + bend / last, weights[1] - bend / last - bend / before, bend / before]
    return weights


class Adams(Replay):
    """The recording's own scheme, replayed on what it recorded: what its spacing of nodes leaves."""

    order = ORDER
    memory = ORDER - 1

    def begin(self) -> None:
        self.known: list[tuple[np.ndarray, np.ndarray]] = []  # predictions and their ln sigma, the newest first

    def target(self, denoised: np.ndarray, there: np.ndarray) -> np.ndarray:
        self.known = [(denoised, np.log(self.sigma)), *self.known[:self.memory]]
        if not there.any():
            return denoised
        logs = [np.log(there), *(log for _, log in self.known)]
        weights = adams_weights([after - log for log, after in zip(logs, logs[1:], strict=False)])
        return sum(np.reshape(weight, (-1, 1)) * old for weight, (old, _) in zip(weights, self.known, strict=True))
