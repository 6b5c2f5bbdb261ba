"""Learning a schedule on a MODEL: what ART Train does.

Record orbits with the model, learn on the recording, compare with the host's schedulers,
save. An interrupt or an error at any moment goes on to the host and leaves no file: the
schedule is saved last, in one piece. A finished recording is then lost with it.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import comfy.model_management
import comfy.samplers
import comfy.utils
import numpy as np
import torch

from ..core import OrbitBank, Schedule, TrainConfig, grid_cost, learn, optimal_schedule, recording_grid
from ..core.checks import check_steps
from .library import check_name, save_schedule
from .plot import draw_plot
from .recording import record

METHODS = ("ART-RL", "closed form")
PROGRESS_TOTAL = 1000
PLOTTED = ("karras", "normal")
MOST_ROWS = 24
# Learning is timed on this many iterations, or for this many seconds, before recording starts.
TIMED_ITERATIONS, TIMED_SECONDS = 8, 0.5


@dataclass(frozen=True)
class Trained:
    """What a training run gives: `sigmas` float32 (steps + 1,), `plot` IMAGE (1, H, W, 3), `report` plain text."""

    name: str
    schedule: Schedule
    sigmas: torch.Tensor
    plot: torch.Tensor
    report: str

    @property
    def outputs(self) -> tuple:
        """In the order of the node's outputs."""
        return self.schedule, self.sigmas, self.plot, self.report


def train(model, positive, negative, latent_image, cfg: float, seed: int, orbits: int, nodes: int, steps: int,
          name: str, method: str = METHODS[0], **settings) -> Trained:
    """Learn a schedule on a MODEL and save it in the library under `name`, or name_2 ... if that is taken.

    steps: of the `sigmas` and of the comparison. settings: further fields of TrainConfig.
    Raises ValueError for bad input before the model is called, and the host's own exception
    when it is interrupted.
    """
    check_name(name)
    check_steps(steps)
    if method not in METHODS:
        raise ValueError(f"method must be one of: {', '.join(METHODS)}; got {method!r}; ART-RL is the usual one")
    config = TrainConfig(seed=seed, **settings)
    learns = method == METHODS[0]
    progress = _Progress(estimate_learning_seconds(config) if learns else 0.0)

    bank = record(model, positive, negative, latent_image, cfg=cfg, seed=seed, orbits=orbits, nodes=nodes,
                  progress=progress.recorded)
    recording_seconds = progress.start_learning()
    schedule, costs = _learn(bank, config, progress) if learns else (optimal_schedule(bank), [])
    learning_seconds = progress.phase_seconds()

    grids = host_grids(model.get_model_object("model_sampling"), steps)
    sigmas = schedule.sigmas(steps)
    plotted = {other: grids[other] for other in PLOTTED if grids.get(other) is not None}
    plot = draw_plot(schedule, steps, plotted, costs, bank.sigma_min)
    lines = [
        *bank_lines(bank, recording_seconds), *learning_lines(schedule, costs, bank, learning_seconds),
        *comparison_lines(bank, sigmas, grids, steps),
    ]
    # The last chance to stop: what was saved is never reported as interrupted.
    progress.show(PROGRESS_TOTAL)
    saved = save_schedule(schedule, name)
    return Trained(saved, schedule, sigmas, plot, "\n".join([*saved_lines(saved, name), *lines]))


def _learn(bank: OrbitBank, config: TrainConfig, progress: "_Progress") -> tuple[Schedule, list[float]]:
    """The learned schedule, and J/J* after each iteration."""
    costs = []
    for last in learn(bank, config):
        costs.append(last.cost)
        progress.learned(last.iteration, config.iterations)
    return last.schedule, costs


def check_interrupt() -> None:
    """Raise the host's own exception if the user has asked to stop."""
    comfy.model_management.throw_exception_if_processing_interrupted()


# Progress

class _Progress:
    """One bar over both phases, in shares of the time they take; it never goes back.

    The share of recording follows from the seconds that learning is expected to take and
    the seconds that the model calls are seen to take.
    """

    def __init__(self, learning_seconds: float, clock: Callable[[], float] = time.perf_counter):
        self.bar = comfy.utils.ProgressBar(PROGRESS_TOTAL)
        self.learning_seconds, self.clock = learning_seconds, clock
        self.started, self.shown, self.first_share = clock(), 0, 0.0

    def show(self, value: float) -> None:
        """Move the bar, if forward; raises when the user has asked to stop."""
        check_interrupt()
        self.shown = max(self.shown, min(PROGRESS_TOTAL, int(value)))
        self.bar.update_absolute(self.shown, PROGRESS_TOTAL)

    def recorded(self, done: int, total: int) -> None:
        """After a model call."""
        seconds = self.phase_seconds()
        expected = seconds * total / done + self.learning_seconds
        self.show(PROGRESS_TOTAL * seconds / max(expected, 1e-9))

    def learned(self, done: int, total: int) -> None:
        """After an iteration."""
        self.show(self.first_share + (PROGRESS_TOTAL - self.first_share) * done / total)

    def start_learning(self) -> float:
        """Begin the second phase; returns the seconds of the first."""
        seconds = self.phase_seconds()
        self.started, self.first_share = self.clock(), self.shown
        return seconds

    def phase_seconds(self) -> float:
        """Seconds since the phase began."""
        return self.clock() - self.started


def estimate_learning_seconds(config: TrainConfig) -> float:
    """Seconds that learning will take, from a few iterations on a made-up recording."""
    sigmas = recording_grid(10.0, 0.01, 64)
    bank = OrbitBank(sigmas, np.ones((16, 1)) / sigmas)
    started = time.perf_counter()
    for last in learn(bank, config):
        check_interrupt()
        seconds = time.perf_counter() - started
        if last.iteration >= TIMED_ITERATIONS or seconds > TIMED_SECONDS:
            break
    return seconds / last.iteration * config.iterations


# The host's own grids

def host_grids(sampling, steps: int) -> dict[str, np.ndarray | None]:
    """Name -> (K + 1,) descending sigmas ending at 0 of every scheduler of the host, None where it has no such grid.

    K is not always `steps`: some schedulers drop duplicates or cannot take more steps than
    their table has. Schedulers that other packs added are asked as well.
    """
    makers = {name: _scheduler(sampling, name, steps) for name in comfy.samplers.SCHEDULER_NAMES}
    grids = {name: _usable(maker) for name, maker in makers.items()}
    for kind in ("SD1", "SDXL", "SVD"):
        grid = _usable(_align_your_steps(kind, steps))
        # A table of another range was optimised on another kind of model.
        if grid is not None and abs(grid[0] / float(sampling.sigma_max) - 1) < 0.01:
            grids[f"AYS {kind}"] = grid
    return grids


def _scheduler(sampling, name: str, steps: int):
    return lambda: comfy.samplers.calculate_sigmas(sampling, name, steps)


def _align_your_steps(kind: str, steps: int):
    """Maker of the host's AlignYourSteps grid, through its node: V3 in newer hosts, V1 before."""
    def make():
        from comfy_extras.nodes_align_your_steps import AlignYourStepsScheduler as Node

        if hasattr(Node, "execute"):
            return Node.execute(kind, steps, 1.0).result[0]
        return Node().get_sigmas(kind, steps, 1.0)[0]

    return make


def _usable(make) -> np.ndarray | None:
    """The grid as float64, or None if it raises, is NaN, rises or does not end at 0."""
    try:
        grid = np.asarray(torch.as_tensor(make()).detach().double().cpu())
    except Exception:  # other packs' schedulers may fail in any way; the report says "no grid"
        return None
    good = grid.ndim == 1 and len(grid) >= 2 and np.isfinite(grid).all() and grid[-1] == 0 and grid[0] > 0
    return grid if good and (np.diff(grid) <= 0).all() else None


def fair_cost(bank: OrbitBank, grid) -> float:
    """J/J* of a grid made to start where the orbits do: its first sigma is replaced by sigma_max.

    Some schedulers start a little lower; the objective needs the whole range.
    """
    whole = np.array(list(grid), dtype=float)
    whole[0] = bank.sigma_max
    return grid_cost(bank, np.minimum(whole, bank.sigma_max))


# The report

def saved_lines(saved: str, wanted: str) -> list[str]:
    """Under which name the schedule lies."""
    why = "" if saved == wanted else f' ("{wanted}" was taken)'
    return [f'schedule "{saved}" saved in models/art_schedules{why}']


def bank_lines(bank: OrbitBank, seconds: float) -> list[str]:
    """The model, and what recording took."""
    known, (orbits, nodes) = bank.metadata, bank.stiffness.shape
    shift = f", shift {known['shift']:g}" if "shift" in known else ""
    return [
        f"model: {known['model']}, {known['model_sampling']}{shift}, {known['dtype']}",
        f"sigma: {bank.sigma_max:.6g} to {bank.sigma_min:.6g}, then 0",
        f"recording: {orbits} orbits x {nodes} nodes at cfg {known['cfg']:g}: {bank.calls} model calls of up to "
        f"{known['batch_size']}, {bank.sample_calls} counted per sample, {seconds:.1f} s",
    ]


def learning_lines(schedule: Schedule, costs: list[float], bank: OrbitBank, seconds: float) -> list[str]:
    """What learning took and what it came to."""
    if not costs:
        return [f"closed form: {seconds:.2f} s, no model call",
                f"cost J/J* of the clock: {schedule.cost(bank):.4f} (1 is the optimum)"]
    return [
        f"learning: ART-RL, {len(costs)} iterations, {seconds:.1f} s, no model call",
        f"cost J/J* of the clock: {costs[-1]:.4f}, of the one it started from: {costs[0]:.4f} (1 is the optimum)",
    ]


def comparison_lines(bank: OrbitBank, sigmas, grids: dict, steps: int) -> list[str]:
    """The grid against the host's, best first, in units of the optimum of the recorded orbits."""
    own = fair_cost(bank, sigmas)
    costs = {name: fair_cost(bank, grid) for name, grid in grids.items() if grid is not None}
    ranked = sorted([("ART (this schedule)", own, steps),
                     *((name, cost, len(grids[name]) - 1) for name, cost in costs.items())], key=lambda row: row[1])
    rows = [f"  {cost:9.3f}  {name}" + ("" if count == steps else f" (gives {count} steps)")
            for name, cost, count in ranked]
    more = [f"  and {len(rows) - MOST_ROWS} worse ones"] if len(rows) > MOST_ROWS else []
    missing = [name for name, grid in grids.items() if grid is None]
    return [
        "", f"Euler objective of {steps} steps on these orbits, as a multiple of the optimum:",
        *rows[:MOST_ROWS], *more, *([f"  no grid: {_shortened(missing)}"] if missing else []),
        *_strongest_line(own, costs),
        "This is the Euler objective on the recorded orbits, not picture quality.",
    ]


def _strongest_line(own: float, costs: dict[str, float]) -> list[str]:
    """The best of the host's schedulers and how it relates to the learned one."""
    if not costs:
        return []
    best = min(costs, key=costs.get)
    return [f"strongest built-in: {best}, {costs[best]:.3f}, which is {costs[best] / own:.3f} times that of ART"]


def _shortened(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def config_fields() -> dict[str, object]:
    """Defaults of TrainConfig that the node offers, by name; the seed and the objective are not among them."""
    return {field.name: field.default for field in dataclasses.fields(TrainConfig)
            if field.name not in ("seed", "objective")}
