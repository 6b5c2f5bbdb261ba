"""What the page is told while ART Train works: the message `art.train`, and its last state for a page that reloads.

Every message is the whole state of a run, so that a lost, repeated or late one does no harm:
the page keeps the newest. Nothing here raises, and without a server nothing is sent.
"""

import functools
import json
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from ..core.clock import read_clock
from ..core.files import as_json
from .page import node_place, running_server

MESSAGE = "art.train"
SEND_SECONDS = 0.2  # at least, between messages
MOST_POINTS = 400  # of the cost curve in a message
MOST_CLOCK = 129  # sigmas of a clock in a message
MOST_STEPS = 100  # that are marked in a picture
MOST_RUNS = 32  # last states that are kept
RECORDING, LEARNING, REFINING, TRYING = "recording", "learning", "refining", "trying"
FINISHED, FAILED = "finished", "failed"
log = logging.getLogger(__name__)

# (client, workflow, node) -> last state; read by another thread than the one that trains.
_last: OrderedDict[tuple, dict] = OrderedDict()
_lock = threading.Lock()
_newest_run = 0


def last_states(client: str) -> list[dict]:
    """The last state of every node that `client` has trained with since the host started, oldest first."""
    with _lock:
        return [dict(state) for (owner, _, _), state in _last.items() if client and owner == client]


def _never_raises(method):
    """A picture must never stop a training: an error in making it is only noted."""
    @functools.wraps(method)
    def safe(*given, **named):
        try:
            method(*given, **named)
        except Exception as error:
            log.debug("ART Train: the page was not told: %s", error)

    return safe


class TrainingEvents:
    """Tells the page that queued it about one training run; left by an error as a context manager, it tells that too.

    node_id: the host's id of the node, "5", or "12:5" inside a subgraph; None tells nobody.
    workflow: id of the workflow, if known: the same node id may exist in several.
    """

    def __init__(self, node_id, workflow=None, clock: Callable[[], float] = time.monotonic):
        self.node_id, self.clock = None if node_id is None else str(node_id), clock
        server = running_server()
        self.client = getattr(server, "client_id", None)
        self.started, self.sent, self.costs = clock(), -math.inf, []
        self.state = {
            "node": self.node_id, "workflow": workflow if isinstance(workflow, str) else None, "run": _next_run(),
            "number": 0, "phase": RECORDING, "done": 0, "total": 0, "calls": 0, "seconds": 0.0, "left": None,
            "start": [], "clock": [], "ladder": [], "costs": [], "iteration": 0, "iterations": 0,
            "name": None,
        }
        self.phase_started = self.started

    @classmethod
    def of_node(cls, hidden) -> "TrainingEvents":
        """For a node's hidden inputs, as `node_place` takes them."""
        place = node_place(hidden)
        return cls(place["node"], place["workflow"])

    def __enter__(self) -> "TrainingEvents":
        return self

    def __exit__(self, kind, *_others) -> None:
        if kind is not None:
            self.failed()

    @_never_raises
    def recorded(self, done: int, total: int) -> None:
        """After a model call: `done` of `total`."""
        self._tell(RECORDING, done, total, calls=done)

    @_never_raises
    def learned(self, record, iterations: int | None = None) -> None:
        """After an iteration of learning, with its TrainRecord."""
        sigmas = _clock_points(record.schedule.clock)
        if math.isfinite(record.cost):  # a page cannot read NaN
            self.costs.append((int(record.iteration), float(record.cost)))
        if not self.state["start"]:
            self.state["start"] = sigmas
        # The curve is thinned where it is sent: thousands of points would not be seen.
        self._tell(LEARNING, record.iteration, iterations or record.iteration, clock=sigmas,
                   iteration=int(record.iteration), iterations=int(iterations or record.iteration))

    @_never_raises
    def refined(self, done: int, total: int) -> None:
        """After a grid that was fitted to a sampler."""
        self._tell(REFINING, done, total)

    @_never_raises
    def tried(self, done: int, total: int) -> None:
        """After a model call of the trial: so many of at most `total`, counted per sample."""
        self._tell(TRYING, done, total)

    @_never_raises
    def finished(self, saved_name: str, schedule=None, steps: int = 0) -> None:
        """The run is over and saved; always sent. With a schedule its clock, and the sigmas of so many steps."""
        known = {} if schedule is None else {"clock": _clock_points(schedule.clock)}
        if schedule is not None and 0 < steps <= MOST_STEPS:
            known["ladder"] = schedule.sigmas(steps).tolist()
        self._tell(FINISHED, self.state["total"], self.state["total"], name=str(saved_name), left=0.0, **known)

    @_never_raises
    def failed(self) -> None:
        """The run was stopped or went wrong; always sent. After `finished` it says nothing."""
        if self.state["phase"] != FINISHED:
            self._tell(FAILED, self.state["done"], self.state["total"], left=None)

    def record(self) -> dict:
        """The state as it stands, for the node's `ui`: it is what a page sees that comes later.

        In plain values: one of numpy's would end the host's loop of messages, and the host with it.
        """
        return json.loads(as_json({**self.state, "costs": thinned(self.costs)}))

    def _tell(self, phase: str, done: int, total: int, **known) -> None:
        now = self.clock()
        changed = phase != self.state["phase"]
        if changed:
            self.phase_started = now
        self.state |= {"phase": phase, "done": int(done), "total": int(total), "seconds": now - self.started,
                       "left": self._left(now, done, total), **known}
        if self.node_id is None or (not changed and now - self.sent < SEND_SECONDS):
            return
        self.sent = now
        self.state["number"] += 1
        self._send(self.record())

    def _left(self, now: float, done: int, total: int) -> float | None:
        """Seconds that this phase still takes at its pace so far; unknown at its start."""
        spent = now - self.phase_started
        return spent * (total - done) / done if done > 0 and spent > 0 else None

    def _send(self, state: dict) -> None:
        with _lock:
            key = (self.client, state["workflow"], self.node_id)
            _last[key] = state
            _last.move_to_end(key)
            while len(_last) > MOST_RUNS:
                _last.popitem(last=False)
        server = running_server()
        # Without a client the host would tell every page there is.
        if self.client is not None and hasattr(server, "send_sync"):
            server.send_sync(MESSAGE, state, self.client)


def thinned(points: list, most: int = MOST_POINTS) -> list:
    """At most `most` of the points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return [list(point) for point in points]
    return [list(points[round(i * (len(points) - 1) / (most - 1))]) for i in range(most)]


def _clock_points(clock) -> list[float]:
    """A clock's sigmas at equally spaced times, of a long clock fewer."""
    sigmas = np.asarray(clock, dtype=float)
    if len(sigmas) > MOST_CLOCK:
        sigmas = read_clock(sigmas, np.linspace(0.0, 1.0, MOST_CLOCK))
    return [float(f"{sigma:.7g}") for sigma in sigmas]


def _next_run() -> int:
    """A number that grows from run to run, also over a restart of the host: milliseconds since 1970."""
    global _newest_run
    with _lock:
        _newest_run = max(_newest_run + 1, time.time_ns() // 1_000_000)
        return _newest_run
