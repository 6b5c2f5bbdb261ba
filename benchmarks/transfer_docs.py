"""What the transfer benchmark says in plain words, its plot, and the page docs/transfer.md."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from benchmarks.transfer_places import CLASSIC, EXCHANGE, EXCHANGE_STEPS, ONE_STEP, OTHER_STEPS, OWN, TAIL
from benchmarks.transfer_report import SOLVERS, Duel, against, duel, foreign, native, tables
from benchmarks.transfer_results import Results

PLOT = Path("images/transfer.png")
TICKS = (0.7, 0.8, 1, 1.25, 1.5, 2, 3)
COLOURS = {EXCHANGE[0]: "#12753a", EXCHANGE[1]: "#2f6fb3", EXCHANGE[2]: "#c4622d", EXCHANGE[3]: "#7a4fa3"}


def _range(groups: Iterable[np.ndarray | None]) -> str | None:
    """Lowest and highest median over cells, and the worst single seed; None without any."""
    groups = [group for group in groups if group is not None]
    if not groups:
        return None
    medians = [float(np.median(group)) for group in groups]
    return f"{min(medians):.2f} to {max(medians):.2f} (worst seed {max(float(g.max()) for g in groups):.2f})"


def telling_cells(results: Results, place: str) -> list[tuple[str, int]]:
    """The cells that sentences count.

    On N(0, 1) each method multiplies x by one number, and with Heun that number passes through the exact one:
    its error there says where the grid sits, not how good it is.
    """
    return [cell for cell in results.cells(place) if (place, cell[0]) != ("N(0, 1)", "heun")]


def _by_solver(results: Results, places: Iterable[str], ratio: Callable, keep: Callable[[int], bool]) -> str:
    """The ranges of ratio(place, solver, steps), Euler's and Heun's apart."""
    parts = []
    for solver, name in SOLVERS.items():
        cells = [(place, steps) for place in places for own, steps in telling_cells(results, place)
                 if own == solver and keep(steps)]
        told = _range(ratio(place, solver, steps) for place, steps in cells)
        parts += [f"{name} {told}"] if told else []
    return "; ".join(parts)


def steps_sentence(results: Results, pieces: int) -> str:
    """How one clock fares at step counts it was not trained for, over all places."""
    return _by_solver(results, OTHER_STEPS, lambda place, solver, steps: against(
        results, place, str(pieces), native(steps), solver, steps), lambda steps: steps >= 8)


def exchange_sentence(results: Results, place: str, clock: str) -> str:
    """One foreign clock on one place."""
    return _by_solver(results, [place], lambda place, solver, steps: against(
        results, place, clock, str(OWN), solver, steps), lambda steps: steps in EXCHANGE_STEPS)


def duels(results: Results, own: bool) -> list[tuple[str, Duel]]:
    """Every cell's clocks against its strongest classic grid: the places' own default clocks, or the foreign ones."""
    found = []
    for place in results.errors:
        names = [str(OWN)] if own else [name for name in foreign(results, place) if name not in (TAIL, ONE_STEP)]
        found += [(place, duel(results, place, name, solver, steps)) for solver, steps in telling_cells(results, place)
                  for name in names if (solver, name, steps) in results.errors[place]]
    return found


def duel_sentences(results: Results, own: bool) -> list[str]:
    """How many cells are won, tied and lost by the 95 % interval; each loss by name."""
    found = duels(results, own)
    count = {outcome: sum(d.outcome == outcome for _, d in found) for outcome in ("won", "tied", "lost")}
    who = "The clock learned on the spot" if own else "A clock from elsewhere"
    lines = [f"{who} beats the strongest of {', '.join(CLASSIC)} in {count['won']} of {len(found)} cells, ties in "
             f"{count['tied']} and loses in {count['lost']}" + (":" if count["lost"] else ".")]
    for place, d in found:
        if d.outcome == "lost":
            whose = "" if own else f"clock of {d.clock}, "
            lines.append(f"  - {place}: {whose}{SOLVERS[d.solver]} {d.steps}, {d.text} × {d.classic}")
    return lines


def paradox_sentence(results: Results) -> str:
    """How often a clock with the higher objective has the lower end error."""
    medians = []
    for place in EXCHANGE:
        costs = {name: np.median(values) for name, values in results.costs[place].items()}
        worse = [name for name in foreign(results, place) if costs.get(name, 0) > costs[str(OWN)]]
        found = [against(results, place, name, str(OWN), *cell) for name in worse
                 for cell in telling_cells(results, place)]
        medians += [float(np.median(group)) for group in found if group is not None]
    return (f"The objective is not the end error: in {sum(median < 1 for median in medians)} of {len(medians)} cells a "
            "clock from elsewhere has the higher J and yet the lower end error.")


def frechet_sentences(results: Results) -> list[str]:
    """Who samples the digits best in each cell."""
    names = list(dict.fromkeys(clock for _, clock, _ in results.frechet))
    lines = []
    for solver, steps in sorted({(solver, steps) for solver, _, steps in results.frechet}):
        values = {name: float(np.median(results.frechet[solver, name, steps])) for name in names}
        order = sorted(values, key=values.get)
        told = ", ".join(f"{'its own' if name == str(OWN) else name} {values[name]:.2f}" for name in order[:4])
        lines.append(f"  - {SOLVERS[solver]} {steps}: {told}, …")
    return lines


def _highest(results: Results, solver: str) -> float:
    """The worst cell's median ratio of a foreign clock to the place's own."""
    found = [against(results, place, clock, str(OWN), own, steps) for place in EXCHANGE
             for clock in foreign(results, place) for own, steps in results.cells(place) if own == solver]
    return max(float(np.median(group)) for group in found if group is not None)


def in_short(results: Results) -> str:
    """The three things to remember."""
    found = [d for _, d in duels(results, own=False)]
    lost = [d for d in found if d.outcome == "lost"]
    won, heun = sum(d.outcome == "won" for d in found), sum(d.solver == "heun" for d in lost)
    return (f"In short: one clock serves other numbers of steps (the default, read at K ≥ 10, against the clock "
            f"trained at that K: {steps_sentence(results, OWN)}). Carried to another range or data set it has up to "
            f"{_highest(results, 'euler'):.2f} times the error of the clock learned there with Euler and up to "
            f"{_highest(results, 'heun'):.2f} times with Heun (medians of the worst cell). Against the strongest "
            f"classic grid it still wins {won} of {len(found)} cells and loses {len(lost)} (with Heun: {heun}).")


def reading(results: Results) -> list[str]:
    """The result in plain words, every figure taken from the tables."""
    lines = [in_short(results), "",
             "- **Other numbers of steps.** Error of one clock at K ≥ 10 over that of the clock trained at that K:"]
    for pieces in sorted({int(c) for place in OTHER_STEPS for c in results.clocks(place) if c.isdigit()}):
        default = " (the default)" if pieces == OWN else ""
        lines.append(f"  - {pieces} pieces{default}: {steps_sentence(results, pieces)}")
    lines.append("- **Other ranges and data.** Error of a clock from elsewhere over that of the clock learned there:")
    lines += [f"  - {clock} → {place}: {exchange_sentence(results, place, clock)}"
              for place in EXCHANGE for clock in foreign(results, place)]
    lines.append(f"- {paradox_sentence(results)}")
    for own in (True, False):
        first, *rest = duel_sentences(results, own)
        lines += [f"- {first}", *rest]
    lines += ["- **Fréchet distance of the digits**, the four lowest of each cell:", *frechet_sentences(results)]
    return lines


def as_text(results: Results) -> str:
    """For a terminal."""
    return "\n\n".join(["\n".join(reading(results)), *(table.text() for table in tables(results)), _run_line(results)])


def _run_line(results: Results) -> str:
    facts = results.facts
    checks = ", ".join(f"{place} {error:.4f}" for place, error in results.checks.items())
    return (f"{facts['date']}, {facts['machine']}; {facts['seeds']} seed(s) of training and noise; "
            f"{facts['processor'] / 60:.0f} minutes of processor time, {facts['wall'] / 60:.0f} on the wall. "
            f"RMS distance of the reference to Heun's solution with 256 nodes: {checks}.")


def draw(results: Results, path: Path) -> None:
    """One panel a place: the error of each foreign clock over that of the place's own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    handles = {}
    for axes, place in zip(figure.subplots(2, 2, sharey=True).flat, EXCHANGE, strict=True):
        _draw_place(axes, results, place)
        handles |= {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), fontsize=9)
    figure.suptitle("Clocks carried elsewhere: end error over that of the clock learned on the spot")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_place(axes, results: Results, place: str) -> None:
    for solver, style in (("euler", "-"), ("heun", "--")):
        steps = [k for own, k in results.cells(place) if own == solver and k in EXCHANGE_STEPS]
        for clock in (name for name in EXCHANGE if name != place):
            found = [against(results, place, clock, str(OWN), solver, k) for k in steps]
            middle = [float(np.median(f)) for f in found]
            axes.plot(steps, middle, style, marker="o", color=COLOURS[clock],
                      label=f"clock of {clock}" if solver == "euler" else None)
            low, high = [f.min() for f in found], [f.max() for f in found]
            axes.fill_between(steps, low, high, color=COLOURS[clock], alpha=0.12)
        classic = [1 / duel(results, place, str(OWN), solver, k).ratio for k in steps]
        axes.plot(steps, classic, style, marker="s", color="#8a8f98",
                  label="strongest classic grid" if solver == "euler" else None)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(title=f"on: {place}", xlabel="steps (solid Euler, dashed Heun)", xticks=EXCHANGE_STEPS, yscale="log")
    axes.set_yticks(TICKS, labels=[f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()


METHOD = """\
# Transfer: a clock where it was not learned

`python -m benchmarks transfer --docs` wrote this page. {run}

## The result

{reading}

![Error of each foreign clock over that of the clock learned on the spot]({plot})

## What was done

The paper reads one clock at numbers of steps that it was not trained for, and carries it to other data sets without
retraining. Both are done here with ART-RL's clocks (default `TrainConfig` but for `clock_nodes` and the seed).
Each figure is an end error: the RMS difference at σ = 0 between K steps of the solver and a fine solution from the same
noise. The noise is not that of the training. Every seed changes training and noise alike.

- **demo, EDM range** and **demo, SDXL range**: the bundled model, σ from 80 and from 14.6. In the host the two dresses
  also differ in the parametrisation; to the core only the range does.
- **digits**: scikit-learn's 1,797 images of 8×8, σ from 80. The denoiser is exact: a mixture of as many Gaussians with
  standard deviation 0.2.
- **64×64 Gaussian** (σ from 14.6), **N(0, 1)** (from 3) and **two modes** (from 10): exact denoisers.

All data have unit variance but the two modes (4.2). Classic grids end at each target's σ_min: uniform in σ, geometric,
and EDM's ρ = 7. The strongest of the three is chosen after the fact in each cell, which favours it. ComfyUI's other
built-in schedules are not here; the README compares with them.

**Smaller range:** the clock starts where it reaches the new σ_max. **Larger range:** a schedule cannot start above its
own range; `Schedule.sigmas` starts at its own top, and what the model does further up it does not know. The benchmark
carries the density of steps on with the power of σ that it has in the first quarter of the clock, at most the 3/2 that
holds for any data far above their spread. On the EDM range two other roads stand beside it: 3/2 from the start, and one
step from 80 to 14.6 before the clock.

**Why a clock from elsewhere can win,** most likely: the objective counts a local error the same wherever it is made.
Errors made far above the spread of the data shrink on the way down, so on the EDM range a clock that spends fewer steps
up there has the higher J and the lower end error with Euler. **Why it can lose:** unit variance over all pixels is not
the same spread: a picture of more pixels varies more along its strongest directions, and takes shape at higher σ.

To keep the run short, the demo model's cells with Heun and those with 40 steps use the first half of the orbits; the
tables name the number. The sentences above leave out Heun on N(0, 1): a solver multiplies x by one number there, with
Heun that number passes through the exact one, and a ratio of such errors says little.

## Tables

{tables}
"""


def write_docs(results: Results, folder: Path) -> None:
    """`folder`/transfer.md and its plot."""
    draw(results, folder / PLOT)
    page = METHOD.format(run=_run_line(results), reading="\n".join(reading(results)), plot=PLOT.as_posix(),
                         tables="\n\n".join(table.markdown() for table in tables(results)))
    (folder / "transfer.md").write_text(page)
