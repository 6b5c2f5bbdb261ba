"""What the learning benchmark found: tables, a page with them and a plot."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.machine import this_machine
from benchmarks.pages import as_markdown

WAYS = ("closed form", "bank", "live", "live, one clock", "published")
MARKS = (1, 2, 5, 10, 20, 50, 100, 150, 200)  # iterations at which a clock is judged, and the last one
PROMISE = 1.02  # on the bank it was learned on
PAGE, PLOT = "learn.md", "images/learn.png"
COLOURS = {"closed form": "#000000", "bank": "#0072b2", "live": "#d55e00", "live, one clock": "#009e73",
           "published": "#cc79a7"}
SIGNS = {"closed form": "*", "bank": "o", "live": "s", "live, one clock": "D", "published": "^"}
LEAST = 1e-5  # of J/J* - 1 in the plot
LABELS = 2  # columns of a table that name a row
INTRODUCTION = """J/J* is what a clock costs in units of the best that all orbits can share, on one recording of
held-out noise a target, the same for every environment and seed: 256 orbits, 32 of the images, 40 of the demo model.
Medians and worst over seeds.

- *closed form* and *bank* record orbits once, 64 model calls, each over all orbits; learning needs no more of them.
- *live* calls the model at every step of every episode, over a batch of `episodes` samples at a time, so sample calls
  are what compares. Its actor sees x, and one clock is made of it in the end.
- *live, one clock* is the same with an actor that sees only where the clock stands.
- *published* is *live* with |Q| by its definition, a Jacobian-vector product, and the multiplier alone to keep the time
  budget. The second of its two calls a step is a dear one. These two were left out on the demo model.

Settings are episodes × clock steps × iterations, smaller than the default where a live call is dear. *To 1.02* are the
sample calls until the median is there for good. Seconds include the recording: *core s* are those of one core's
computing, *wall s* those of a machine busy with other work."""


@dataclass(frozen=True)
class Point:
    """Where learning stands after an iteration; what a recording took is included."""

    iteration: int
    calls: int  # of the model, each over a whole batch
    sample_calls: int
    processor: float  # seconds of one core
    wall: float  # seconds
    cost: float  # J/J* on held-out orbits


@dataclass(frozen=True)
class Result:
    """One run: a target, a way to learn and a seed."""

    target: str
    way: str
    seed: int
    setting: str
    points: tuple[Point, ...]
    own: float | None  # J/J* on the bank it was learned on

    @property
    def last(self) -> Point:
        """The end of the run."""
        return self.points[-1]

    @classmethod
    def from_json(cls, stored: dict) -> "Result":
        """What `dataclasses.asdict` made of one."""
        return cls(**{**stored, "points": tuple(Point(**point) for point in stored["points"])})


def groups(results: list[Result]) -> dict[tuple[str, str], list[Result]]:
    """All seeds of each target and way, in the order of the targets and of WAYS."""
    targets = list(dict.fromkeys(result.target for result in results))
    found = {(target, way): [r for r in results if (r.target, r.way) == (target, way)]
             for target in targets for way in WAYS}
    return {key: runs for key, runs in found.items() if runs}


def median_points(runs: list[Result]) -> list[Point]:
    """Medians over seeds of every number, iteration by iteration."""
    columns = zip(*(run.points for run in runs), strict=True)
    return [Point(*(median(getattr(point, name) for point in column) for name in Point.__dataclass_fields__))
            for column in columns]


def first_below(points: list[Point], cost: float) -> Point | None:
    """The first of `points` from which on J/J* stays at or below `cost`."""
    reached = None
    for point in points:
        reached = (reached or point) if point.cost <= cost else None
    return reached


def summary(results: list[Result]) -> list[list[str]]:
    """Rows of cells, a heading first: what a run takes and where it ends."""
    rows = [["target", "environment", "seeds", "setting", "model calls", "sample calls", "to 1.02", "core s", "wall s",
             "J/J*", "worst", "on its own bank (worst)"]]
    for (target, way), runs in groups(results).items():
        points = median_points(runs)
        last, below = points[-1], first_below(points, PROMISE)
        own = [run.own for run in runs if run.own is not None]
        rows.append([target, way, str(len(runs)), runs[0].setting, f"{last.calls:,.0f}", f"{last.sample_calls:,.0f}",
                     f"{below.sample_calls:,.0f}" if below else "never", f"{last.processor:.1f}", f"{last.wall:.1f}",
                     f"{last.cost:.4f}", f"{max(run.last.cost for run in runs):.4f}",
                     f"{median(own):.4f} ({max(own):.4f})" if own else "–"])
    return rows


def progress(results: list[Result]) -> list[list[str]]:
    """Rows of cells, a heading first: median J/J* over training; a run's end is its last figure."""
    rows = [["target", "environment", *map(str, MARKS), "end"]]
    for (target, way), runs in groups(results).items():
        if way == "closed form":
            continue
        points = median_points(runs)
        costs = {point.iteration: f"{point.cost:.4f}" for point in points}
        rows.append([target, way, *(costs.get(mark, "") for mark in MARKS), f"{points[-1].cost:.4f}"])
    return rows


def verdict(results: list[Result]) -> str:
    """Who is ahead and where the promise fails, in words."""
    ends = {key: (median_points(runs)[-1].cost, max(run.last.cost for run in runs))
            for key, runs in groups(results).items()}
    ahead = [f"{target} ({way}, {cost:.4f} to {ends[target, 'closed form'][0]:.4f})"
             for (target, way), (cost, _) in ends.items()
             if way != "closed form" and cost < ends.get((target, "closed form"), (0, 0))[0]]
    missed = [f"{way} on {target} ({worst:.3f})" for (target, way), (_, worst) in ends.items() if worst > PROMISE]
    own = max((run.own for run in results if run.way == "bank"), default=float("nan"))
    return (f"Learning on a bank ends at {own:.4f} at worst on the bank it learned on; {PROMISE} is the promise. "
            + (f"By the median, the closed form is beaten on: {'; '.join(ahead)}. " if ahead
               else "The closed form is beaten nowhere, and it needs no learning. ")
            + (f"Worst seeds above {PROMISE} on held-out orbits: {'; '.join(missed)}." if missed
               else f"No seed of any environment ends above {PROMISE} on held-out orbits.") + _setbacks(results))


def _setbacks(results: list[Result]) -> str:
    """Where training longer made the median clearly worse than it had been."""
    found = []
    for (target, way), runs in groups(results).items():
        costs = [point.cost for point in median_points(runs)]
        if costs[-1] - 1 > 1.25 * (min(costs) - 1):
            found.append(f"{way} on {target} ({min(costs):.4f}, then {costs[-1]:.4f})")
    return f" Worse at the end than before: {'; '.join(found)}." if found else ""


def markdown(results: list[Result], command: str, profile: str) -> str:
    """The whole page."""
    return "\n\n".join([
        "# Learning a clock: from a bank, live, and without learning",
        f"{this_machine()}, one thread; `{command}`",
        INTRODUCTION,
        as_markdown(summary(results), LABELS),
        verdict(results),
        "What an actor that sees x gains, and what making one clock of it costs, is told in"
        " [state dependence](state-dependence.md).",
        f"![J/J* − 1 against sample calls and seconds]({PLOT})",
        "## J/J* over training, by iteration",
        "All start from EDM's ρ = 7 grid, and the actor stands still for five iterations.",
        as_markdown(progress(results), LABELS),
        "## Where the time goes",
        profile,
    ]) + "\n"


def plot(results: list[Result], path: Path) -> None:
    """J/J* - 1 against sample calls and against seconds, log-log, a column for each target."""
    targets = list(dict.fromkeys(result.target for result in results))
    figure = Figure(figsize=(3.4 * max(len(targets), 1) + 0.6, 6.2), layout="constrained")
    panels = figure.subplots(2, max(len(targets), 1), sharey=True, squeeze=False)
    for (target, way), runs in groups(results).items():
        for axes, name in zip(panels[:, targets.index(target)], ("sample_calls", "processor"), strict=True):
            _draw(axes, way, runs, name)
    for row, label in zip(panels, ("sample calls", "seconds of one core"), strict=True):
        row[0].set_ylabel("J/J* − 1 on held-out orbits")
        for axes, target in zip(row, targets, strict=False):
            axes.set(title=target, xlabel=label, xscale="log", yscale="log")
            low, high = axes.get_xlim()
            axes.set_xlim(low / 2, 2 * high)  # a decade at least, so that there is a number on the axis
            axes.xaxis.set_major_locator(LogLocator(numticks=6))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.grid(alpha=0.3)
    known = {text: line for axes in figure.axes for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=len(WAYS))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw(axes, way: str, runs: list[Result], name: str) -> None:
    """The median of `runs`, and a band from the best seed to the worst."""
    points = median_points(runs)
    places = [getattr(point, name) for point in points]
    excess = [max(point.cost - 1, LEAST) for point in points]
    alone = way == "closed form"
    axes.plot(places, excess, SIGNS[way] if alone else SIGNS[way] + "-", color=COLOURS[way], label=way,
              markersize=12 if alone else 4, zorder=3 if alone else 2)
    costs = list(zip(*([max(point.cost - 1, LEAST) for point in run.points] for run in runs), strict=True))
    axes.fill_between(places, list(map(min, costs)), list(map(max, costs)), color=COLOURS[way], alpha=0.15, linewidth=0)
