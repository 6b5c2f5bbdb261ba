"""Where a sampler ends if scores are linear: errors contracted as fast as pictures' own spread has it.

`end:<sampler>` takes errors to arrive almost as they are made, which is so on models that turn an error into another
picture. Where scores are linear errors shrink by s/sqrt(s^2 + sigma^2) in each direction, and a multistep sampler's
next steps take part of them back. How far pictures spread in the directions of errors only many of them tell:
how much one recorded end is like the next (docs/theory.md, section 8, eq. (19)).
"""

import numpy as np
import torch

from .arrival import Arrival
from .bank import OrbitBank
from .objectives import LEAST_SPREAD, TURN, EndLedger, SamplerError, charged
from .orbits import BandOrbits
from .record import kept_elements
from .samplers import REPLAYS
from .spectrum import bands_of, root_of

LEAST_ENDS = 4  # orbits, from which on it can be told how alike pictures are
READINGS = {"errors that shrink": False, "linear scores": True}  # name -> `banded`
CLASSES = 8  # that bands are put into by their spread, each replayed on its own
NEGLIGIBLE = 1e-9  # share of the largest variance


class LinearError:
    """The end error of `objective`, "end:<sampler>", with errors contracted by the spread of pictures.

    banded: False takes the pictures as a whole, and errors to turn as in eq. (16); True takes each band of frequencies
        by itself, and keeps signs: exact where pictures are Gaussian and every band is of one spread.
    Grids are fitted to it as to a SamplerError of that kind.
    Raises ValueError for a bank of fewer than 4 orbits, or without ends, or for `banded` without a spectrum.
    """

    kind, is_square = "end", True

    def __init__(self, bank: OrbitBank, objective: str, banded: bool = False):
        plain = SamplerError(bank, objective, growth=0.0 if banded else None)
        self.bank, self.sampler, self.turn = bank, plain.sampler, np.inf if banded else TURN
        if not tells_spread(bank, banded):
            raise ValueError(f"how alike pictures are is told by {LEAST_ENDS} orbits or more, with their ends, which "
                             f"files do not keep; record more, or take end:{self.sampler}")
        if banded:
            grams, self.share, squares = _classes(bank)
        else:
            grams, self.share = plain.mean_gram[None], np.ones(1)
            kept = kept_elements(bank.ends.shape[1]).numpy()  # numpy takes a tensor of one index for a number
            squares = np.array([common_square(bank.ends[:, kept], len(kept) / bank.ends.shape[1])])
        self.orbits = BandOrbits(bank.sigmas, _padded([root_of(gram) for gram in grams]))
        # Ends may be in other units than the predictions: a host records them in its own.
        squares = squares * plain.power / max(float(np.square(bank.ends, dtype=np.float64).mean()), 1e-300)
        self.arrival = Arrival(np.sqrt(np.maximum(squares, LEAST_SPREAD**2)), plain.growth, plain.power, bank.share)

    def __call__(self, grids: np.ndarray) -> np.ndarray:
        """The objective of G grids of K steps (G, K + 1), pooled over orbits; RMS per element, (G,)."""
        each = np.repeat(np.asarray(grids, float), len(self.share), axis=0)
        start = np.full(len(each), self.bank.sigma_max)
        runs = REPLAYS[self.sampler](self.orbits, start, steps=each.shape[1] - 1, arrival=self.arrival)
        squares = charged(each, runs, EndLedger(self.arrival, self.turn)).reshape(-1, len(self.share))
        return np.sqrt(np.maximum(squares @ self.share, 0.0))


def tells_spread(bank: OrbitBank, banded: bool = False) -> bool:
    """Whether a bank tells how far pictures spread, as a whole or in bands of frequencies."""
    if bank.ends is None or len(bank.ends) < LEAST_ENDS:
        return False
    return not banded or bank.spectrum is not None and bank.ends.shape[1] == np.prod(bank.spectrum.shape)


def common_square(vectors: np.ndarray, kept: float = 1.0) -> float:
    """Variance of samples along one another, tr S^2/tr S of their covariance S; vectors (B, n), B >= 4, one each.

    The square of the spread if all n directions have one, and more, up to n times as much, the fewer rule. Unbiased in
    tr S^2 (Chen, Zhang and Zhong 2010), and never less than of directions that are all alike.
    kept: share of all elements that the n are a random subset of.
    """
    vectors = np.asarray(vectors, np.float64)
    vectors = vectors - vectors.mean(axis=0)
    gram = vectors @ vectors.T
    count, total = len(gram), np.trace(gram) / (len(gram) - 1)
    if not total > 0:
        return 0.0
    np.fill_diagonal(gram, 0.0)
    squares, rows = (gram**2).sum(), (gram.sum(axis=1) ** 2).sum()
    pairs = squares / count
    triples = (rows - squares) / (count * (count - 2))
    fours = (gram.sum() ** 2 - 4 * rows + 2 * squares) / (count * (count - 2) * (count - 3))
    found = (pairs - 2 * triples + fours) / (count - 1)
    alike = total / vectors.shape[1]
    # Of S^2 a random subset keeps its share of the elements' own variances, and the square of it of their covariances.
    spread = (vectors**2).sum(axis=0) / (count - 1)
    own = max((count - 1) / (count + 1) * (spread**2).sum() / spread.sum(), alike) if kept < 1 else alike
    return float(own + max(found / total - own, 0.0) / kept)


def _classes(bank: OrbitBank) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bands of like spread put together: Gram matrices (F, N + 1, N + 1), shares (F,), squares of the spread (F,)."""
    spectrum, bands = bank.spectrum, bands_of(bank.spectrum.shape)
    ends = torch.from_numpy(bank.ends).reshape(-1, *spectrum.shape).float()
    waves = torch.cat([bands.coefficients(end) for end in ends.split(1)]).numpy()  # one by one: a video is large
    kept = np.array([part.stop - part.start for part in bands.parts]) / (spectrum.share * bank.ends.shape[1])
    squares = np.array([common_square(waves[:, part], share) for part, share in zip(bands.parts, kept, strict=True)])
    logs = np.log(np.maximum(squares, max(NEGLIGIBLE * squares.max(), LEAST_SPREAD**2)))
    number = np.digitize(logs, np.linspace(logs.min(), logs.max(), CLASSES + 1)[1:-1])
    members = [np.flatnonzero(number == k) for k in range(CLASSES) if (number == k).any()]
    shares = [spectrum.share[part] for part in members]
    grams = [np.tensordot(share / share.sum(), spectrum.gram[part], 1)
             for part, share in zip(members, shares, strict=True)]
    means = [np.exp(np.average(logs[part], weights=share)) for part, share in zip(members, shares, strict=True)]
    return np.stack(grams), np.array([share.sum() for share in shares]), np.array(means)


def _padded(roots: list[np.ndarray]) -> np.ndarray:
    """Matrices (N + 1, R) of any R as one array (F, N + 1, R)."""
    wide = max(root.shape[1] for root in roots)
    return np.stack([np.pad(root, ((0, 0), (0, wide - root.shape[1]))) for root in roots])
