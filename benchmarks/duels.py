"""One schedule against another on the same noises: the ratio of their errors, and what can be said of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from art_nodes.core.scores import ratio_interval, total


@dataclass(frozen=True)
class Duel:
    """Ours against a rival; ratio of RMS or median errors and its 95 % interval, of a bootstrap paired by noise."""

    rival: str
    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, rival: str, mine: np.ndarray, theirs: np.ndarray, statistic: Callable = total) -> "Duel":
        """From the errors (noises,) of both; statistic: total or np.median."""
        return cls(rival, float(statistic(mine) / statistic(theirs)), *ratio_interval(mine, theirs, statistic))

    @property
    def text(self) -> str:
        """Ratio and interval, as tables have them."""
        return f"{self.ratio:.2f} ({self.low:.2f}–{self.high:.2f})"

    @property
    def verdict(self) -> str:
        """By the interval."""
        return "wins" if self.high < 1 else "loses" if self.low > 1 else "tied"


def mean_of(ratios: Sequence[float]) -> float:
    """Geometric."""
    return float(np.exp(np.mean(np.log(ratios))))
