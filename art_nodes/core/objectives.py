"""What a schedule is to be good at: the paper's surrogate, or the error of a sampler, replayed on a bank.

"euler"               J, eq. (6): E integral |Q| theta^2 dt. One clock for every number of steps.
"residual:<sampler>"  the sum over the steps of E|r|, r being what one step from the orbit leaves.
"end:<sampler>"       the RMS error at sigma 0 that the steps' residuals add up to, eq. (16).
"detail:<sampler>"    the same of value and slope together: an error in fine structure counts for more.
"spectrum:<sampler>"  how far the power of what comes out is, at each frequency, from what is wanted, eq. (17).

All but the first are exact in the step, so the best grid differs from one number of steps to the next.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from .arrival import MOST_ADDED, Arrival, added_noise
from .bank import OrbitBank
from .checks import is_number
from .orbits import Orbits
from .replay import Replay
from .samplers import REPLAYS
from .spectrum import Spectrum
from .stiffness import SIGNAL_TO_NOISE

KINDS = ("end", "spectrum", "detail", "residual")
# Samplers that add noise leave every orbit at once. Their spectrum is foretold as that of the sampler they step like,
# and has to be tried on the model (trial.py).
NOISY = {"euler_ancestral": "euler", "dpmpp_2m_sde": "dpmpp_2m", "res_multistep_ancestral": "res_multistep"}
OBJECTIVES = ("euler", *(f"{kind}:{sampler}" for kind in KINDS for sampler in REPLAYS),
              *(f"spectrum:{sampler}" for sampler in NOISY))
# Over this many e-folds of sigma an error turns away from what it was: residuals made further apart
# neither add up nor cancel. Chosen on the demo model; docs/theory.md, eq. (16).
TURN = 5.0
# An error at sigma is contracted on its way as by a Gaussian of this many times the spread that the
# predictions show along their own change; 1 would be right if scores were linear.
REACH = 1.5
# Guidance carries predictions past the pictures, and errors shrink the more the stronger it is: this power of the cfg
# is divided out of the spread that predictions show. Chosen on the demo model; docs/theory.md, section 7.
GUIDED = 1.5
LARGEST_GROWTH = 1.0  # of the square of an error that may turn one picture into another
# What an error counts, as a share of each band's power and of all power, beside how far powers are off: enough to keep
# to the picture where spectra hardly tell grids apart; docs/theory.md, eq. (17).
KEEPING, WHOLE = 0.3, 1.0
LEAST_SPREAD = 1e-9
LEAST_OF_MEAN = 0.1  # that a square on one orbit counts, where rounding may have made it
LEAST_CHANGE = 1e-13  # of a prediction's square: what float64 leaves of the difference of two equal ones is less
LEAST_FALL = 1e-6  # of a sigma from one node to the next


def split_objective(objective: str) -> tuple[str, str]:
    """("end", "heun") of "end:heun", ("euler", "euler") of "euler"; ValueError for any other name."""
    if objective not in OBJECTIVES:
        likely = f"end:{objective}"
        raise ValueError(f"objective must be one of: {', '.join(OBJECTIVES)}; got {objective!r}; choose "
                         f"{likely if likely in OBJECTIVES else 'end:<the sampler you use>'}")
    kind, _, sampler = objective.partition(":")
    return kind, sampler or kind


class SamplerError:
    """An exact-step objective of one sampler on a bank.

    turn: the tau of eq. (16), > 0; infinity adds residuals up with their signs.
    growth: the gamma of eq. (16), >= 0: by how much the square of an error grows that is made where pictures take
        shape, as some turn into others. None reads it off the bank.
    guided: the power of the cfg that the R of eq. (16) is divided by.
    check: called before each replay, of which a search makes many: what it raises ends the search.
    Its `kind` is "residual", "end" or "spectrum"; with "detail" it is "end" on the bank's details.
    Raises ValueError for a bank that knows only stiffness, or no details or spectrum where they are asked for.
    """

    def __init__(self, bank: OrbitBank, objective: str, turn: float = TURN, growth: float | None = None,
                 guided: float = GUIDED, check: Callable[[], None] = lambda: None):
        (self.kind, named), self.turn, self.check = split_objective(objective), turn, check
        self.sampler = NOISY.get(named, named)
        self.orbits = Orbits(bank.sigmas)
        self.kept: dict = {}  # what searches for several numbers of steps compute once
        if self.kind not in KINDS:
            raise ValueError(f"objective must replay a sampler; got {objective!r}; choose for example end:euler")
        if bank.gram is None:
            raise ValueError(f"objective {objective} needs the predictions' inner products, which this bank lacks; "
                             "record it afresh with record_orbits(...)")
        self.reach = REACH * spread(bank) / guidance_of(bank) ** guided
        end = self.orbits.state(np.zeros(1))
        self.growth = growth_of(bank) if growth is None else growth
        self.power = float(inner(end, bank.gram.mean(axis=0), end)[0])  # of an element of the orbits' ends
        if self.kind == "detail":
            if bank.detail is None:
                raise ValueError(f"objective {objective} needs orbits of pictures (batch, channels, height, width) "
                                 "with their details, which this bank lacks; record it afresh, or take "
                                 f"end:{self.sampler}")
            bank, self.kind = dataclasses.replace(bank, gram=bank.detail), "end"
        if self.kind == "spectrum" and bank.spectrum is None:
            raise ValueError(f"objective {objective} needs orbits of pictures (batch, channels, height, width) with "
                             "their spectrum, which this bank lacks; record it afresh, with 128 nodes or fewer, or "
                             f"take end:{self.sampler}")
        self.bank, self.mean_gram = bank, bank.gram.mean(axis=0)

    def replay(self, episodes: int, steps: int) -> Replay:
        """Runs of `steps` steps of the sampler, each of which starts on the orbit where residuals are summed."""
        start = np.full(episodes, self.bank.sigma_max)
        return REPLAYS[self.sampler](self.orbits, start, self.kind == "residual", steps)

    def ledger(self, gram: np.ndarray, at_end: bool = False) -> "Ledger":
        """What charges the steps of E runs, on an orbit each with `gram` (E, N + 1, N + 1), or on one they share.

        at_end: whether only the sum over the steps counts.
        """
        if self.kind == "spectrum":  # of all orbits together
            return SpectrumLedger(self.bank.spectrum, self.orbits.state(np.zeros(1))[0], self.bank.share, at_end)
        if self.kind == "end":
            return EndLedger(Arrival(self.reach, self.growth, self.power, self.bank.share), self.turn, gram)
        return NormLedger(gram)

    @property
    def is_square(self) -> bool:
        """Whether what a ledger charges adds up to the square of the objective."""
        return self.kind != "residual"

    def __call__(self, grids: np.ndarray) -> np.ndarray:
        """The objective of G grids of K steps (G, K + 1), pooled over orbits; RMS per element, (G,)."""
        if self.is_square:
            return np.sqrt(np.maximum(self._run(grids, self.ledger(self.mean_gram, True)), 0.0))
        return self._run(grids, NormLedger(self.bank.gram, pooled=True))

    def per_orbit(self, grid: np.ndarray) -> np.ndarray:
        """The objective of one grid (K + 1,) on each orbit; (B,). A spectrum is one of all orbits together."""
        grids = np.repeat(np.asarray(grid, float)[None], len(self.bank.gram), axis=0)
        total = self._run(grids, self.ledger(self.bank.gram, True))
        return np.sqrt(np.maximum(total, 0.0)) if self.is_square else total

    def _run(self, grids: np.ndarray, ledger: "Ledger") -> np.ndarray:
        """Sum of what the ledger charges for each grid; (G, K + 1) -> (G,)."""
        self.check()
        return charged(grids, self.replay(len(grids), grids.shape[1] - 1), ledger)


def charged(grids: np.ndarray, runs: Replay, ledger: "Ledger") -> np.ndarray:
    """Sum of what a ledger charges for E grids (E, K + 1), made to start where the runs do; (E,)."""
    grids, total = np.array(grids, dtype=float), np.zeros(len(grids))
    grids[:, 0] = runs.sigma
    for k in range(1, grids.shape[1] - 1):  # some schedulers repeat a sigma
        grids[:, k] = np.minimum(grids[:, k], (1 - LEAST_FALL) * grids[:, k - 1])
    for here, there in zip(grids[:, :-1].T, grids[:, 1:].T, strict=True):
        total += ledger.charge(runs.step(there), here, there)
    return total


class NormLedger:
    """Sums |r| over the steps; pooled: its mean over B orbits."""

    def __init__(self, gram: np.ndarray, pooled: bool = False):
        self.gram, self.pooled = gram, pooled

    def charge(self, residual: np.ndarray, _here: np.ndarray, _there: np.ndarray) -> np.ndarray:
        """|r| of a step; residual (E, N + 1) -> (E,)."""
        if self.pooled:
            return np.sqrt(squares(residual, self.gram)).mean(axis=0)
        return np.sqrt(np.maximum(inner(residual, self.gram, residual), 0.0))


class EndLedger:
    """Sums E|e|^2 step by step: what a residual adds to the square of all that came before it, eqs. (16) and (18).

    On a rectified flow, whose x is (1 - sigma) times the one with added noise, in the coordinates of the latter.
    turn: the tau of eq. (16). gram: as for `SamplerError.ledger`; None where residuals are vectors and not weights.
    """

    def __init__(self, arrival: Arrival, turn: float, gram: np.ndarray | None = None):
        self.arrival, self.turn, self.gram = arrival, turn, gram
        self.before, self.noise = 0.0, None

    def charge(self, residual: np.ndarray, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Increase of |e|^2 by a step from `here` to `there` (E,); residual (E, N + 1) -> (E,). May be negative."""
        noise = added_noise(here, self.arrival.share)
        if self.noise is not None:
            self.before = self.before * ((noise / self.noise) ** (1 / self.turn))[:, None]
        arriving = residual * self.arrival.gain(there)[:, None]
        whole = arriving + 2 * self.before
        added = (arriving * whole).sum(axis=-1) if self.gram is None else inner(arriving, self.gram, whole)
        self.before, self.noise = self.before + arriving, noise
        return added


class SpectrumLedger:
    """Sums eq. (17) step by step: what a residual adds to the distance in power that all before it made up.

    end: (N + 1,) weights of the orbits' ends. at_end: charge all of it at the step to 0, which is faster.
    """

    def __init__(self, spectrum: Spectrum, end: np.ndarray, share: bool = False, at_end: bool = False):
        self.spectrum, self.end, self.share, self.at_end = spectrum, end, share, at_end
        self.wanted = spectrum.wanted(end)
        self.error, self.before = 0.0, 0.0

    def charge(self, residual: np.ndarray, _here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Increase of the square of the distance by a step to `there` (E,); residual (E, N + 1) -> (E,).

        The first step is also charged for what the orbits' own ends are off, if something else is wanted.
        """
        self.error = self.error + (residual * (1 + added_noise(there, True))[:, None] if self.share else residual)
        if self.at_end and there.any():
            return np.zeros(len(there))
        now = self._distance(self.error)
        added, self.before = now - self.before, now
        return added

    def _distance(self, error: np.ndarray) -> np.ndarray:
        """Square of the distance of ends that are off by `error` (E, N + 1); (E,)."""
        off = np.log(np.maximum(self.spectrum.powers(self.end + error), 1e-12 * self.wanted) / self.wanted)
        lost, share = self.spectrum.powers(error), self.spectrum.share
        return (off**2 + KEEPING * lost / self.wanted) @ share + WHOLE * (lost @ share) / (self.wanted @ share)


Ledger = NormLedger | EndLedger | SpectrumLedger


def inner(a: np.ndarray, gram: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a . gram . b row by row; a, b (E, N), gram (N, N) or (E, N, N) -> (E,)."""
    if gram.ndim == 3:
        return np.einsum("en,en->e", (a[:, None, :] @ gram)[:, 0], b)
    return ((a @ gram) * b).sum(axis=-1)


def squares(rows: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """row . gram . row of all rows (M, N) on each orbit's gram (B, N, N); (B, M), none below 0."""
    return np.maximum(((rows @ gram) * rows).sum(axis=-1), 0.0)


def spread(bank: OrbitBank) -> float:
    """Standard deviation of the data, in units of sigma, along the way the predictions change; > 0.

    The largest over the nodes of |<D_end - D_start, dD>| / |dD|, of 5 nodes at a time, with norms over the whole
    sample. An error at a sigma well above it hardly arrives.
    """
    change = np.diff(np.eye(len(bank.sigmas) + 1), axis=0)[1:]  # (N - 1, N + 1): D_{i+1} - D_i
    whole = change.sum(axis=0)
    along, size = bank.gram @ whole @ change.T, squares(change, bank.gram)
    # Where the score has settled on one picture nothing changes, and what is left has no direction.
    changes = size > LEAST_CHANGE * np.maximum(bank.gram[:, -1, -1, None], 0.0)  # what rounding leaves may be below 0
    clear = slice(None)
    if bank.rounding is not None:
        clear, size = _stand_out(size, bank.rounding[1:-1] + bank.rounding[2:])
    told = np.divide(along**2, size, out=np.zeros_like(size), where=changes)
    variance = told.mean(axis=0)[clear] * max(bank.elements, 1)
    window = np.ones(min(5, len(variance)))
    found = np.sqrt((np.convolve(variance, window, mode="valid") / len(window)).max())
    return max(float(found), LEAST_SPREAD)  # 0 where nothing changes


def guidance_of(bank: OrbitBank) -> float:
    """The cfg that a bank's orbits were recorded with, as its metadata has it; 1 if that is less or says nothing."""
    cfg = bank.metadata.get("cfg")
    return max(float(cfg), 1.0) if is_number(cfg) and np.isfinite(cfg) else 1.0


def growth_of(bank: OrbitBank) -> float:
    """The gamma of eq. (16): how much orbits differ in how fast their predictions change; 0 to LARGEST_GROWTH.

    Relative variance over the orbits of the integral of |dD/d ln sigma|^2 / |F|^2 d ln sigma, F = (D - x)/sigma. Where
    scores are linear it is next to 0 if many directions have power, and 0 if one has, where orbits are one another's
    multiples; of a few directions it is large, though errors do not grow.
    """
    if len(bank.gram) < 2:
        return 0.0
    nodes, sigmas = np.eye(len(bank.sigmas) + 1)[1:], bank.sigmas[:, None]
    noise = added_noise(bank.sigmas, bank.share)
    slope = ((1 - sigmas * bank.share) * nodes - Orbits(bank.sigmas).state(bank.sigmas)) / sigmas  # F at the nodes
    change, size = squares(np.diff(nodes, axis=0), bank.gram), squares(slope, bank.gram)
    folds = -np.diff(np.log(noise))
    told = noise[:-1] < (MOST_ADDED if bank.share else np.inf)  # near a share of 1 all noise counts as the same
    if bank.rounding is not None:
        noisy = bank.rounding[1:]
        clear, size = _stand_out(size, noisy / bank.sigmas**2)
        told = told & clear[1:] & clear[:-1] & _stand_out(change, noisy[1:] + noisy[:-1])[0]
    # Where x and D differ by more than rounding.
    heard = size * bank.sigmas**2 > LEAST_CHANGE * bank.gram[:, -1, -1, None]
    heard = heard[:, 1:] & heard[:, :-1] & told
    rate = np.divide(change, np.sqrt(size[:, 1:] * size[:, :-1]) * np.where(told, folds, 1.0),
                     out=np.zeros_like(change), where=heard).sum(axis=1)
    return float(min(rate.var(ddof=1) / max(rate.mean() ** 2, 1e-300), LARGEST_GROWTH))


def _stand_out(squares: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where squares (B, N) are well above the `noise` (N,) that was taken off them, at least where most are; and they.

    (N,) on the average of orbits, and (B, N), none less than a share of that average: a single one may be all noise.
    """
    mean = squares.mean(axis=0)
    clear = mean > SIGNAL_TO_NOISE**2 * noise
    clear[np.argmax(mean / np.maximum(noise, 1e-300))] = True
    return clear, np.maximum(squares, LEAST_OF_MEAN * mean)
