"""Recorded orbits at any sigma, as weights of what was recorded (docs/theory.md, section 7).

Samplers only ever add up predictions. So a sampler can be replayed without the predictions
themselves: every state is a row of N + 1 weights of (x at sigma_max, D at each of N nodes), and the
Gram matrix of those N + 1 vectors tells how long any such sum is.
"""

import functools
from collections.abc import Callable

import numpy as np

FINE = 8  # pieces that a cell between two nodes is read in


def _kept(method: Callable) -> Callable:
    """The method, which keeps its last answer: each step of a replay asks several times for the same sigmas."""
    @functools.wraps(method)
    def again(self, sigma: np.ndarray):
        key, (known, answer) = sigma.tobytes(), self.last.get(method, (None, None))
        if key != known:
            answer = method(self, sigma)
            self.last[method] = key, answer
        return answer

    return again


class Orbits:
    """Weights of the state and of the prediction on the orbits, at any sigma from sigma_max down to 0.

    sigmas: (N,) the nodes, descending. D is a cubic in ln sigma between nodes and stays as it is below
    the last one; the state is the exact solution of the ODE with that D.
    """

    def __init__(self, sigmas: np.ndarray):
        self.sigmas, self.size, self.last = sigmas, len(sigmas) + 1, {}
        logs = np.log(sigmas)
        share = np.arange(FINE) / FINE
        fine = np.append((logs[:-1, None] + share * np.diff(logs)[:, None]).ravel(), logs[-1])
        self.fine = np.exp(fine)  # (F,) descending
        self.log_fine = fine
        self.weights = np.zeros((len(fine), self.size))  # of D at the fine nodes
        self.weights[:, 1:] = _cubic(logs, fine)
        above, below = 1 / self.fine[:-1], 1 / self.fine[1:]
        late = _later_share(self.fine[:-1], self.fine[1:], self.fine[1:])
        pieces = (below - above - late)[:, None] * self.weights[:-1] + late[:, None] * self.weights[1:]
        # x/sigma = x_max/sigma_max + integral of D/s^2 ds, which is (1) of docs/theory.md solved for x
        self.scaled = np.concatenate([np.zeros((1, self.size)), np.cumsum(pieces, axis=0)])
        self.scaled[:, 0] += 1 / sigmas[0]

    @_kept
    def denoised(self, sigma: np.ndarray) -> np.ndarray:
        """Weights of D at `sigma` (E,); (E, N + 1)."""
        cell, share = self._find(sigma)
        before, after = (self._rows(self.weights, number) for number in (cell, cell + 1))
        return (1 - share)[:, None] * before + share[:, None] * after

    @_kept
    def state(self, sigma: np.ndarray) -> np.ndarray:
        """Weights of the state at `sigma` (E,), 0 included; (E, N + 1)."""
        inside = np.clip(sigma, self.sigmas[-1], self.sigmas[0])
        cell, _ = self._find(inside)
        top, bottom = self.fine[cell], self.fine[cell + 1]
        late = _later_share(top, bottom, inside)
        whole = 1 / inside - 1 / top
        scaled = self._rows(self.scaled, cell) + (whole - late)[:, None] * self._rows(self.weights, cell)
        scaled += late[:, None] * self._rows(self.weights, cell + 1)
        # Below the last node D stands still: a straight line to it.
        left = (sigma / inside)[:, None]
        return left * inside[:, None] * scaled + (1 - left) * self._rows(self.weights, np.full(len(sigma), -1))

    def _rows(self, table: np.ndarray, cell: np.ndarray) -> np.ndarray:
        """The rows of `weights` or `scaled` at some fine nodes (E,); (E, size)."""
        return table[cell]

    @_kept
    def _find(self, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The fine cell of each sigma and how far into it, in ln sigma, it lies; both (E,)."""
        logs = np.log(np.clip(sigma, self.sigmas[-1], self.sigmas[0]))
        cell = np.clip(np.searchsorted(-self.log_fine, -logs, side="right") - 1, 0, len(self.log_fine) - 2)
        share = (self.log_fine[cell] - logs) / (self.log_fine[cell] - self.log_fine[cell + 1])
        return cell, np.clip(share, 0.0, 1.0)


class BandOrbits(Orbits):
    """Orbits in each of F bands, as vectors whose squares sum to the square per element: sums need no Gram matrix.

    roots: (F, N + 1, R), each times its transpose the Gram matrix of a band. Of E sigmas every F-th is a band's: side
        by side in one replay they are far faster than in a replay for each.
    """

    def __init__(self, sigmas: np.ndarray, roots: np.ndarray):
        super().__init__(sigmas)
        self.size = roots.shape[2]
        self.weights, self.scaled = self.weights @ roots, self.scaled @ roots  # (F, fine nodes, R)

    def _rows(self, table: np.ndarray, cell: np.ndarray) -> np.ndarray:
        return table[np.arange(len(cell)) % len(table), cell]


def _later_share(top: np.ndarray, bottom: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Integral of u/s^2 ds from `sigma` to `top`, u going from 0 at top to 1 at bottom, straight in ln s."""
    return (np.log(top / sigma) / sigma - (1 / sigma - 1 / top)) / np.log(top / bottom)


def _cubic(knots: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weights (A, N) of the values at `knots` (N,) in their piecewise cubic at `at` (A,); both descending.

    Slopes at the knots are those of the parabola through the neighbours; it is exact for parabolas.
    """
    count, step = len(knots), np.diff(knots)
    slope = np.zeros((count, count))
    for i in range(1, count - 1):
        before, after = step[i - 1], step[i]
        slope[i, i - 1] = -after / (before * (before + after))
        slope[i, i + 1] = before / (after * (before + after))
        slope[i, i] = -slope[i, i - 1] - slope[i, i + 1]
    for end, inner in ((0, 1), (count - 1, count - 2)):
        slope[end, inner], slope[end, end] = 1 / (knots[inner] - knots[end]), -1 / (knots[inner] - knots[end])
        slope[end] = 2 * slope[end] - slope[inner]
    cell = np.clip(np.searchsorted(-knots, -at, side="right") - 1, 0, count - 2)
    u, h, each = (at - knots[cell]) / step[cell], step[cell], np.eye(count)
    columns = ((2 * u**3 - 3 * u**2 + 1, each[cell]), (-2 * u**3 + 3 * u**2, each[cell + 1]),
               ((u**3 - 2 * u**2 + u) * h, slope[cell]), ((u**3 - u**2) * h, slope[cell + 1]))
    return sum(factor[:, None] * rows for factor, rows in columns)
