"""What the bundled schedules are worth where they were not learned, and beside published tables; docs/bundled.md."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from art_nodes.core import Schedule
from art_nodes.core.scores import total
from benchmarks import ays, published
from benchmarks.bundle_demo import FOLDER as SCHEDULES
from benchmarks.carrying import field_variances
from benchmarks.duels import Duel, mean_of
from benchmarks.latents import FAMILIES
from benchmarks.machine import this_machine
from benchmarks.pages import as_markdown, as_text

PAGE, PREFACE = "bundled.md", Path(__file__).parent / "bundled_page.md"
HOST = "host "  # before a built-in's name
TOGETHER = "all others together"  # where a schedule is from that several models were asked for
PHOTOGRAPHS = "photographs"  # what is bundled for added noise is from
USUAL = "simple"  # the host's schedule that rectified flows are mostly sampled with
ITSELF, BUNDLED, SINGLE = "itself", "as bundled ones are, elsewhere", "any one other model"  # kinds of ours
Results = Mapping[str, dict]  # place -> what was measured there


def _columns(result: dict) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """(sampler, steps) -> schedule -> errors (N,)."""
    return {(key.split()[0], int(key.split()[1])): {name: np.array(errors) for name, errors in column.items()}
            for key, column in result["columns"].items()}


def strongest(column: Mapping[str, np.ndarray]) -> str:
    """The built-in with the least error."""
    return min((name for name in column if name.startswith(HOST)), key=lambda name: total(column[name]))


def ratio(column: Mapping[str, np.ndarray], name: str) -> str:
    """Ours over the strongest built-in with the 95 % interval of the ratio; in ** where the interval lies below 1."""
    one = against_strongest(column, name)
    return f"**{one.text}**" if one.verdict == "wins" else one.text


def against_strongest(column: Mapping[str, np.ndarray], name: str) -> Duel:
    """Ours against the strongest built-in."""
    return Duel.of(strongest(column), column[name], column[strongest(column)])


def error_table(results: Results, sampler: str) -> list[list[str]]:
    """Rows are a place and where its schedule is from, columns steps: ratios to the strongest built-in."""
    rows = []
    for place, result in results.items():
        columns = {steps: column for (name, steps), column in _columns(result).items() if name == sampler}
        if not rows:
            rows.append(["judged on", "learned on", *(f"{steps} steps" for steps in columns)])
        for source in (name for name in next(iter(columns.values())) if not name.startswith(HOST)):
            word = ITSELF if place.startswith(source + ",") else source
            rows.append([place, word, *(ratio(column, source) for column in columns.values())])
        rows.append([place, "strongest built-in", *(f"{strongest(column).removeprefix(HOST)} "
                                                    f"{total(column[strongest(column)]):.4f}"
                                                    for column in columns.values())])
    return rows


def tally(results: Results) -> list[list[str]]:
    """For each sampler: how often schedules, own and carried, win, tie or lose against the strongest built-in."""
    rows = [["sampler", "learned on", "wins", "tied", "loses", "mean ratio", "worst ratio", "to the place's own"]]
    samplers = dict.fromkeys(sampler for result in results.values() for sampler, _ in _columns(result))
    for sampler in samplers:
        for word in (ITSELF, BUNDLED, SINGLE):
            duels, to_own = [], []
            for place, result in results.items():
                for (name, _), column in _columns(result).items():
                    own = next(source for source in column if place.startswith(source + ","))
                    for source in _of_kind(word, column, own) if name == sampler else ():
                        duels.append(against_strongest(column, source))
                        to_own.append(total(column[source]) / total(column[own]))
            if duels:
                rows.append([sampler, word, *_summed(duels), f"{mean_of(to_own):.3f}"])
    return rows


def flow_table(results: Results) -> list[list[str]]:
    """What the bundled kind does on rectified flows, beside the host's usual schedule and beside the strongest."""
    rows = [["sampler", "against", "wins", "tied", "loses", "mean ratio", "worst ratio"]]
    found: dict[tuple[str, str], list[Duel]] = {}
    for result in results.values():
        for (sampler, _), column in _columns(result).items():
            if TOGETHER in column:
                for word, rival in ((USUAL, HOST + USUAL), ("the strongest", strongest(column))):
                    duel = Duel.of(rival, column[TOGETHER], column[rival])
                    found.setdefault((sampler, word), []).append(duel)
    for (sampler, word), duels in found.items():
        rows.append([sampler, word, *_summed(duels)])
    return rows


def _summed(duels: Sequence[Duel]) -> list[str]:
    """Wins, ties, losses, mean and worst ratio."""
    verdicts, ratios = [one.verdict for one in duels], [one.ratio for one in duels]
    return [*(str(verdicts.count(each)) for each in ("wins", "tied", "loses")), f"{mean_of(ratios):.3f}",
            f"{max(ratios):.3f}"]


def _of_kind(word: str, column: Mapping[str, np.ndarray], own: str) -> list[str]:
    """A column's schedules of a kind: the place's own, carried as bundled ones are, or of one other model."""
    if word == ITSELF:
        return [own]
    if word == BUNDLED:
        return [name for name in (PHOTOGRAPHS, TOGETHER) if name in column and name != own]
    return [name for name in column if name not in (own, TOGETHER) and not name.startswith(HOST)]


def cost_table(results: Results) -> list[list[str]]:
    """Rows are places, columns where the clock is from: J/J* there, worst of the seeds; and of the clock as it is."""
    sources = list(next(iter(results.values()))["costs"])
    rows = [["judged on", *sources]]
    for place, result in results.items():
        cells = []
        for source in sources:
            carried, plain = (max(result["costs"][source][word]) for word in ("carried", "as it is"))
            cells.append(f"{carried:.3f}" if carried == plain else f"{carried:.3f} ({plain:.3f})")
        rows.append([place, *cells])
    return rows


def bundled(schedules: Path = SCHEDULES) -> dict[str, dict[str, Schedule]]:
    """Family -> objective -> the bundled schedule, of families that were carried over."""
    found: dict[str, dict[str, Schedule]] = {}
    for path in sorted(schedules.glob("*.safetensors")):
        schedule = Schedule.load(path)
        if str(schedule.provenance.get("carried_over", "")).startswith("yes"):
            found.setdefault(schedule.provenance["family"], {})[schedule.provenance["objective"]] = schedule
    return found


def grid_table(family: str, schedules: Mapping[str, Schedule], tables: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Sigmas of 10 steps: ours by objective, and published tables of so many."""
    rows = [[family, *map(str, range(11))]]
    for name, schedule in schedules.items():
        rows.append([f"ART {name}", *(f"{sigma:.4g}" for sigma in schedule.sigmas(10).tolist())])
    for name, table in tables.items():
        rows.append([name, *(f"{sigma:.4g}" for sigma in table)])
    return rows


def kl_table(family: str, steps: int = 10) -> np.ndarray:
    """The sigmas (steps + 1,) that AYS' own bound wants on the field that carries photographs to a family's size."""
    latents = FAMILIES[family]
    variances, share = field_variances(latents.size)
    mmse = ays.gaussian_mmse(variances * latents.data_std**2, share)
    return ays.optimal_table(mmse, latents.high, latents.low, steps)


def plot(schedules: Mapping[str, Mapping[str, Schedule]], path: Path) -> None:
    """Where 10 steps lie: ours beside published tables, a panel a family."""
    from matplotlib.figure import Figure

    families = [family for family in schedules if family in published.of_families()]
    figure = Figure(figsize=(3.6 * len(families), 3.6), layout="constrained")
    for axes, family in zip(figure.subplots(1, len(families), squeeze=False)[0], families, strict=True):
        for name, schedule in schedules[family].items():
            axes.plot(np.arange(10), schedule.sigmas(10)[:-1], "o-", markersize=3.5, linewidth=2, label=f"ART {name}")
        for name, table in published.of_families()[family].items():
            axes.plot(np.arange(10), table[:-1], "s--", markersize=3, linewidth=1, label=name)
        share = schedules[family]["euler"].sigma_max <= 1
        axes.set(title=family, xlabel="step of 10", ylabel="share of noise" if share else "sigma",
                 yscale="linear" if share else "log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def markdown(results: Results) -> str:
    """The whole page."""
    heads = sorted({result["machine"] for result in results.values()})
    tables, schedules = published.of_families(), bundled()
    parts = [PREFACE.read_text(encoding="utf-8").strip(),
             "## How good a schedule is where it was not learned",
             f"{'; '.join(heads)}; `python -m benchmarks bundled --docs`",
             "End error of ours over that of the strongest built-in schedule, RMS over held-out noises, with the 95 %"
             " interval of a paired bootstrap; bold where the interval lies below 1. A place is a model and a dress:"
             " SDXL's range of σ, EDM's, or a rectified flow with shift 3.", as_markdown(tally(results))]
    if any(TOGETHER in column for result in results.values() for column in _columns(result).values()):
        parts += [f"On the rectified flows alone, what bundled files hold, without the place's own model and beside"
                  f" `{USUAL}`, which flows are mostly sampled with:", as_markdown(flow_table(results))]
    for sampler in dict.fromkeys(sampler for result in results.values() for sampler, _ in _columns(result)):
        parts += [f"### {sampler}", as_markdown(error_table(results, sampler))]
    parts += ["## The clock alone", "J/J* of the paper's clock on the place's own orbits, the worst of three seeds."
              " In brackets: of the clock as it is, without smoothing and without the step for the picture's size.",
              as_markdown(cost_table(results)),
              "## Beside published tables", "![Where 10 steps lie](images/bundled-tables.png)"]
    for family, known in schedules.items():
        shown = dict(tables.get(family, {}))
        if "AYS" in shown:
            shown["AYS' bound on the field"] = kl_table(family)
        parts.append(as_markdown(grid_table(family, known, shown)))
    return "\n\n".join(parts) + "\n"


def write(results: Results, folder: Path, say=print) -> None:
    """Print the tables, and write the page and its plot into `folder`."""
    if not results:
        say(f"nothing measured yet in {folder}")
        return
    for sampler in dict.fromkeys(sampler for result in results.values() for sampler, _ in _columns(result)):
        say(f"\n{sampler}: end error over the strongest built-in's\n" + as_text(error_table(results, sampler)))
    say("\n" + as_text(tally(results)))
    say(f"\nrectified flows, {TOGETHER}\n" + as_text(flow_table(results)))
    say("\nJ/J*\n" + as_text(cost_table(results)) + f"\n{this_machine()}")
    plot(bundled(), folder / "images" / "bundled-tables.png")
    (folder / PAGE).write_text(markdown(results), encoding="utf-8")
