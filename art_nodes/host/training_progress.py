"""ART Train's bar: one over all phases of a training, and the messages that the page draws it by."""

import time
from collections.abc import Callable

import comfy.utils

from .events import TrainingEvents
from .progress import UPDATE_SECONDS, check_interrupt

TOTAL = 1000


class TrainingProgress:
    """One bar over all phases, in shares of the time they take; it never goes back.

    The share of recording follows from the seconds that learning and fitting are expected to take
    and the seconds that the model calls are seen to take, of which a trial may follow as many again.
    """

    def __init__(self, learning_seconds: float, fitting_seconds: float = 0.0, trial_calls: int = 0,
                 events: TrainingEvents | None = None, clock: Callable[[], float] = time.perf_counter):
        self.bar, self.events = comfy.utils.ProgressBar(TOTAL), events or TrainingEvents(None)
        # Of the phases to come; those of a trial are known once the model was called.
        self.expected = [learning_seconds, fitting_seconds, 0.0]
        self.trial_calls, self.calls, self.clock = trial_calls, 0, clock
        self.started, self.shown, self.first_share, self.told = clock(), 0, 0.0, 0.0

    def show(self, value: float) -> None:
        """Move the bar, if forward; raises when the user has asked to stop."""
        check_interrupt()
        self.shown = max(self.shown, min(TOTAL, int(value)))
        # Each update has the host tell every client the state of the whole graph, which may
        # take longer than an iteration of learning.
        if self.shown == TOTAL or time.perf_counter() - self.told >= UPDATE_SECONDS:
            self.bar.update_absolute(self.shown, TOTAL)
            self.told = time.perf_counter()

    def recorded(self, done: int, total: int, samples: int = 1) -> None:
        """After a model call of so many samples."""
        self.events.recorded(done, total)
        seconds = self.phase_seconds()
        self.expected[-1] = seconds / (done * samples) * self.trial_calls
        self.show(TOTAL * seconds / max(seconds * total / done + sum(self.expected), 1e-9))

    def learned(self, done: int, total: int) -> None:
        """After an iteration."""
        self._advance(done / total)

    def fitted(self, done: int, total: int) -> None:
        """After a grid; the later ones have more steps and take longer."""
        self.events.refined(done, total)
        self._advance((done / total) ** 2)

    def tried(self, samples: int) -> None:
        """After a model call of the trial; raises when the user has asked to stop."""
        self.calls += samples
        self.events.tried(self.calls, self.trial_calls)
        self._advance(min(1.0, self.calls / self.trial_calls))

    def _advance(self, part: float) -> None:
        """Show that so much of this phase is done."""
        share = self.expected[0] / max(sum(self.expected), 1e-9)
        self.show(self.first_share + (TOTAL - self.first_share) * share * part)

    def start_learning(self) -> float:
        """Begin the second phase; returns the seconds of the first."""
        return self._next_phase()

    def start_fitting(self) -> float:
        """Begin the third phase; returns the seconds of the second."""
        self.expected.pop(0)
        return self._next_phase()

    def start_trying(self) -> float:
        """Begin the fourth phase; returns the seconds of the third."""
        self.expected.pop(0)
        return self._next_phase()

    def _next_phase(self) -> float:
        seconds = self.phase_seconds()
        self.started, self.first_share = self.clock(), self.shown
        return seconds

    def phase_seconds(self) -> float:
        """Seconds since the phase began."""
        return self.clock() - self.started
