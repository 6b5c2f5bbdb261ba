"""The paper's Theorem 1 on a problem whose answer is known, with controls that must fail.

One orbit of N(0, 1): D = x0/sqrt(1 + sigma^2) along it, so |Q| = |dD/dsigma|/sigma = |x0| (1 + sigma^2)^(-3/2).
"""

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson

from art_nodes.core import TrainConfig, learn_schedule, optimal_schedule
from tests.core import targets

T = 3.0
LAMBDAS = (0.01, 0.05, 0.2)
SIGMAS = 5  # standard errors beyond which a difference is no chance
SLOPE_BIAS = 5e-4  # what is left of the time step's error; slopes away from theta* are a hundred times that


def stiffness(psi):
    """|Q| of the orbit with x0 = 1."""
    return (1 + (T - psi) ** 2) ** -1.5


def constant_variance(psi):
    """A control's variance, that of |Q| half-way, wherever the orbit is."""
    return np.full_like(psi, stiffness(0.5 * T))


class Tilted:
    """Feedback policies that all arrive on time; `tilt` = 0 is theta* of eq. (9), in physical units.

    mu = R(psi) / ((T - t) r(psi)) with r = sqrt|Q| exp(-tilt . phi) and R its integral from psi to T. For any r
    this keeps the budget, and r = sqrt|Q| is optimal with V = -(integral of sqrt|Q|)^2 / (T - t).
    """

    grid = np.linspace(0, T, 4001)

    def __init__(self, tilt=(0.0, 0.0)):
        p = self.grid / T
        self.rate = np.sqrt(stiffness(self.grid)) * np.exp(-tilt[0] * np.cos(np.pi * p) - tilt[1] * np.sin(np.pi * p))
        done = cumulative_simpson(self.rate, x=self.grid, initial=0)
        self.left = done[-1] - done

    def mean(self, t, psi):
        return np.interp(psi, self.grid, self.left) / ((T - t) * np.interp(psi, self.grid, self.rate))

    def value(self, t, psi):
        """V(t, psi) if tilt = 0."""
        return -np.interp(psi, self.grid, self.left) ** 2 / (T - t)


def returns(policy: Tilted, lam: float, steps: int, rng, variance=stiffness, episodes: int = 8000, until=0.9):
    """What episodes under N(mu, lam/variance) earn up to `until` T, and V of theta* where they are then.

    The end is left out because the budget is a hard one there; V closes the sum. Antithetic pairs.
    """
    psi, earned, dt = np.zeros(episodes), np.zeros(episodes), until * T / steps
    for k in range(steps):
        noise = rng.standard_normal(episodes // 2)
        speed = policy.mean(k * dt, psi) + np.sqrt(lam / variance(psi)) * np.concatenate([noise, -noise])
        earned -= stiffness(psi + 0.5 * speed * dt) * speed**2 * dt
        psi = psi + speed * dt
    closed = earned + Tilted().value(until * T, psi)
    return closed.reshape(2, -1).mean(axis=0)  # of pairs, which are independent


def extrapolated(policy, lam, seed, variance=stiffness):
    """Mean return without its error of first order in the step, and its standard error."""
    coarse, fine = (returns(policy, lam, steps, np.random.default_rng(seed + steps), variance) for steps in (200, 400))
    error = np.sqrt((4 * fine.var() + coarse.var()) / len(fine))
    return 2 * fine.mean() - coarse.mean(), error


@pytest.mark.parametrize("lam", LAMBDAS)
def test_exploration_costs_lambda_per_unit_of_time(lam):
    """Theorem 1: V^lam - V = lam t. From 0 to 0.9 T the noise costs 0.9 lam T, which lam T at the end gives back."""
    found, error = extrapolated(Tilted(), lam, seed=0)
    plain = Tilted().value(0.0, 0.0)
    assert abs(found + 0.9 * lam * T - plain) < 3 * error
    assert error < 0.02 * lam * T  # the error bar is small enough to tell


@pytest.mark.parametrize("lam", LAMBDAS)
def test_control_other_variances_cost_something_else(lam):
    """Negative control: with a variance that is not tied to |Q| the identity above must fail."""
    found, error = extrapolated(Tilted(), lam, seed=0, variance=constant_variance)
    assert abs(found + 0.9 * lam * T - Tilted().value(0.0, 0.0)) > SIGMAS * error


def slope(lam: float, direction: int, variance=stiffness, step: float = 0.05):
    """Derivative of the return along one tilt at theta*, with its standard error; common random numbers.

    Without its error of first order in the time step, as above.
    """
    tilts = [tuple(sign * step * (i == direction) for i in range(2)) for sign in (1, -1)]
    change = 0.0
    for steps, weight in ((100, -1), (200, 2)):
        up, down = (returns(Tilted(tilt), lam, steps, np.random.default_rng(steps), variance) for tilt in tilts)
        change = change + weight * (up - down) / (2 * step)
    return change.mean(), change.std() / np.sqrt(len(change))


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("lam", LAMBDAS)
def test_the_best_gaussian_policy_has_mean_theta_star(lam, direction):
    """Theorem 1: at theta* the return is stationary along every tilt of the mean, and a maximum."""
    change, error = slope(lam, direction)
    assert abs(change) < 3 * error + SLOPE_BIAS
    best, tilted = (returns(Tilted(tilt), lam, 200, np.random.default_rng(7)).mean()
                    for tilt in ((0.0, 0.0), tuple(0.3 * (i == direction) for i in range(2))))
    assert best > tilted + 0.002


@pytest.mark.parametrize("lam", LAMBDAS)
def test_control_with_another_variance_the_best_mean_is_another(lam):
    """Negative control: noise of constant size makes the policy hurry through where |Q| is large."""
    for direction in (0, 1):
        change, error = slope(lam, direction, constant_variance)
        assert abs(change) > SIGMAS * error + SLOPE_BIAS


@pytest.mark.parametrize("lam", LAMBDAS)
def test_the_learned_mean_is_the_same_at_every_temperature(lam):
    bank = targets.bank("normal")
    learned, best = learn_schedule(bank, TrainConfig(lam=lam)), optimal_schedule(bank)
    assert learned.cost(bank) < 1.005
    assert np.sqrt(np.mean(np.log(learned.clock[1:-1] / best.clock[1:-1]) ** 2)) < 0.03
