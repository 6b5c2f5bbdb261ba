"""The Gaussian policy and the critic: linear functions of a few features of the state.

Features live on the time of a base clock, u in [0, 1], which the learner renews from its own
mean clock every few iterations. So every feature is visited equally often, and the deviation
u - s says how far an episode is ahead of its time.
"""

import numpy as np

from .grids import hats

# |Q| of an episode's own orbit never counts for less than this share of E|Q| in the policy's
# variance: an orbit that happens to be flat here would explore without bounds.
VARIANCE_CLAMP = 0.25
# Deviations beyond this share of the clock say no more than "far off".
FAR_OFF = 0.3
# Feedback speeds an episode up or slows it down by no more than this factor.
MAX_CORRECTION = 10.0
# Hats over the clock for what the actor makes of x; one fewer counts, since x has no say at the end.
STATE_KNOTS = 7


class BaseClock:
    """Physical time p at equally spaced times u; p(0) = 0, p(1) = 1.

    stepwise: a step has the speed of the cell it starts in, which few long steps want; else speed is read
    in the middle of each cell and changes smoothly.
    curved: a step follows this clock, so many times as fast or slow. Over a wide range of sigma speed falls a
    hundredfold within one of the first steps: straight on, noise would carry an episode past all that matters. Where
    speed hardly changes within a step straight ones are the more accurate.
    """

    def __init__(self, position: np.ndarray, stepwise: bool = False, curved: bool = False):
        self.stepwise, self.curved = stepwise, curved
        self.renew(position)

    def renew(self, position: np.ndarray) -> None:
        """Take another clock, (N + 1,) strictly ascending values of p."""
        speed = np.diff(position) * (len(position) - 1)
        self.position, self.u = position, np.linspace(0, 1, len(position))
        self.log_speeds, self.last_speed = np.log(speed), speed[-1]
        self.read_at = position[:-1] if self.stepwise else 0.5 * (position[1:] + position[:-1])

    def time(self, position: np.ndarray) -> np.ndarray:
        """u of physical time p, carried on at the last speed past the end."""
        beyond = np.maximum(position - 1, 0.0) / self.last_speed
        return np.interp(position, self.position, self.u) + beyond

    def follow(self, position: np.ndarray, way: np.ndarray) -> np.ndarray:
        """Where a step of so much `way`, speed times duration, leads from physical time p."""
        if not self.curved:
            return position + way
        u = self.time(position) + way / np.exp(self.log_speed(position))
        return np.interp(u, self.u, self.position) + np.maximum(u - 1, 0.0) * self.last_speed

    def log_speed(self, position: np.ndarray) -> np.ndarray:
        """ln(dp/du) at physical time p."""
        return np.interp(position, self.read_at, self.log_speeds)


class GaussianPolicy:
    """pi(a | t, x, psi) = N(mu, lam/(steepness |Q|)), docs/theory.md, eq. (10); steepness 1 is the paper's.

    ln mu = ln(base speed) + ln(correction) + w . features. The features are hats in u (the shape of the
    clock) and, for an actor that sees x, a few hats in u times what the environment tells of x.
    budget "feedback": the correction is (1 - u)/(1 - s), the share of the way left over the share of
    time left, eq. (13): every episode arrives on time by its own strength.
    budget "price": no correction; the deviation u - s is a feature of its own, and the multiplier and the
    penalty alone keep the budget, as in the paper.
    """

    def __init__(self, base: BaseClock, lam: float, knots: int, budget: str = "feedback", state: int = 0,
                 steepness: float = 1.0):
        self.base, self.lam, self.knots, self.budget, self.state = base, lam / steepness, knots, budget, state
        self.state_weights = state * (STATE_KNOTS - 1)  # how many weights there are for x, the last ones
        self.weights = np.zeros(knots + (budget == "price") + self.state_weights)

    def features(self, u: np.ndarray, time: float, state: np.ndarray | None = None) -> np.ndarray:
        """(E, F) features at base time u (E,) and clock time s; `state` (E, S) if the actor sees x."""
        columns = [hats(u, self.knots)]
        if self.budget == "price":
            columns.append(np.clip(u - time, -FAR_OFF, FAR_OFF)[:, None])
        if self.state:
            local = hats(u, STATE_KNOTS)[:, :-1]
            columns.append((local[:, :, None] * state[:, None, :]).reshape(len(u), -1))
        return np.concatenate(columns, axis=1)

    def mean(self, position: np.ndarray, time: float, features: np.ndarray) -> np.ndarray:
        """The mean speed mu, > 0, at physical time p (E,) and clock time s; (E,)."""
        log_speed = self.base.log_speed(position) + features @ self.weights
        if self.budget == "feedback":
            left = (1 - self.base.time(position)) / (1 - time)
            log_speed += np.log(np.clip(left, 1 / MAX_CORRECTION, MAX_CORRECTION))
        return np.exp(log_speed)

    def variance(self, mean: np.ndarray, q: np.ndarray, mean_q: np.ndarray) -> np.ndarray:
        """lam/|Q|, with |Q| clamped from below, around `mean` speeds; (E,).

        |Q| where one of a few long steps starts says little of it: |Q| mu^2 = 1 at the optimum stands for it. Far from
        the best clock |Q| may allow for noise of many times the speed, which steps that follow the clock do not take.
        """
        if self.base.stepwise:
            return self.lam * mean**2
        variance = self.lam / np.maximum(q, VARIANCE_CLAMP * mean_q)
        return np.minimum(variance, self.lam * mean**2) if self.base.curved else variance


class Critic:
    """V(t, x, psi) = c . features: hats in s times a quadratic in the deviation u - s times what is known of x."""

    def __init__(self, knots: int, outlook: int):
        self.knots, self.locals = knots, 3 * (1 + outlook)
        self.weights = np.zeros((knots, self.locals))

    def features(self, u: np.ndarray, time: float, outlook: np.ndarray) -> np.ndarray:
        """(E, 3 (1 + outlook)) features at one clock time; `outlook` (E, ...) as the environment gives it."""
        deviation = np.clip(u - time, -FAR_OFF, FAR_OFF)
        powers = np.stack([np.ones_like(deviation), deviation, deviation**2], axis=1)
        known = np.concatenate([np.ones((len(u), 1)), outlook], axis=1)
        return (powers[:, :, None] * known[:, None, :]).reshape(len(u), -1)

    def value(self, features: np.ndarray) -> np.ndarray:
        """V at K equally spaced times; features (K, E, locals) -> (K, E)."""
        times = hats(np.arange(len(features)) / len(features), self.knots)
        return np.einsum("kef,kf->ke", features, times @ self.weights)

    def fit(self, features: np.ndarray, returns: np.ndarray, rate: float) -> None:
        """One step along xi . (TD error): move a share `rate` towards the root of the critic's moment identity.

        docs/theory.md, eq. (11): E sum xi (G - V) = 0 with xi = dV/dc and the lambda-return G (K, E)
        is a linear system in c, assembled from one small Gram matrix a time step.
        """
        times = hats(np.arange(len(features)) / len(features), self.knots)
        gram = np.einsum("kef,keg->kfg", features, features, optimize=True)
        right = np.einsum("kef,ke->kf", features, returns)
        size = self.knots * self.locals
        matrix = np.einsum("ki,kj,kfg->ifjg", times, times, gram, optimize=True).reshape(size, size)
        matrix += 1e-6 * np.trace(matrix) / size * np.eye(size)
        root = np.linalg.solve(matrix, (times.T @ right).reshape(size)).reshape(self.weights.shape)
        self.weights += rate * (root - self.weights)
