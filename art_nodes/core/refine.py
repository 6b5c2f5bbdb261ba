"""The best grid for a given number of steps, by descent of an exact-step objective."""

from collections.abc import Callable, Generator, Iterable

import numpy as np

from .bank import OrbitBank
from .checks import check_steps
from .clock import optimal_clock, read_clock
from .dynamic import best_on_nodes, solvable
from .grids import edm_clock, hats
from .objectives import SamplerError
from .samplers import REPLAYS

# Step counts that schedules hold a grid for; others read the nearest one as a clock.
REFINED_STEPS = (3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30)
DIFFERENCE = 1e-4  # of ln step length, for derivatives by central differences
ROUNDS, ENOUGH = 80, 1e-6  # of BFGS; stop when a round gains less than this share
# Of a step, as ln of its e-folds of sigma: at the top of a flow's range, which ends at 1, they are few.
SHORTEST, LONGEST = np.log(1e-3), np.log(8.0)
LARGEST_MOVE = 0.5  # of any ln step length in one round
SHARES = np.array([1.0, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3, 1e-4])  # of a move, all tried at once
# A sampler that looks back carries its predictions on along the last step. After a tiny one it would carry on
# differences that a real model's ripples and rounding rule: in e-folds a step may be so many times the one before.
MOST_GROWTH = 3.0
PENALTY = 3.0  # of the rules that grids keep to

Descent = Generator[np.ndarray, np.ndarray, tuple[float, np.ndarray]]


def best_grid(error: SamplerError, steps: int, also: Iterable = (), freedom: int | None = None) -> np.ndarray:
    """The best grid (K + 1,) of `steps` steps that is found: descent from several starts and from those in `also`.

    The objective has many shallow minima, since trained models ripple in sigma. Starts are the closed form, EDM's
    and a geometric grid, and for a sum over steps the best grid of nodes.
    freedom: of how many hat functions the ln step lengths are made up; None for a length of its own for each step.
    """
    bank = error.bank
    high, low = bank.sigma_max, bank.sigma_min
    starts = [optimal_clock(bank, steps), high * (1 - edm_clock(high, low, steps)),
              np.append(np.geomspace(high, 3 * low, steps), 0.0), *also]
    if solvable(error) and steps <= len(bank.sigmas):
        starts.append(best_on_nodes(error, steps))
    return refine(error, starts, freedom)


def refined_grids(bank: OrbitBank, objective: str, steps: Iterable[int] = REFINED_STEPS,
                  progress: Callable[[int, int], None] | None = None, growth: float | None = None,
                  check: Callable[[], None] = lambda: None) -> dict[int, np.ndarray]:
    """The best grid (K + 1,) for each number of steps; no model call.

    Numbers of steps above half the bank's nodes are left out: a recording cannot tell steps shorter than that.
    objective: any of core/objectives.py but "euler".
    progress: called as progress(grids done, grids in all).
    growth, check: as for `SamplerError`.
    Raises ValueError for another objective, for no numbers of steps, such that are none, or all above half the nodes,
    or a bank that lacks the predictions' inner products.
    """
    error, grids = SamplerError(bank, objective, growth=growth, check=check), {}
    steps, most = {check_steps(count) for count in _listed(steps)}, len(bank.sigmas) // 2
    if not steps:
        raise ValueError("steps must be one number of steps or more; got none; leave it out for the usual ones")
    if min(steps) > most:
        raise ValueError(f"steps must be at most half the recorded nodes, here {most}; got {sorted(steps)}; record "
                         "more nodes, or read the clock at that many")
    steps = sorted(count for count in steps if count <= most)
    for done, count in enumerate(steps):
        near = [read_clock(grid, np.linspace(0, 1, count + 1)) for grid in list(grids.values())[-1:]]
        grids[count] = best_grid(error, count, near)
        if progress is not None:
            progress(done + 1, len(steps))
    return grids


def _listed(steps: Iterable[int]) -> list[int]:
    """Numbers of steps as a list; ValueError for one number alone."""
    if not isinstance(steps, Iterable):
        raise ValueError(f"steps must be a list of numbers of steps; got {steps!r}; write ({steps!r},)")
    return list(steps)


def refine(error: SamplerError, grids, freedom: int | None = None) -> np.ndarray:
    """The grid (K + 1,) with the least objective that descent finds from any of `grids`, each (K + 1,).

    freedom: as for `best_grid`.
    """
    starts = [np.array(grid, dtype=float) for grid in grids]
    for grid in starts:
        grid[0] = error.bank.sigma_max
    growth = MOST_GROWTH if error.is_square and REPLAYS[error.sampler].memory > 0 else np.inf
    return descend(lambda grids: error(grids) * _guard(grids, error.bank.sigma_min, growth), starts, freedom)


def _guard(grids: np.ndarray, least: float, growth: float) -> np.ndarray:
    """Factor >= 1 for grids (G, K + 1) with sigmas below `least`, or steps `growth` times the one before; (G,).

    Below the recorded range the model was never asked. The last step, to 0, has no length.
    """
    low = np.maximum(np.log(least / grids[:, 1:-1]), 0.0)
    lengths = np.log(grids[:, :-2] / grids[:, 1:-1])
    leap = np.maximum(np.log(lengths[:, 1:] / lengths[:, :-1] / growth), 0.0) if np.isfinite(growth) else 0.0 * low
    return 1 + PENALTY * ((low**2).sum(axis=1) + (leap**2).sum(axis=1))


def descend(function: Callable[[np.ndarray], np.ndarray], starts: Iterable[np.ndarray],
            freedom: int | None = None) -> np.ndarray:
    """The grid (K + 1,) where `function` of grids, (G, K + 1) -> (G,) > 0, is least, by descent from each start.

    Coordinates are ln ln(sigma_i / sigma_{i+1}), so grids stay in order; the ends stay at the first start's
    sigma and at 0. freedom: as for `best_grid`.
    """
    starts = list(starts)
    top = float(starts[0][0])
    if len(starts[0]) == 2:  # one step
        return np.array([top, 0.0])
    length = len(starts[0]) - 2
    modes = hats(np.linspace(0, 1, length), min(freedom or length, length)).T  # (F, K - 1)
    descents = [_descent(np.linalg.lstsq(modes.T, lengths_of(grid, top), rcond=None)[0]) for grid in starts]
    ends = _side_by_side(lambda z: np.log(np.maximum(function(grids_of(z @ modes, top)), 1e-300)), descents)
    return grids_of((min(ends, key=lambda end: end[0])[1] @ modes)[None], top)[0]


def lengths_of(grid: np.ndarray, top: float) -> np.ndarray:
    """(K + 1,) sigmas -> (K - 1,) coordinates; the last step, to 0, has none."""
    inner = np.append(top, np.minimum(grid[1:-1], 0.999 * top))
    return np.clip(np.log(np.maximum(np.log(inner[:-1] / inner[1:]), 1e-9)), SHORTEST, LONGEST)


def grids_of(lengths: np.ndarray, top: float) -> np.ndarray:
    """(G, K - 1) coordinates -> (G, K + 1) sigmas."""
    falls = np.cumsum(np.exp(within_limits(lengths)), axis=1)
    count = len(lengths)
    return np.concatenate([np.full((count, 1), top), top * np.exp(-falls), np.zeros((count, 1))], axis=1)


def within_limits(lengths: np.ndarray) -> np.ndarray:
    """Coordinates of steps that are neither shorter nor longer than a grid may have; any shape."""
    return np.clip(lengths, SHORTEST, LONGEST)


def _side_by_side(function, descents: list[Descent]) -> list[tuple[float, np.ndarray]]:
    """What descents return that ask for a function's values, (G, D) -> (G,): all at once, far faster than in turn."""
    asked, ends = {which: next(descents[which]) for which in range(len(descents))}, {}
    while asked:
        told = function(np.concatenate(list(asked.values())))
        parts = np.split(told, np.cumsum([len(points) for points in asked.values()])[:-1])
        for which, values in zip(list(asked), parts, strict=True):
            try:
                asked[which] = descents[which].send(values)
            except StopIteration as end:
                ends[which] = end.value
                del asked[which]
    return [ends[which] for which in range(len(descents))]


def _descent(z: np.ndarray) -> Descent:
    """BFGS from `z` (D,): yields points (G, D), is sent the function's values there, returns the least and its place.
    """
    value, slope = yield from _slope(z)
    inverse = np.eye(len(z)) / max(1.0, np.abs(slope).max())
    for _ in range(ROUNDS):
        move = -inverse @ slope
        if move @ slope >= 0:
            inverse, move = np.eye(len(z)) / max(1.0, np.abs(slope).max()), -slope
        move *= min(1.0, LARGEST_MOVE / max(1e-12, np.abs(move).max()))
        values = yield z + SHARES[:, None] * move
        best = int(values.argmin())
        if not values[best] < value - ENOUGH:
            break
        moved = SHARES[best] * move
        z = within_limits(z + moved)
        value, fresh = yield from _slope(z)
        turned, slope = fresh - slope, fresh
        along = turned @ moved
        if along > 1e-10 * np.linalg.norm(turned) * np.linalg.norm(moved):
            left = np.eye(len(z)) - np.outer(moved, turned) / along
            inverse = left @ inverse @ left.T + np.outer(moved, moved) / along
    return value, z


def _slope(z: np.ndarray) -> Generator[np.ndarray, np.ndarray, tuple[float, np.ndarray]]:
    """Value and gradient by central differences; yields and is sent what `_descent` is."""
    shift = DIFFERENCE * np.eye(len(z))
    values = yield np.concatenate([z[None], z + shift, z - shift])
    return float(values[0]), (values[1:len(z) + 1] - values[len(z) + 1:]) / (2 * DIFFERENCE)
