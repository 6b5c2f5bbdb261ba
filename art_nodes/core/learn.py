"""ART-RL: the continuous-time actor-critic that learns the clock (docs/theory.md, section 5)."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real

import numpy as np

from .actor_critic import ActorCritic
from .bank import OrbitBank
from .clock import steepness
from .environment import BankEnvironment, ReplayEnvironment
from .grids import edm_clock
from .live import LiveEnvironment, LiveModel
from .objectives import split_objective
from .policy import BaseClock
from .schedule import Schedule

WARM_UP = 5  # iterations in which only the critic learns
RENEW_EVERY = 10  # iterations between renewals of the base clock
RENEW_UNTIL, AVERAGE_FROM = 0.8, 0.5  # shares of the run
BUDGETS = ("feedback", "price")
NUMBERS = ("iterations", "episodes", "clock_nodes", "lam", "seed", "learning_rate", "trace", "penalty", "knots")
TRACED = 64  # steps of a clock, that `trace` is told for
# Straight steps cannot keep to a clock whose speed falls by more e-folds from one step to the next: over a range as
# wide as SVD's or that of models with zero terminal SNR, on data narrow against sigma_max, or of few nodes.
STEEP = 0.5


@dataclass(frozen=True)
class TrainConfig:
    """How to learn. The defaults reach 1.02 of the optimum of objective "euler" on every target of the tests."""

    iterations: int = 200  # actor-critic updates, >= 10
    episodes: int = 128  # parallel roll-outs in each, >= 2
    clock_nodes: int = 64  # steps of the clock that is learned, >= 8
    lam: float = 0.05  # temperature; sqrt(lam) is the policy's relative noise, 0.01 to 0.2
    seed: int = 0  # of the learner's own generator
    # What is charged: "euler" is the paper's |Q| theta^2; "residual:<sampler>" and "end:<sampler>" replay a sampler
    # of clock_nodes steps on a bank (core/objectives.py): set those to your number of steps, or take with_grids(...),
    # as ART Train does.
    objective: str = "euler"
    learning_rate: float = 0.5  # actor's first step as a share of a Newton step, in (0, 1]; annealed to 0
    # Decay of the lambda-returns, in [0, 1], in a 64th of a clock's time, or in a step of a replayed sampler; those
    # of a LiveModel run to the end.
    trace: float = 0.95
    # With budget "price": weight of (psi(T)/T - 1)^2 in units of the optimum, > 0. Large values make the
    # policy shun its own noise near the end and bias the clock.
    penalty: float = 4.0
    knots: int = 32  # hat functions that shape the speed over the clock, >= 4
    # What keeps the time budget: "feedback" on the time left, episode by episode, or "price", the paper's
    # multiplier alone.
    budget: str = "feedback"
    state_dependent: bool | None = None  # whether the actor sees x; None: on a LiveModel only

    def __post_init__(self):
        for name in NUMBERS:
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, Real):
                raise ValueError(f"{name} must be a number; got {value!r}; leave it out for the default")
        rules = [
            ("iterations", self.iterations >= 10, "at least 10", "200 is a good start"),
            ("episodes", self.episodes >= 2, "at least 2", "128 is a good start"),
            ("clock_nodes", self.least_nodes <= self.clock_nodes <= 1024, f"{self.least_nodes} to 1024",
             "64 is a good start, or the steps of the sampler that is replayed"),
            ("seed", self.seed >= 0, "0 or more", "any such whole number will do"),
            ("lam", 0 < self.lam <= 1, "in (0, 1]", "0.05 to 0.1 works"),
            ("learning_rate", 0 < self.learning_rate <= 1, "in (0, 1]", "0.5 works"),
            ("trace", 0 <= self.trace <= 1, "in [0, 1]", "0.95 works"),
            ("penalty", 0 < self.penalty < np.inf, "finite and > 0", "4 works"),
            ("knots", 4 <= self.knots <= 256, "4 to 256", "32 works"),
            ("budget", self.budget in BUDGETS, "'feedback' or 'price'", "'feedback' is the more accurate"),
            ("state_dependent", self.state_dependent in (None, True, False), "True, False or None", "None suits most"),
        ]
        split_objective(self.objective)
        for name, holds, rule, way_out in rules:
            if not holds:
                raise ValueError(f"{name} must be {rule}; got {getattr(self, name)!r}; {way_out}")
        for name in ("iterations", "episodes", "clock_nodes", "knots", "seed"):
            if getattr(self, name) % 1:
                raise ValueError(f"{name} must be a whole number; got {getattr(self, name)!r}; round it")
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def trace_of_step(self) -> float:
        """The decay of the lambda-returns in one of the clock's steps."""
        return self.trace ** (TRACED / self.clock_nodes) if self.objective == "euler" else self.trace

    @property
    def least_nodes(self) -> int:
        """The fewest clock_nodes: 8 for a clock that is to be read at any number of steps, else 2."""
        return 8 if self.objective == "euler" else 2


@dataclass(frozen=True)
class TrainRecord:
    """Where learning stands after an iteration."""

    iteration: int  # updates done
    cost: float  # objective of the current mean clock as a multiple of the optimum (1 is best)
    end_point: float  # psi(T)/T of the mean clock before it is normalised to 1; with feedback near 1
    multiplier: float  # gamma, in normalised units; moves with budget "price" only
    calls: int  # model calls so far, each over a whole batch
    schedule: Schedule


def learn(env: OrbitBank | LiveModel, config: TrainConfig | None = None) -> Iterator[TrainRecord]:
    """Learn a clock on recorded orbits or on a live model; yields a record after every iteration.

    The same env, config and seed give the same schedule. On a LiveModel each iteration takes clock_nodes + 1 model
    calls of `episodes` samples, twice as many with stiffness "jvp", and cost and optimum are those of the E|Q| seen so
    far. Raises ValueError for an `env` that is neither, and for an objective that replays a sampler
    without a bank to replay it on.
    """
    config = config or TrainConfig()
    if not isinstance(config, TrainConfig):
        raise ValueError(f"config must be a TrainConfig; got {type(config).__name__}; "
                         "write TrainConfig(iterations=200)")
    if not isinstance(env, OrbitBank | LiveModel):
        raise ValueError(f"learn needs an OrbitBank or a LiveModel; got {type(env).__name__}; "
                         "record a bank with record_orbits(...)")
    if config.objective != "euler" and isinstance(env, LiveModel):
        raise ValueError(f"objective {config.objective} is replayed on recorded orbits; got a LiveModel; "
                         "record a bank with record_orbits(...), or use objective 'euler'")
    return run(prepare(env, config))


def learn_schedule(env: OrbitBank | LiveModel, config: TrainConfig | None = None,
                   progress: Callable[[TrainRecord], None] | None = None) -> Schedule:
    """Run `learn` to its end and return the last schedule; `progress` sees every record."""
    for record in learn(env, config):
        if progress is not None:
            progress(record)
    return record.schedule


def prepare(env: OrbitBank | LiveModel, config: TrainConfig) -> ActorCritic:
    """An untrained actor-critic in the environment of a bank or of a live model."""
    clock = edm_clock(env.sigma_max, env.sigma_min, config.clock_nodes)
    if isinstance(env, LiveModel):
        world = LiveEnvironment(env, config.seed)
        world.survey(clock, config.episodes)
    elif config.objective == "euler":
        world = BankEnvironment(env)
    else:
        world = ReplayEnvironment(env, config.objective, config.clock_nodes)
    stepwise = config.objective != "euler"
    sees_state = world.sees_state if config.state_dependent is None else config.state_dependent
    seen = world.bank() if isinstance(env, LiveModel) else env
    curved = not stepwise and steepness(seen, config.clock_nodes) > STEEP
    return ActorCritic(world, config, BaseClock(clock, stepwise, curved), sees_state)


def run(learner: ActorCritic) -> Iterator[TrainRecord]:
    """One update and one record an iteration."""
    config = learner.config
    averaged, clocks, best = np.zeros(config.clock_nodes + 1), 0, None
    for i in range(config.iterations):
        done = i / config.iterations
        rollout = learner.roll_out()
        advantage = learner.evaluate(rollout, rate=max(0.1, 1 / (i + 1)))
        if i >= WARM_UP:
            learner.improve(rollout, advantage, config.learning_rate * min(1.0, 2 * (1 - done)))
        clock, end = learner.mean_clock(rollout)
        if done >= AVERAGE_FROM:
            averaged, clocks = averaged + clock, clocks + 1
        record = _record(learner, i + 1, averaged / clocks if clocks else clock, end)
        # A few long steps can be thrown off by one bad update; the best mean clock so far is kept.
        if learner.base.stepwise and best is not None and best.cost < record.cost:
            record = dataclasses.replace(record, cost=best.cost, schedule=best.schedule)
        best = record
        yield record
        if i >= WARM_UP and i % RENEW_EVERY == 0 and done < RENEW_UNTIL:
            learner.renew_base()


def _record(learner: ActorCritic, iteration: int, clock: np.ndarray, end: float) -> TrainRecord:
    env, config = learner.env, learner.config
    sigmas = env.sigma_max * (1 - clock)
    sigmas[0], sigmas[-1] = env.sigma_max, 0.0
    cost = env.cost(sigmas)
    provenance = {
        "method": "ART-RL", "config": dataclasses.asdict(config), "iterations_done": iteration,
        "objective": config.objective, "cost": cost, **env.describe(),
    }
    return TrainRecord(iteration, cost, end, learner.multiplier, env.calls, Schedule(sigmas, provenance))
