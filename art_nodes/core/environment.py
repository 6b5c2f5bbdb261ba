"""What an episode of ART-RL runs in: orbits replayed from a bank.

Everything the learner sees is normalised (docs/theory.md, section 5): physical time
p = psi/T, clock time s = t/T, and q = |Q| scaled so that the optimal objective is 1.
"""

import numpy as np

from .bank import OrbitBank
from .clock import optimal_cost


class BankEnvironment:
    """Recorded orbits as an environment: any clock over them, without a model call.

    State of E parallel episodes: which orbit each one follows and where on it it is.
    Outside [0, 1] stiffness stays at its nearest value, so that an episode may overshoot.
    """

    def __init__(self, bank: OrbitBank):
        self.calls = bank.calls
        self.borders = 1 - bank.edges / bank.sigma_max  # (N + 1,) physical time, 0 to 1
        width = np.diff(self.borders)
        # J* = (int sqrt E|Q| dpsi)^2 / T in physical units; |Q| T / J* makes it 1 in (s, p)
        self.q = bank.stiffness * bank.sigma_max / optimal_cost(bank)  # (B, N)
        self.mean_q = self.q.mean(axis=0)
        self.total = _running_sum(self.q * width)
        # What is left to pay on this orbit, as a share of what an average orbit has left:
        # a function of x, since the ODE fixes the rest of an orbit.
        left = _running_sum((self.q / np.sqrt(self.mean_q) * width)[:, ::-1])[:, :0:-1]
        self.ahead = left / left.mean(axis=0)  # (B, N), at the start of each cell

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
        """What the critic knows of each episode's x: (E, 2), both 1 on an average orbit."""
        ratio = self.q[self.orbit, self.cell] / self.mean_q[self.cell]
        return np.stack([ratio, self.ahead[self.orbit, self.cell]], axis=1)

    def advance(self, position: np.ndarray) -> np.ndarray:
        """Move every episode to `position` (E,); returns the integral of q dp on the way, (E,)."""
        self.cell = np.clip(np.searchsorted(self.borders, position, side="right") - 1, 0, len(self.mean_q) - 1)
        into_cell = position - self.borders[self.cell]
        charged = self.total[self.orbit, self.cell] + self.q[self.orbit, self.cell] * into_cell
        cost = charged - self.charged
        self.position, self.charged = position, charged
        return cost


def _running_sum(values: np.ndarray) -> np.ndarray:
    """(B, N) -> (B, N + 1): cumulative sums along each row, from 0."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
