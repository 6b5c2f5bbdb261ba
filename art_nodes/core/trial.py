"""Grids tried on the model itself: the best of several, improved, within a budget of model calls.

A recording foretells where a sampler ends; only the sampler knows. Candidates run on some recorded orbits, whose
ends are known, and half of them drop out each round. Gauss-Newton then improves the best: what a run returns is not
one number but the whole error of the picture, and every element of it says in which direction to move
(docs/theory.md, section 8).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
import torch

from .adams import ORDER, Adams
from .bank import OrbitBank
from .checks import check_noise, check_step_grid
from .clock import STARTS_ALIKE
from .compare import Counted, Solver, find_solver, start_states
from .exact import Denoiser
from .grids import hats
from .objectives import SamplerError
from .record import kept_elements
from .refine import LARGEST_MOVE, grids_of, lengths_of, within_limits
from .replay import Replay

CHOOSING = 0.5  # share of the budget for choosing, where the rest improves what was chosen
CHANCE = 0.05  # of calling a grid better than another that is no better
LEAST_ORBITS = 2  # that anything is judged on
MOST_JUDGED, MOST_FITTED = 16, 16  # orbits that candidates are judged on, and that the improvement is fitted to
LEAST_POOLED, MOST_POOLED = 8, 64  # that candidates are judged on where what counts is an average over orbits
TRUSTED = 2 / 3  # share of what choosing may spend, at most, for choosing among grids that need no proof
ENOUGH_TO_DROP = 4  # orbits, before one of those is dropped
ENOUGH_FITTED = 4  # orbits, before a second round is worth more than further ones
UNSEEN = 3  # one batch in so many is kept to judge the improvement on; MOST_JUDGED orbits do where that takes too much
SAME_NOISE = 1e-3  # relative difference of the squares of noise that counts as the same
CLEAR = 2.0  # times the error of the recorded ends themselves: smaller errors cannot be told apart
MODES = 6  # hat functions over the steps that the improvement moves
ROUNDS, ATTEMPTS = 4, 4  # of Gauss-Newton, and of its damping in each
MOST_TOGETHER = 4  # orbits that run together, if nothing else is said
STARTS = 3  # trusted candidates that are improved, one after another, until one gets better than the best
# A nudge of ln step length for a derivative: small, since orbits may flip to another picture, and far above rounding.
NUDGE = 0.04
DAMPING, LEAST_DAMPING, TIGHTEN, RELAX = 0.03, 1e-3, 8.0, 5.0


class Runs(Protocol):
    """A sampler on recorded orbits of a model, in batches that it samples as a whole."""

    sizes: Sequence[int]  # orbits of each batch
    floor: float  # RMS error of the recorded ends that errors are measured against
    # Not needed; where an average over orbits counts and not each orbit: (n, elements) errors -> (elements,) of all.
    pool: Callable[[np.ndarray], np.ndarray] | None

    def calls(self, steps: int) -> int:
        """Model calls of one sample on a grid of `steps` steps."""

    def errors(self, grid: np.ndarray, batch: int) -> np.ndarray:
        """End minus solution of a batch's orbits, on a grid (K + 1,); (sizes[batch], elements)."""


class SolverRuns:
    """A solver on the orbits of `record_orbits(denoiser, noise, ...)`, without a host.

    noise (B, ...) is what was recorded from; solver one of compare.SOLVERS or a function like them; batch: orbits
    that run together, by default 4, of few orbits fewer, since some are kept to judge by. Raises ValueError for a bank
    without ends or of other orbits, for an unknown solver, and for a batch of none.
    """

    def __init__(self, denoiser: Denoiser, noise: torch.Tensor, bank: OrbitBank, solver: str | Solver = "euler",
                 batch: int | None = None):
        if bank.ends is None or bank.ends.shape != check_noise(noise).flatten(1).shape:
            raise ValueError("a trial needs the bank that was just recorded from this noise (its ends are not kept in "
                             f"files); got {'no ends' if bank.ends is None else bank.ends.shape} for noise "
                             f"{tuple(noise.shape)}; record it with record_orbits(...)")
        self.kept = kept_elements(noise[0].numel())
        kept = noise.detach().flatten(1)[:, self.kept].cpu().double()
        if not np.allclose(kept.square().mean(dim=1).numpy(), bank.gram[:, 0, 0], rtol=SAME_NOISE):
            raise ValueError("a trial needs the noise that the bank was recorded from, scaled by sigma_max; got other "
                             "noise of that shape; pass what record_orbits was given")
        batch = max(1, min(MOST_TOGETHER, len(noise) // UNSEEN)) if batch is None else batch
        if not isinstance(batch, int | np.integer) or batch < 1:
            raise ValueError(f"batch must be a whole number of at least 1; got {batch!r}; leave it out for the default")
        noise = start_states(noise)
        self.denoiser, self.noise, self.solver = denoiser, noise.split(batch), find_solver(solver)
        self.sizes, self.ends = [len(part) for part in self.noise], np.split(bank.ends, range(batch, len(noise), batch))
        self.floor, self.top = ends_error(bank), bank.sigma_max

    def calls(self, steps: int) -> int:
        """Counted on a denoiser that answers 0."""
        counted, one = Counted(lambda x, sigma: torch.zeros_like(x)), torch.ones_like(self.noise[0][:1])
        self.solver(counted, one, torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64))
        return counted.calls

    @torch.no_grad()
    def errors(self, grid: np.ndarray, batch: int) -> np.ndarray:
        """As `Runs.errors`; ValueError for a grid that does not start where the noise does."""
        if abs(grid[0] / self.top - 1) > STARTS_ALIKE:
            raise ValueError(f"grids must start at the sigma of the recorded noise, {self.top:g}; got {grid[0]:g}; "
                             "pass sigma_max to .sigmas(...)")
        end = self.solver(Counted(self.denoiser), self.noise[batch].clone(), torch.from_numpy(np.asarray(grid, float)))
        # Of a large sample as many elements as a bank keeps: all errors of a trial stay in memory.
        return (end.flatten(1).cpu().double() - torch.from_numpy(self.ends[batch]))[:, self.kept].float().numpy()


@dataclass(frozen=True)
class Tried:
    """What a trial found.

    grid: (K + 1,) float64. name: of the candidate that it is or that it was improved from.
    ratio: mean error of the grid over that of the best candidate, on orbits that it was not fitted to; 1 where that
        stayed as it is.
    sample_calls: what was spent, at most the budget.
    """

    grid: np.ndarray
    name: str
    ratio: float
    sample_calls: int


def try_grids(runs: Runs, candidates: Mapping[str, np.ndarray], budget: int = 512, improve: bool = True,
              trusted: int = 1) -> Tried:
    """The best of some grids of K steps by the sampler's own end error, improved as far as the budget goes.

    candidates: name -> (K + 1,) sigmas, all from the same sigma to 0, the most trusted first. Where the budget
        cannot try all, the first ones are tried.
    budget: sample calls, the sum over runs of samples times calls. Too small a one tries nothing.
    improve: whether the best is improved, or only chosen; where runs pool their errors it is only chosen.
    trusted: how many of the first need no proof: the best of these stays unless another is better beyond chance.
    Errors are means over orbits of RMS errors: a few orbits that flip to another picture rule an RMS over orbits.
    Errors below twice `runs.floor` are left as they are: a recording of more nodes tells more.
    Where runs pool their errors all orbits judge at once, and whichever candidate is best stays.
    Raises ValueError without a candidate, for one that does not fall to 0, or where they differ in their first sigma
    or number of steps.
    """
    if not isinstance(candidates, Mapping):
        raise ValueError(f"candidates must be grids by name; got {type(candidates).__name__}; "
                         "write {'mine': schedule.sigmas(10)}")
    grids = {name: check_step_grid(grid, f"candidate {name!r}") for name, grid in candidates.items()}
    if len({len(grid) for grid in grids.values()}) != 1:
        raise ValueError("candidates must be grids of one number of steps; "
                         f"got {[len(grid) - 1 for grid in grids.values()]} steps; give at least one")
    tops = [grid[0] for grid in grids.values()]
    if max(tops) > (1 + STARTS_ALIKE) * min(tops):
        raise ValueError(f"candidates must start at the same sigma; got {tops}; pass sigma_max to .sigmas(...)")
    purse = _Purse(runs, budget)
    improve = improve and purse.pool is None
    names, others = _choose(purse, grids, max(1, trusted), CHOOSING if improve else 1.0)
    if not improve:
        return Tried(grids[names[0]], names[0], 1.0, purse.spent)
    name, grid, ratio = _improved(purse, grids, names[:STARTS], others[:1])
    return Tried(grid, name, ratio, purse.spent)


def ends_error(bank: OrbitBank, kind: str = "end") -> float:
    """RMS error of where a bank's orbits end, as foretold: an eighth of what twice the spacing of nodes would leave.

    Against a solution that leaps from the last node to 0 likewise. The recording's scheme is of third order.
    kind: "end", or "detail" for value and slope.
    """
    every_other = np.append(bank.sigmas[:-1:2], [bank.sigmas[-1], 0.0])
    return float(_RecordingError(bank, f"{kind}:euler")(every_other[None])[0]) / 2**ORDER


class _RecordingError(SamplerError):
    """That of the scheme that the bank was recorded with, whatever sampler the objective names."""

    def replay(self, episodes: int, steps: int) -> Replay:
        return Adams(self.orbits, np.full(episodes, self.bank.sigma_max))


def better(new: np.ndarray, old: np.ndarray, rivals: int = 1) -> bool:
    """Whether errors `new` (n,) are below `old` (n,) of the same orbits beyond chance: a paired t-test of their means.

    Single orbits differ far more than grids do: without it the luck of a few orbits would choose. False for n < 2.
    rivals: of how many `new` is the best, which it is by luck as well (Bonferroni).
    """
    count = len(new)
    if count < LEAST_ORBITS or not np.isfinite(new).all():
        return False
    if not np.isfinite(old).all():
        return True
    change, z, freedom = new - old, NormalDist().inv_cdf(1 - CHANCE / rivals), count - 1
    # Student's quantile, to second order in 1/freedom: lenient for two and three orbits, where the exact one would
    # leave a trial of eight orbits, which keeps two to judge by, nothing that it could prove.
    quantile = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return bool(change.mean() + quantile * change.std(ddof=1) / np.sqrt(count) < 0)


def sizes_of(errors: np.ndarray) -> np.ndarray:
    """RMS of each orbit's error; (n, elements) -> (n,). Infinite where a run is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(np.sqrt(np.square(errors).mean(axis=1)), nan=np.inf, posinf=np.inf)


class _Purse:
    """Runs that are counted, and kept, so that none is paid twice."""

    def __init__(self, runs: Runs, limit: int):
        self.runs, self.limit, self.spent, self.known = runs, limit, 0, {}
        self.pool = getattr(runs, "pool", None)

    def price(self, steps: int, batches: Sequence[int]) -> int:
        """Sample calls of one grid on some batches."""
        return self.orbits(batches) * self.runs.calls(steps)

    def missing(self, grid: np.ndarray, batches: Sequence[int]) -> int:
        """Sample calls of what has not run of that yet."""
        return self.price(len(grid) - 1, [batch for batch in batches if (grid.tobytes(), batch) not in self.known])

    def errors(self, grid: np.ndarray, batches: Sequence[int]) -> np.ndarray:
        """As `Runs.errors`, of several batches; (orbits, elements)."""
        self.spent += self.missing(grid, batches)
        for batch in batches:
            if (grid.tobytes(), batch) not in self.known:
                self.known[grid.tobytes(), batch] = self.runs.errors(grid, batch)
        return np.concatenate([self.known[grid.tobytes(), batch] for batch in batches])

    def sizes(self, grid: np.ndarray, batches: Sequence[int]) -> np.ndarray:
        """RMS error of each orbit of some batches, or of all the same; (orbits,)."""
        errors = self.errors(grid, batches)
        return np.broadcast_to(sizes_of(errors if self.pool is None else self.pool(errors)[None]), len(errors))

    @property
    def most_judged(self) -> int:
        """Orbits that candidates are judged on, at most."""
        return MOST_JUDGED if self.pool is None else MOST_POOLED

    def is_clear(self, grid: np.ndarray, batches: Sequence[int]) -> bool:
        """Whether a grid's error is well above that of the recorded ends."""
        return bool(self.sizes(grid, batches).mean() > CLEAR * self.runs.floor)

    def is_told(self, grid: np.ndarray) -> bool:
        """Whether a grid has run, and its error is clear on all batches that it ran on."""
        ran = [batch for batch in range(len(self.runs.sizes)) if (grid.tobytes(), batch) in self.known]
        return bool(ran) and self.is_clear(grid, ran)

    def orbits(self, batches: Sequence[int]) -> int:
        """How many orbits some batches have."""
        return sum(self.runs.sizes[batch] for batch in batches)


def _choose(purse: _Purse, grids: Mapping[str, np.ndarray], trusted: int, share: float
            ) -> tuple[list[str], list[str]]:
    """The trusted first candidates, best first, after one that beats them beyond chance; for a share of all.

    And the others that were tried, best first.
    """
    own, others = list(grids)[:trusted], list(grids)[trusted:]
    limit, steps = int(share * purse.limit), len(grids[own[0]]) - 1
    least = LEAST_ORBITS if purse.pool is None else LEAST_POOLED
    count = next((n for n in range(1, len(purse.runs.sizes) + 1) if purse.orbits(range(n)) >= least), None)
    if count is None:
        return own, []
    # What follows the first round, which is half of the price or less, takes about as much again.
    price = 2 * purse.price(steps, range(count))
    own = own[:max(1, int(TRUSTED * limit) // price)]
    own, _ = _halved(purse, {name: grids[name] for name in own}, count, TRUSTED * limit, ENOUGH_TO_DROP)
    others = others[:max(0, (limit - purse.spent) // price - (len(own) == 1))]
    found, judged = _halved(purse, {name: grids[name] for name in others}, count, limit, least, grids[own[0]])
    if judged is None:
        return own, []
    new, old = purse.sizes(grids[found[0]], judged), purse.sizes(grids[own[0]], judged)
    return ([found[0], *own], found[1:]) if better(new, old, len(others)) else (own, found)


def _halved(purse: _Purse, grids: Mapping[str, np.ndarray], count: int, limit: float, least: int,
            rival: np.ndarray | None = None) -> tuple[list[str], range | None]:
    """Names of some grids, best first, by successive halving, and the batches that the best was judged on.

    The first round has `count` batches; each drops half, from `least` orbits on, and judges the rest, and the rival,
    on twice as many, until `limit` calls are spent in all. Where no round is affordable, there is nothing to choose
    from or errors cannot be told apart the batches are None and the names are as they came.
    """
    names, dropped, judged, against = list(grids), [], None, [] if rival is None else [rival]
    while len(names) + len(against) > 1 and names:
        batches = range(count)
        if sum(purse.missing(grid, batches) for grid in (*map(grids.get, names), *against)) > limit - purse.spent:
            break
        if not purse.is_clear(against[0] if against else grids[next(iter(grids))], batches):
            return list(grids), None
        judged, names = batches, sorted(names, key=lambda name: purse.sizes(grids[name], batches).mean())
        if count == len(purse.runs.sizes) or purse.orbits(judged) >= purse.most_judged:
            break
        if purse.orbits(judged) >= least:
            half = max(1, (len(names) + (purse.pool is None)) // 2)  # fewer where a round takes all orbits
            names, dropped = names[:half], names[half:] + dropped
        count = min(2 * count, len(purse.runs.sizes))
    return names + dropped, judged


def _improved(purse: _Purse, grids: Mapping[str, np.ndarray], names: Sequence[str], others: Sequence[str]
              ) -> tuple[str, np.ndarray, float]:
    """The named grids improved, one after another until one gets better than the first was, and then the others.

    Few orbits seldom prove one of the others better, yet what it becomes may beat what came of the named.
    Returns the name and the grid of the best, and the ratio of its error to the first one's.
    """
    name, best, ratio, attempts = names[0], grids[names[0]], 1.0, 0
    for start in (*names, *others):
        if ratio < 1 and start in names or attempts and not purse.is_told(best):
            continue
        attempts += 1
        grid, gain = _improve(purse, grids[start], best, attempts)
        if gain < 1:
            name, best, ratio = start, grid, ratio * gain
    return name, best, ratio


def _improve(purse: _Purse, start: np.ndarray, best: np.ndarray, rivals: int) -> tuple[np.ndarray, float]:
    """A grid descended from `start` with a smaller error than `best`, and the ratio; else the start and 1.

    Judged by orbits that it was not fitted to, as one of so many rivals.
    """
    steps = len(start) - 1
    if steps < 2:
        return start, 1.0
    modes = hats(np.linspace(0, 1, steps - 1), min(MODES, steps - 1)).T
    seen, unseen = _apart(purse, steps)
    until = purse.limit - 2 * purse.price(steps, unseen)
    limit = until - purse.spent
    round_price = len(modes) + 2  # runs of an orbit: the start, a nudge of each mode, a move
    fitted = _affordable(purse, steps, seen, limit // (2 * round_price))
    if purse.orbits(fitted) < ENOUGH_FITTED:
        fitted = _affordable(purse, steps, seen, limit // round_price)
    if purse.orbits(fitted) < LEAST_ORBITS or not purse.is_clear(start, fitted):
        return start, 1.0
    grid = _descend(purse, start, modes, fitted, until)
    if grid is start:
        return start, 1.0
    new, old = (purse.sizes(which, unseen) for which in (grid, best))
    if not better(new, old, rivals):
        return start, 1.0
    # What is below the error of the recorded ends is not known to be so small.
    return grid, float(max(new.mean(), purse.runs.floor) / max(old.mean(), purse.runs.floor))


def _apart(purse: _Purse, steps: int) -> tuple[list[int], list[int]]:
    """Batches to fit to, and those that are kept to judge by."""
    batches = list(range(len(purse.runs.sizes)))
    kept, left = max(1, len(batches) // UNSEEN), purse.limit - purse.spent
    while 4 * purse.price(steps, batches[-kept:]) > left and purse.orbits(batches[-kept:][1:]) >= MOST_JUDGED:
        kept -= 1
    while purse.orbits(batches[-kept:]) < LEAST_ORBITS and kept < len(batches):
        kept += 1
    return batches[:-kept], batches[-kept:]


def _affordable(purse: _Purse, steps: int, batches: list[int], limit: int) -> list[int]:
    """The first of some batches, on which one grid takes at most `limit` sample calls, and no more than are of use."""
    while batches and (purse.price(steps, batches) > limit or purse.orbits(batches[:-1]) >= MOST_FITTED):
        batches = batches[:-1]
    return batches


def _descend(purse: _Purse, start: np.ndarray, modes: np.ndarray, batches: Sequence[int], limit: int
             ) -> np.ndarray:
    """Damped Gauss-Newton on the orbits of some batches, until `limit` sample calls are spent; the start or better."""
    top, damping = float(start[0]), DAMPING
    price, place = purse.price(len(start) - 1, batches), lengths_of(start, top)

    def errors(at):
        return purse.errors(grids_of(at[None], top)[0], batches)

    grid, error = start, purse.errors(start, batches)
    for _ in range(ROUNDS):
        if purse.spent + (len(modes) + 1) * price > limit or not np.isfinite(error).all():
            break
        slopes = np.stack([(errors(place + NUDGE * mode) - error) / NUDGE for mode in modes])
        size = sizes_of(error)
        weight = 1 / np.maximum(size, 0.3 * np.median(size))  # the mean of sizes, not of their squares
        normal = np.einsum("ine,jne,n->ij", slopes, slopes, weight)
        pull = np.einsum("ine,ne,n->i", slopes, error, weight)
        if not np.isfinite(normal).all():
            break
        for _ in range(ATTEMPTS):
            if purse.spent + price > limit:
                return grid
            there = within_limits(place + _damped_step(normal, pull, damping) @ modes)
            arrived = errors(there)
            if sizes_of(arrived).mean() < size.mean():
                place, error, damping = there, arrived, max(damping / RELAX, LEAST_DAMPING)
                grid = grids_of(place[None], top)[0]
                break
            damping *= TIGHTEN
        else:
            break
    return grid


def _damped_step(normal: np.ndarray, pull: np.ndarray, damping: float) -> np.ndarray:
    """Levenberg-Marquardt's step, no longer than LARGEST_MOVE; (modes,)."""
    normal, pull = np.asarray(normal, np.float64), np.asarray(pull, np.float64)  # so that tiny numbers stay above 0
    scale = np.diag(normal)
    move = -np.linalg.solve(normal + np.diag(damping * scale + 1e-9 * scale.max() + 1e-300), pull)
    return move * min(1.0, LARGEST_MOVE / max(np.abs(move).max(), 1e-12))
