"""The best grid of recorded nodes, by dynamic programming: exact where steps are charged one by one."""

import numpy as np

from .objectives import NormLedger, SamplerError
from .samplers import REPLAYS

AT_ONCE = 1 << 14  # steps that are replayed together: a long recording has hundreds of thousands
MOST_PAIRS = 65  # nodes, 0 among them, that triples are made of: each needs a replay at once


def solvable(error: SamplerError) -> bool:
    """Whether `best_on_nodes` can take it."""
    return error.kind == "residual" and REPLAYS[error.sampler].memory <= 1


def best_on_nodes(error: SamplerError, steps: int) -> np.ndarray:
    """The grid (K + 1,) of recorded nodes whose steps leave the least sum of E|r|, by dynamic programming.

    Exact for one-step samplers. A two-step sampler is solved over pairs of nodes, of a long recording every second
    one or fewer: what a step leaves depends on the node before. Raises ValueError for an objective that is no sum
    over steps, or more steps than nodes.
    """
    if error.kind != "residual":
        raise ValueError(f"dynamic programming needs an objective that is a sum over steps; got {error.kind}:"
                         f"{error.sampler}; use residual:{error.sampler}")
    if not solvable(error):
        raise ValueError(f"dynamic programming needs a sampler that looks back one step at most; got {error.sampler}; "
                         f"use best_grid, which descends")
    sigmas = np.append(error.bank.sigmas, 0.0)
    if not 1 <= steps < len(sigmas):
        raise ValueError(f"steps must be 1 to {len(sigmas) - 1}, the number of nodes; got {steps}; record more nodes")
    memory = REPLAYS[error.sampler].memory
    most = len(sigmas) if memory == 0 else min(len(sigmas), max(MOST_PAIRS, steps + 1))
    index = np.linspace(0, len(sigmas) - 1, most).round().astype(int)
    first = _step_costs(error, index, 2)
    path = (shortest_path(first, steps) if memory == 0 else
            _shortest_pair_path(first, _step_costs(error, index, 3), steps))
    return sigmas[index[path]]


def shortest_path(cost: np.ndarray, steps: int) -> list[int]:
    """Nodes from the first to the last in `steps` moves with the least sum of cost (M, M), inf where impossible."""
    least, come_from = np.full(len(cost), np.inf), []
    least[0] = 0.0
    for _ in range(steps):
        total = least[:, None] + cost
        come_from.append(total.argmin(axis=0))
        least = total.min(axis=0)
    path = [len(cost) - 1]
    for origin in reversed(come_from):
        path.append(int(origin[path[-1]]))
    return path[::-1]


def _shortest_pair_path(first: np.ndarray, later: np.ndarray, steps: int) -> list[int]:
    """The same where a move's cost depends on the node before: later (before, from, to), first (from, to)."""
    size = len(first)
    if steps == 1:
        return [0, size - 1]
    least = np.full((size, size), np.inf)  # (before, here)
    least[0] = first[0]
    come_from = []
    for _ in range(steps - 1):
        total = least[:, :, None] + later
        come_from.append(total.argmin(axis=0))  # (here, next) -> before
        least = total.min(axis=0)
    path = [size - 1, int(least[:, -1].argmin())]
    for origin in reversed(come_from):
        path.append(int(origin[path[-1], path[-2]]))
    return path[::-1]


def _step_costs(error: SamplerError, index: np.ndarray, length: int) -> np.ndarray:
    """E|r| of the last step of every way along `length` of the nodes `index`, (M, ...); inf where it does not descend.

    It does not depend on the number of steps, so an objective keeps it, of the last `index` that there was.
    """
    known, costs = error.kept.get(length, (None, None))
    if not np.array_equal(known, index):
        costs = _ways(error, np.meshgrid(*[index] * length, indexing="ij"))
        error.kept[length] = index, costs
    return costs


def _ways(error: SamplerError, nodes: list[np.ndarray]) -> np.ndarray:
    """The same along `nodes`, arrays of indices of one shape."""
    sigmas = np.append(error.bank.sigmas, 0.0)
    cost = np.full(nodes[0].shape, np.inf)
    valid = np.all([a < b for a, b in zip(nodes[:-1], nodes[1:], strict=True)], axis=0)
    way = np.stack([sigmas[index[valid]] for index in nodes])
    found = [_mean_norms(error, way[:, first:first + AT_ONCE]) for first in range(0, way.shape[1], AT_ONCE)]
    cost[valid] = np.concatenate(found)
    return cost


def _mean_norms(error: SamplerError, way: np.ndarray) -> np.ndarray:
    """E|r| of the last steps along E ways (nodes, E) of sigma, each begun on the orbits; (E,)."""
    error.check()
    runs = REPLAYS[error.sampler](error.orbits, way[0], on_orbit=True)
    for there in way[1:]:
        residual = runs.step(there)
    return np.mean([NormLedger(gram).charge(residual, way[-2], way[-1]) for gram in error.bank.gram], axis=0)
