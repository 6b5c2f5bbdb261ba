"""Policy evaluation and policy improvement against values found by quadrature, with controls that must fail.

One orbit of N(0, 1) with |Q| = (1 + sigma^2)^(-3/2), so that a fixed policy's value is a function of time and
place alone and backward induction finds it without a single roll-out.
"""

import functools

import numpy as np
import pytest

from art_nodes.core import OrbitBank, TrainConfig, grid_cost
from art_nodes.core.actor_critic import ActorCritic
from art_nodes.core.environment import BankEnvironment
from art_nodes.core.grids import edm_clock
from art_nodes.core.policy import BaseClock
from tests.core import targets

T, STEPS = 3.0, 64
CRITIC_ERROR = 0.04  # of V's spread: what 16 hats and a quadratic can follow
SIGMAS = 5  # standard errors beyond which a difference is no chance


@functools.cache
def one_orbit(nodes: int = 2000) -> OrbitBank:
    """That orbit as a bank, so fine that its cells play no part."""
    sigmas = T * (1 - np.arange(nodes) / nodes)
    return OrbitBank(sigmas, (1 + (sigmas - 0.5 * T / nodes) ** 2)[None] ** -1.5)


def agent(bank: OrbitBank, clock=None, budget: str = "feedback", **settings) -> ActorCritic:
    """An untrained actor-critic on a bank, starting from `clock` (K + 1,) of p, EDM's unless told."""
    config = TrainConfig(clock_nodes=STEPS, budget=budget, **settings)
    clock = edm_clock(bank.sigma_max, bank.sigma_min, STEPS) if clock is None else clock
    return ActorCritic(BankEnvironment(bank), config, BaseClock(clock), state_dependent=False)


class Quadrature:
    """Value of an agent's policy by backward induction on a fine grid, Gauss-Hermite over its noise; (K, grid)."""

    def __init__(self, learner: ActorCritic):
        env, policy = learner.env, learner.policy
        self.place = np.interp(np.linspace(0, 1, 4001), learner.base.u, learner.base.position)
        density = env.q[0]
        total = np.append(0, np.cumsum(density * np.diff(env.borders)))
        paid = np.interp(self.place, env.borders, total)
        points, weights = np.polynomial.hermite_e.hermegauss(41)
        weights = weights / weights.sum()
        here = np.interp(self.place, 0.5 * (env.borders[1:] + env.borders[:-1]), density)
        value = -(1 - self.place) * STEPS * (paid[-1] - paid)  # the last step goes to the end, whatever it costs
        self.values = [value]
        for k in range(STEPS - 2, -1, -1):
            u = learner.base.time(self.place)
            mean = policy.mean(self.place, k / STEPS, policy.features(u, k / STEPS))
            speed = mean[:, None] + np.sqrt(learner.config.lam / here)[:, None] * points
            speed = np.minimum(speed, (1 - self.place)[:, None] * STEPS)
            there = self.place[:, None] + speed / STEPS
            # before the start |Q| stays what it is there
            charge = np.where(there > 0, np.interp(there, self.place, paid), density[0] * there) - paid[:, None]
            value = (-speed * charge + np.interp(there, self.place, value)) @ weights
            self.values.append(value)
        self.values.reverse()

    def at(self, k: int, position):
        """V at step k and places (E,)."""
        return np.interp(position, self.place, self.values[k])


def watched_roll_out(learner: ActorCritic):
    """A roll-out and the places (K, E) at which its steps began."""
    places, advance = [np.zeros(learner.config.episodes)], learner.env.advance

    def noting(position, duration):
        places.append(position)
        return advance(position, duration)

    learner.env.advance = noting
    rollout = learner.roll_out()
    learner.env.advance = advance
    return rollout, np.stack(places[:-1])


def follow(learner: ActorCritic) -> None:
    """Let the critic learn the value of the policy as it stands."""
    for i in range(60):
        learner.evaluate(learner.roll_out(), rate=max(0.02, 1 / (i + 1)))


@pytest.fixture(scope="module")
def evaluated():
    """An agent whose critic has followed its fixed policy for a while, and the policy's value by quadrature."""
    learner = agent(one_orbit(), episodes=256)
    follow(learner)
    return learner, Quadrature(learner)


def departure(learner: ActorCritic, truth: Quadrature) -> float:
    """RMS difference of critic and quadrature over the states of a fresh roll-out, as a share of V's spread."""
    rollout, places = watched_roll_out(learner)
    value = np.stack([truth.at(k, places[k]) for k in range(STEPS)])
    return float(np.sqrt(np.mean((learner.critic.value(rollout.critic_features) - value) ** 2)) / value.std())


def test_the_critic_learns_the_value_of_a_fixed_policy(evaluated):
    assert departure(*evaluated) < CRITIC_ERROR


def test_control_the_critic_of_a_wrong_reward_is_noticed(monkeypatch):
    """Negative control: a charge that is a tenth too dear shows in the critic."""
    learner = agent(one_orbit(), episodes=256)
    truth, advance = Quadrature(learner), learner.env.advance
    monkeypatch.setattr(learner.env, "advance", lambda *step: 1.1 * advance(*step))
    follow(learner)
    assert departure(learner, truth) > 2 * CRITIC_ERROR


def martingale_scores(learner: ActorCritic, truth: Quadrature, reward=lambda rollout: rollout.reward) -> np.ndarray:
    """Moments of V's increments plus reward against test processes, in standard errors, eq. (11)."""
    moments = []
    for _ in range(40):
        rollout, places = watched_roll_out(learner)
        value = np.stack([truth.at(k, places[k]) for k in range(STEPS)])
        increments = np.concatenate([value[1:], np.zeros((1, len(places[0])))]) - value + reward(rollout)
        time = np.linspace(0, 1, STEPS)[:, None]
        tests = [np.ones_like(value), np.cos(np.pi * time) + 0 * value, places - places.mean(axis=1, keepdims=True)]
        moments.append([(test * increments).sum(axis=0).mean() for test in tests])
    moments = np.array(moments)
    return moments.mean(axis=0) / (moments.std(axis=0, ddof=1) / np.sqrt(len(moments)))


def test_the_true_value_makes_a_martingale(evaluated):
    assert np.abs(martingale_scores(*evaluated)).max() < 4


@pytest.mark.parametrize("name, reward", [
    ("2 % too dear", lambda rollout: 1.02 * rollout.reward),
    ("a bonus for haste", lambda rollout: rollout.reward + 1e-4 * rollout.mean),
])
def test_control_a_wrong_reward_breaks_the_martingale(evaluated, name, reward):
    assert np.abs(martingale_scores(*evaluated, reward)).max() > SIGMAS


def power_clock(rho: float, sigma_max: float, sigma_min: float) -> np.ndarray:
    """A start clock (K + 1,) of p: sigma even in sigma^(1/rho), shifted to reach 0."""
    u = np.linspace(0, 1, STEPS + 1)
    grid = ((sigma_max + sigma_min) ** (1 / rho) * (1 - u) + sigma_min ** (1 / rho) * u) ** rho
    position = 1 - (grid - sigma_min) / sigma_max
    position[0], position[-1] = 0.0, 1.0
    return position


def one_step(bank: OrbitBank, rho: float, bend: float, seed: int, advantage=lambda values: values) -> float:
    """Change of J/J* by one actor step from a start policy; `bend` tilts its speed over the clock."""
    learner = agent(bank, power_clock(rho, bank.sigma_max, bank.sigma_min), seed=seed)
    learner.policy.weights[:] = bend * np.cos(np.pi * np.linspace(0, 1, len(learner.policy.weights)))
    for i in range(8):
        rollout = learner.roll_out()
        values = learner.evaluate(rollout, rate=1 / (i + 1))
    before = grid_cost(bank, bank.sigma_max * (1 - learner.mean_clock(rollout)[0]))
    learner.improve(rollout, advantage(values), rate=0.2)
    return grid_cost(bank, bank.sigma_max * (1 - learner.mean_clock(rollout)[0])) - before


STARTS = [(rho, bend) for rho in (1.0, 2.0, 4.0, 7.0, 20.0) for bend in (-0.5, 0.0, 0.5)]


@pytest.mark.parametrize("target", ["normal", "image"])
def test_a_step_along_the_moment_identity_never_lowers_the_objective(target):
    """Policy improvement, from 15 start policies on each target: better in the mean of 4 seeds, or within noise."""
    bank = targets.bank(target)
    for rho, bend in STARTS:
        changes = np.array([one_step(bank, rho, bend, seed) for seed in range(4)])
        noise = changes.std(ddof=1) / 2
        assert changes.mean() < 3 * noise, (rho, bend, changes)


@pytest.mark.parametrize("wrong", [lambda values: -values, lambda values: np.roll(values, 1, axis=1)])
def test_control_a_step_along_anything_else_does_harm(wrong):
    """Negative controls: against the identity, or along the advantages of other episodes."""
    bank = targets.bank("image")
    worse = 0
    for rho, bend in STARTS:
        changes = np.array([one_step(bank, rho, bend, seed, wrong) for seed in range(4)])
        worse += changes.mean() > 3 * changes.std(ddof=1) / 2
    assert worse > len(STARTS) / 2


def test_missing_the_budget_is_charged_at_the_end():
    """By the price, and by half the penalty times the square of the miss; negative control: neither is 0 here."""
    learner = agent(one_orbit(), budget="price", episodes=16, penalty=7.0)
    learner.multiplier = 0.3
    rollout = learner.roll_out()
    miss = rollout.end - 1
    last = learner.critic.value(rollout.critic_features)[-1]
    charged = rollout.reward[-1] - last - learner.td_errors(rollout)[-1]
    np.testing.assert_allclose(charged, 0.3 * miss + 3.5 * miss**2, rtol=1e-9, atol=1e-12)
    assert min(np.abs(0.3 * miss).max(), (3.5 * miss**2).max()) > 1e-4
