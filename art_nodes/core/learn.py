"""ART-RL: the continuous-time actor-critic that learns the clock (docs/theory.md, section 5)."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .bank import OrbitBank
from .clock import grid_cost
from .environment import BankEnvironment
from .optimal import describe_bank
from .policy import BaseClock, Critic, GaussianPolicy, edm_clock
from .schedule import Schedule

WARM_UP = 5  # iterations in which only the critic learns
RENEW_EVERY = 10  # iterations between renewals of the base clock
RENEW_UNTIL, AVERAGE_FROM = 0.8, 0.5  # shares of the run
MAX_CHANGE = 0.3  # of the log speed, in one iteration
SMOOTHING, RIDGE = 0.1, 1e-3  # of the actor's step, against the mean curvature


@dataclass(frozen=True)
class TrainConfig:
    """How to learn. The defaults reach 1.02 of the optimum on every target of the tests."""

    iterations: int = 200  # actor-critic updates, >= 10
    episodes: int = 128  # parallel roll-outs in each, >= 2
    clock_nodes: int = 64  # steps of the clock that is learned, >= 8
    lam: float = 0.05  # temperature; sqrt(lam) is the policy's relative noise, 0.01 to 0.2
    seed: int = 0  # of the learner's own generator
    objective: str = "euler"  # local error that is charged: "euler" is the paper's |Q| theta^2
    learning_rate: float = 0.5  # actor's first step as a share of a Newton step, in (0, 1]; annealed to 0
    trace: float = 0.95  # decay of the lambda-returns per clock step, in [0, 1]
    # Weight of (psi(T)/T - 1)^2 in units of the optimum, > 0. Large values make the policy shun
    # its own noise near the end and bias the clock.
    penalty: float = 4.0
    knots: int = 24  # hat functions that shape the speed over the clock, >= 4

    def __post_init__(self):
        rules = [
            ("iterations", self.iterations >= 10, "at least 10", "200 is a good start"),
            ("episodes", self.episodes >= 2, "at least 2", "128 is a good start"),
            ("clock_nodes", 8 <= self.clock_nodes <= 1024, "8 to 1024", "64 is a good start"),
            ("lam", 0 < self.lam <= 1, "in (0, 1]", "0.05 to 0.1 works"),
            ("learning_rate", 0 < self.learning_rate <= 1, "in (0, 1]", "0.5 works"),
            ("trace", 0 <= self.trace <= 1, "in [0, 1]", "0.95 works"),
            ("penalty", self.penalty > 0, "> 0", "4 works"),
            ("knots", 4 <= self.knots <= 256, "4 to 256", "24 works"),
            ("objective", self.objective == "euler", "'euler'", "it is the paper's objective"),
        ]
        for name, holds, rule, way_out in rules:
            if not holds:
                raise ValueError(f"{name} must be {rule}; got {getattr(self, name)!r}; {way_out}")


@dataclass(frozen=True)
class TrainRecord:
    """Where learning stands after an iteration."""

    iteration: int  # updates done
    cost: float  # J of the current mean clock as a multiple of J* (1 is best)
    end_point: float  # psi(T)/T of the mean clock before it is normalised to 1
    multiplier: float  # gamma, in normalised units
    calls: int  # model calls so far
    schedule: Schedule


def learn(env: OrbitBank, config: TrainConfig | None = None) -> Iterator[TrainRecord]:
    """Learn a clock on recorded orbits; yields a record after every iteration.

    The same bank, config and seed give the same schedule. Raises ValueError for an
    `env` that is no bank.
    """
    if not isinstance(env, OrbitBank):
        raise ValueError(f"learn needs an OrbitBank; got {type(env).__name__}; record one with record_orbits(...)")
    return _Learner(env, config or TrainConfig()).run()


def learn_schedule(env: OrbitBank, config: TrainConfig | None = None,
                   progress: Callable[[TrainRecord], None] | None = None) -> Schedule:
    """Run `learn` to its end and return the last schedule; `progress` sees every record."""
    for record in learn(env, config):
        if progress is not None:
            progress(record)
    return record.schedule


@dataclass(frozen=True)
class _Rollout:
    """K steps of E episodes; every array (K, E, ...)."""

    policy_features: np.ndarray
    critic_features: np.ndarray
    push: np.ndarray  # d log pi / d ln mu = (a - mu) mu / variance
    curvature: np.ndarray  # |Q| mu^2, what the charge curves by when ln mu changes
    speed: np.ndarray  # mu
    reward: np.ndarray
    end: np.ndarray  # (E,) p at clock time 1


class _Learner:
    """State of one training run."""

    def __init__(self, bank: OrbitBank, config: TrainConfig):
        self.bank, self.config = bank, config
        self.env = BankEnvironment(bank)
        self.rng = np.random.default_rng(config.seed)
        self.base = BaseClock(edm_clock(bank.sigma_max, bank.sigma_min, config.clock_nodes))
        self.policy = GaussianPolicy(self.base, config.lam, config.knots)
        self.critic = Critic(min(16, config.clock_nodes), outlook=2)
        # Transversality of the HJB equation: V_psi = 0 at the end, so gamma = -2 |Q| theta there.
        self.multiplier = -2.0 * float(np.sqrt(self.env.mean_q[-1]))
        self.curvature: np.ndarray | None = None
        self.averaged, self.clocks = np.zeros(config.clock_nodes + 1), 0
        rough = np.zeros((config.knots - 2, len(self.policy.weights)))
        for i in range(config.knots - 2):
            rough[i, i:i + 3] = 1, -2, 1
        self.roughness = rough.T @ rough

    def run(self) -> Iterator[TrainRecord]:
        """One update and one record an iteration."""
        config = self.config
        for i in range(config.iterations):
            done = i / config.iterations
            rollout = self._roll_out()
            advantage = self._evaluate(rollout, rate=max(0.1, 1 / (i + 1)))
            if i >= WARM_UP:
                self._improve(rollout, advantage, config.learning_rate * min(1.0, 2 * (1 - done)))
            clock, end = self._mean_clock()
            if done >= AVERAGE_FROM:
                self.averaged, self.clocks = self.averaged + clock, self.clocks + 1
            yield self._record(i + 1, self.averaged / self.clocks if self.clocks else clock, end)
            if i >= WARM_UP and i % RENEW_EVERY == 0 and done < RENEW_UNTIL:
                self.base.renew(clock)
                self.policy.weights[:config.knots] = 0.0

    def _roll_out(self) -> _Rollout:
        """E episodes of K steps under the policy; noise in mirrored pairs halves what chance adds to the update."""
        episodes, steps = self.config.episodes + self.config.episodes % 2, self.config.clock_nodes
        self.env.start(episodes, self.rng)
        position, columns = np.zeros(episodes), []
        for k in range(steps):
            q, mean_q = self.env.stiffness()
            u, time = self.base.time(position), k / steps
            known = self.policy.features(u, time)
            judged = self.critic.features(u, time, self.env.outlook())
            mean, variance = self.policy.mean(position, known), self.policy.variance(q, mean_q)
            noise = self.rng.standard_normal(episodes // 2)
            speed = mean + np.sqrt(variance) * np.concatenate([noise, -noise])
            position = position + speed / steps
            # eq. (4): the integral of |Q|, not its left value, which one giant first step would exploit
            reward = -speed * self.env.advance(position)
            columns.append((known, judged, (speed - mean) * mean / variance, self.config.lam / variance * mean**2,
                            mean, reward))
        return _Rollout(*(np.stack(column) for column in zip(*columns, strict=True)), end=position)

    def _evaluate(self, rollout: _Rollout, rate: float) -> np.ndarray:
        """Policy evaluation: lambda-sums of the TD errors (K, E), then one step of the critic.

        The multiplier's share of the reward telescopes to gamma (psi - psi(T)), so V carries
        gamma psi exactly and only the rest is learned.
        """
        miss = rollout.end - 1
        terminal = -self.multiplier * miss - 0.5 * self.config.penalty * miss**2
        value = self.critic.value(rollout.critic_features)
        error = np.concatenate([value[1:], terminal[None]]) - value + rollout.reward
        advantage, ahead = np.empty_like(error), np.zeros(error.shape[1])
        for k in range(len(error) - 1, -1, -1):
            ahead = error[k] + self.config.trace * ahead
            advantage[k] = ahead
        self.critic.fit(rollout.critic_features, advantage + value, rate)
        return advantage

    def _improve(self, rollout: _Rollout, advantage: np.ndarray, rate: float) -> None:
        """Policy improvement along the actor's moment identity, and the multiplier's step (eqs. 10 and 11).

        The gradient is scaled by the curvature that the closed form lets one expect: 2 |Q| mu^2
        along the clock and the penalty across it. Roughness in the scale spreads the step smoothly.
        """
        features, steps, episodes = rollout.policy_features, *rollout.push.shape
        gradient = np.einsum("kef,ke->f", features, rollout.push * advantage) / episodes
        curvature = 2 * np.einsum("kef,ke,keg->fg", features, rollout.curvature, features, optimize=True)
        curvature /= steps * episodes
        self.curvature = curvature if self.curvature is None else 0.8 * self.curvature + 0.2 * curvature
        reach = np.einsum("kef,ke->f", features, rollout.speed) / (steps * episodes)
        size = len(gradient)
        scale = np.trace(self.curvature) / size * (RIDGE * np.eye(size) + SMOOTHING * self.roughness)
        step = rate * np.linalg.solve(self.curvature + self.config.penalty * np.outer(reach, reach) + scale, gradient)
        step *= min(1.0, MAX_CHANGE / max(1e-12, np.abs(features @ step).max()))
        self.policy.weights = self.policy.weights + step
        self.multiplier += 0.3 * rate * self.config.penalty * float(rollout.end.mean() - 1)

    def _mean_clock(self) -> tuple[np.ndarray, float]:
        """Distillation: the clock that the mean speed drives, normalised to end at 1; p (K + 1,) and p(1)."""
        steps = self.config.clock_nodes
        position, path = np.zeros(1), [0.0]
        for k in range(steps):
            known = self.policy.features(self.base.time(position), k / steps)
            position = position + self.policy.mean(position, known) / steps
            path.append(position[0])
        clock = np.array(path)
        return clock / clock[-1], float(clock[-1])

    def _record(self, iteration: int, clock: np.ndarray, end: float) -> TrainRecord:
        sigmas = self.bank.sigma_max * (1 - clock)
        sigmas[0], sigmas[-1] = self.bank.sigma_max, 0.0
        cost = grid_cost(self.bank, sigmas)
        provenance = {
            "method": "ART-RL", "config": dataclasses.asdict(self.config), "iterations_done": iteration,
            "objective": self.config.objective, "cost": cost, **describe_bank(self.bank),
        }
        return TrainRecord(iteration, cost, end, self.multiplier, self.env.calls, Schedule(sigmas, provenance))
