"""What an episode of ART-RL runs in: orbits replayed from a bank.

Everything the learner sees is normalised (docs/theory.md, section 5): physical time
p = psi/T, clock time s = t/T, and q = |Q| scaled so that the optimal objective is 1.
"""

import numpy as np

from .bank import OrbitBank
from .clock import grid_cost, optimal_cost
from .objectives import SamplerError
from .optimal import describe_bank
from .refine import best_grid
from .samplers import REPLAYS

# Times the average: what the critic and the actor are told of an orbit goes no further, and rare orbits
# do not run away with the policy.
LEAST_KNOWN, MOST_KNOWN = 0.1, 4.0
# An episode that would stand still, or be at 0 too early, is moved by a hair: samplers want sigmas that descend.
SHORTEST_STEP, LOWEST = 0.999, 0.5
# What a sampler's steps leave is far from quadratic in their lengths, and residuals cancel: exploration keeps
# closer to the mean than for |Q| theta^2, and the actor's steps are shorter by its order squared, too.
STEEPNESS, CURVING = 200.0, 3.0


class BankEnvironment:
    """Recorded orbits as an environment: any clock over them, without a model call.

    State of E parallel episodes: which orbit each one follows and where on it it is.
    Outside [0, 1] stiffness stays at its nearest value, so that an episode may overshoot.
    """

    knows = 2  # numbers that `outlook` and `state` tell of x
    sees_state = False  # whether the actor is shown x by default
    foresees = True  # what is known of x includes the way ahead
    # By how much less the policy explores, and by how much more the charge is taken to curve, than with |Q| theta^2.
    steepness = curving = 1.0

    def __init__(self, bank: OrbitBank):
        self.bank, self.calls = bank, bank.calls
        self.sigma_max, self.sigma_min = bank.sigma_max, bank.sigma_min
        self.borders = 1 - bank.edges / bank.sigma_max  # (N + 1,) physical time, 0 to 1
        width = np.diff(self.borders)
        # J* = (int sqrt E|Q| dpsi)^2 / T in physical units; |Q| T / J* makes it 1 in (s, p)
        self.q = bank.stiffness * bank.sigma_max / optimal_cost(bank)  # (B, N)
        self.mean_q = self.q.mean(axis=0)
        self.total = _running_sum(self.q * width)
        # What is left of the way on this orbit, as its own optimal clock would measure it, over what is
        # left on an average orbit: a function of x, since the ODE fixes the rest of an orbit.
        left = _running_sum((np.sqrt(self.q) * width)[:, ::-1])[:, :0:-1]
        self.ahead = left / left.mean(axis=0)  # (B, N), at the start of each cell
        self.known = np.minimum(np.stack([self.q / self.mean_q, self.ahead]), MOST_KNOWN)  # (2, B, N)
        logs = np.log(np.maximum(self.known, LEAST_KNOWN))
        self.log_known = logs - logs.mean(axis=1, keepdims=True)

    @property
    def end_stiffness(self) -> float:
        """E q at sigma 0."""
        return float(self.mean_q[-1])

    def start(self, episodes: int, rng: np.random.Generator) -> None:
        """Put E episodes at p = 0 in pairs on the same orbit, spread evenly over the recorded orbits."""
        pairs = -(-episodes // 2)
        orbit = rng.permutation(len(self.q))[np.arange(pairs) % len(self.q)]
        self.orbit = np.concatenate([orbit, orbit])[:episodes]
        self.position, self.charged = np.zeros(episodes), np.zeros(episodes)
        self.cell = np.zeros(episodes, dtype=int)

    def stiffness(self) -> tuple[np.ndarray, np.ndarray]:
        """q of each episode's own orbit where it stands, and E q there; both (E,)."""
        return self.q[self.orbit, self.cell], self.mean_q[self.cell]

    def outlook(self) -> np.ndarray:
        """What the critic knows of each episode's x: |Q| and the way ahead, (E, 2), both 1 on an average orbit."""
        return self.known[:, self.orbit, self.cell].T

    def state(self) -> np.ndarray:
        """What an actor that sees x is shown: logarithms of the outlook less their mean over orbits; (E, 2)."""
        return self.log_known[:, self.orbit, self.cell].T

    def advance(self, position: np.ndarray, duration: float) -> np.ndarray:
        """Move every episode to `position` (E,) in `duration` of clock time; returns what that costs, (E,)."""
        self.cell = np.clip(np.searchsorted(self.borders, position, side="right") - 1, 0, len(self.mean_q) - 1)
        into_cell = position - self.borders[self.cell]
        charged = self.total[self.orbit, self.cell] + self.q[self.orbit, self.cell] * into_cell
        # eq. (4): the integral of |Q|, not its left value, which one giant first step would exploit
        cost = (position - self.position) / duration * (charged - self.charged)
        self.position, self.charged = position, charged
        return cost

    def finish(self) -> None:
        """The episodes are over; a bank learns nothing from them."""

    def cost(self, sigmas: np.ndarray) -> float:
        """J of a grid (K + 1,) as a multiple of J*."""
        return grid_cost(self.bank, sigmas)

    def describe(self) -> dict:
        """What the provenance of a schedule says about this environment."""
        return describe_bank(self.bank)


class ReplayEnvironment(BankEnvironment):
    """Recorded orbits on which a sampler is replayed: an episode is one run, charged by what its steps leave.

    Costs are in units of the best grid for as many steps: its end error squared, or its sum of norms.
    """

    foresees = False  # nothing is told of the errors that are on their way

    def __init__(self, bank: OrbitBank, objective: str, steps: int):
        super().__init__(bank)
        self.error, self.steps = SamplerError(bank, objective), steps
        self.steepness = STEEPNESS
        self.curving = CURVING * REPLAYS[self.error.sampler].order ** 2
        self.optimum = float(self.error(best_grid(self.error, steps)[None])[0])
        if not self.optimum > 0:
            raise ValueError("orbits must change on their way to say anything of a sampler; got predictions that are "
                             f"constant, or not finite; record them on a trained model; objective {objective}")

    def start(self, episodes: int, rng: np.random.Generator) -> None:
        """The same, and a run of the sampler for each episode."""
        super().start(episodes, rng)
        self.runs = self.error.replay(episodes, self.steps)
        self.ledger = self.error.ledger(self.error.bank.gram[self.orbit])
        self.left = self.steps

    def advance(self, position: np.ndarray, duration: float) -> np.ndarray:
        """One step of the sampler, the last one to 0; returns what it leaves, (E,), may be negative."""
        super().advance(position, duration)
        self.left -= 1
        here = self.runs.sigma
        there = np.minimum(self.sigma_max * (1 - position), SHORTEST_STEP * here)
        floor = LOWEST ** (self.steps - self.left) * self.sigma_min
        there = np.maximum(there, floor) if self.left else np.zeros_like(here)
        charge = self.ledger.charge(self.runs.step(there), here, there)
        return charge / self.optimum ** (2 if self.error.is_square else 1)

    def cost(self, sigmas: np.ndarray) -> float:
        """The objective of a grid of as many steps, as a multiple of the best one's."""
        return float(self.error(np.asarray(sigmas)[None])[0]) / self.optimum

    def describe(self) -> dict:
        """What the provenance of a schedule says about this environment."""
        return {**super().describe(), "replayed_steps": self.steps}


def _running_sum(values: np.ndarray) -> np.ndarray:
    """(B, N) -> (B, N + 1): cumulative sums along each row, from 0."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
