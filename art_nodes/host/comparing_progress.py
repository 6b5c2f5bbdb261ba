"""How a comparison tells what it will cost and how far it is, and lets itself be stopped."""

import logging
import time
from collections.abc import Callable

import comfy.utils

from .progress import UPDATE_SECONDS, check_interrupt

TIMED_CALLS = 4  # after the first one, which also loads the model
TEXT_SECONDS = 3.0  # at least, between lines about the time left
log = logging.getLogger(__name__)


class Meter:
    """Counts model calls, moves the bar, and tells the cost: the calls before the first one, then the seconds."""

    def __init__(self, total: int, cost: str, tell: Callable[[str], None] | None = None,
                 clock: Callable[[], float] = time.perf_counter):
        self.total, self.cost, self.tell, self.clock = total, cost, tell or (lambda text: None), clock
        self.bar = comfy.utils.ProgressBar(total)
        self.done, self.began, self.first = 0, clock(), 0.0
        self.shown = self.told = -float("inf")
        log.info("ART Compare: %s", cost)
        self.tell(cost)

    def called(self, *_sigma) -> None:
        """After a model call; raises the host's own exception when the user has asked to stop."""
        check_interrupt()
        self.done += 1
        now = self.clock()
        if self.done == 1:
            self.first = now
        if self.done == 1 + TIMED_CALLS:
            log.info("ART Compare: about %s", duration(self.left(now)))
        if self.done > TIMED_CALLS and now - self.told >= TEXT_SECONDS:
            self.told = now
            self.tell(f"{self.cost}\ncall {self.done}, about {duration(self.left(now))} left")
        # Each update has the host tell every client the state of the whole graph.
        if now - self.shown >= UPDATE_SECONDS:
            self.shown = now
            self.bar.update_absolute(min(self.done, self.total), self.total)

    def left(self, now: float) -> float:
        """Seconds still to go, from the calls seen after the first."""
        each = (now - self.first) / max(1, self.done - 1)
        return each * max(0, self.total - self.done)

    def finish(self) -> float:
        """Fill the bar; returns the seconds since the start."""
        check_interrupt()
        self.bar.update_absolute(self.total, self.total)
        seconds = self.clock() - self.began
        self.tell(f"{self.cost}\ndone in {duration(seconds)}")  # some pages keep the last line
        return seconds


def duration(seconds: float) -> str:
    """Time in words: "12 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
