"""The page of the matched comparison: every table, one plot a sampler; docs/results.md."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from art_nodes.core.scores import FEW
from benchmarks.machine import command, this_machine
from benchmarks.matched_budgets import budget_table
from benchmarks.matched_cells import ART, BATCH, FINER, KNOWN, MEASURED, REFERENCE_STEPS, SAMPLERS, STEPS, TRIED, Place
from benchmarks.matched_tables import (
    OF_MEDIANS,
    Columns,
    Entries,
    Entry,
    advice,
    by_place,
    duel_table,
    error_table,
    measured,
    misses,
    summary,
)
from benchmarks.pages import AS_TAKEN, as_markdown, as_text

PAGE = "results.md"
PLOTTED = 4  # built-ins a plot shows


def _command(found: Entries, page: str) -> str:
    """What computes the page again: the places and samplers that it has, and ours that no trial found."""
    places, samplers = {place for place, _, _ in found}, {sampler for _, sampler, _ in found}
    of = "" if samplers == set(SAMPLERS) else " --samplers " + ",".join(name for name in SAMPLERS if name in samplers)
    ours = {entry.schedule for column in found.values() for entry in column if entry.schedule.startswith(ART)}
    more = "" if all(name.endswith(TRIED) for name in ours) else " --more"
    counts = sorted({count for _, _, count in found})
    at = "" if counts == list(STEPS) else " --steps " + ",".join(map(str, counts))
    return command(f"matched{_asked(places)}{of}{at}{more} --docs{f' {page}' if page != PAGE else ''}")


def _asked(places: Collection[Place]) -> str:
    return "" if set(places) == set(MEASURED) else " --places " + ",".join(
        place.name for place in KNOWN if place in places)


def markdown(found: Entries, trial: str, rounds: Sequence[int], page: str = PAGE) -> str:
    """The whole page of that name; trial says what trials were, rounds as for `measured`."""
    parts = [*_head(found, trial, rounds, page), "## Who wins", as_markdown(summary(found)),
             "## Place by place", "Ours, tried: wins, tied, loses; geometric mean of the ratios.",
             as_markdown(by_place(found)), "## Which objective to take", "By RMS end error over all of these places."
             " FID says otherwise for some samplers: [fid.md](fid.md).",
             as_markdown(advice(found)), *_missed(found), *_budgets(found)]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        parts += [f"## {sampler}", f"![End error against steps](images/{picture(page, sampler)})"]
        for place in dict.fromkeys(place for place, name, _ in found if name == sampler):
            parts += [f"### {sampler}, {place.title}", as_markdown(duel_table(found, place, sampler)),
                      as_markdown(error_table(found, place, sampler))]
    return "\n\n".join(part for part in parts if part) + "\n"


FLOWS_ARE = (", flow those of a rectified flow with shift 3; garments: the demo model as one. Fine solutions of flows"
             " step where recordings do and not on karras")


def _head(found: Entries, trial: str, rounds: Sequence[int], page: str) -> list[str]:
    """What was done, and what the words mean."""
    noises = sorted({len(entry.errors) for column in found.values() for entry in column})
    names = dict.fromkeys(place.title for place, _, _ in found)
    flows = FLOWS_ARE if any(place.dress == "flow" for place, _, _ in found) else ""
    return ["# Against every built-in schedule, at matched model calls",
            f"{this_machine()}; {_command(found, page)}",
            f"In ComfyUI, with its own samplers and schedulers, measured at: {'; '.join(names)}. With a cfg: the demo"
            " model; photos: the photo model (docs/photo-model.md); digits and gaussian: exact denoisers of"
            " scikit-learn's digits under a kernel and of a 28x28 Gaussian field. SDXL and EDM are the noise"
            f" levels{flows}."
            f" {AS_TAKEN} With UniPC ComfyUI's KSampler drops the last sigma above 0 of a scheduler; *whole* is it"
            " as BasicScheduler gives it.",
            "End error: distance, in units of the data's deviation, to a fine solution from the same noise, of"
            f" {REFERENCE_STEPS} steps of DPM++ 2M on karras, {REFERENCE_STEPS * FINER} where the denoiser is exact;"
            " RMS and median over noises that nothing was learned on; labels are the demo model's ten classes, which"
            f" recordings have too. Of those noises a schedule has {_listed(noises)}: fewer than {rounds[-2] * BATCH}"
            " where by RMS as by median it was worse than the best built-in beyond chance, its interval above 1, or"
            " where it is one of ours that is meant for another sampler"
            + ("; the most only where the interval of ours, tried, had 1 in it" if noises[-1] > rounds[-2] * BATCH
               else "") + ". On the"
            " digits, where one picture in hundreds decides an RMS, none is left at so few. In brackets: fewer noises"
            " than the column's best has. *Strongest* is the built-in with the least error of that column on the"
            f" noises of ours, for medians that with the least median on at most {OF_MEDIANS}; the ratio's 95 %"
            f" interval is a paired bootstrap over noises, studentized on fewer than {FEW}. A few pictures that turn"
            " into another one decide an RMS at many steps; medians tell of all the others.",
            f"*Tried*: {trial} ([theory.md](theory.md), section 8; more seeds in [seeds.md](seeds.md), fewer calls in"
            " [trial.md](trial.md)). FID is in [fid.md](fid.md)."]


def _missed(found: Entries) -> list[str]:
    """Where ours, tried, is not the best."""
    rows = misses(found)
    return ["## Where ours, tried, is not the best", f"{len(rows) - 1} of {len(found)} columns, by RMS.",
            as_markdown(rows) if len(rows) > 1 else ""]


def _budgets(found: Entries) -> list[str]:
    """What so many model calls buy at each place, whatever the sampler."""
    samplers = dict.fromkeys(sampler for _, sampler, _ in found)
    parts = ["## Whatever the sampler", "The least RMS end error of at most so many model calls a picture: the best"
             " sampler, number of steps and schedule of ours, and the best of the host's schedules with any of these"
             f" samplers: {', '.join(samplers)}. Both were picked on the noises that they are compared on, the host's"
             " from more candidates."]
    for place in dict.fromkeys(place for place, _, _ in found):
        parts += [f"### {place.title}", as_markdown(budget_table(found, place))]
    return parts


def _listed(counts: Sequence[int]) -> str:
    *first, last = map(str, counts)
    return f"{', '.join(first)} or {last}" if first else last


def plot(found: Entries, sampler: str, path: Path) -> None:
    """End error against steps, log-log, a panel a place: ours and the strongest built-ins; hollow: on fewer noises."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    places = list(dict.fromkeys(place for place, name, _ in found if name == sampler))
    shown = {place: _shown({count: column for (where, name, count), column in found.items()
                            if (where, name) == (place, sampler)}) for place in places}
    names = sorted({name for lines in shown.values() for name in lines}, key=lambda name: (name.startswith(ART), name))
    look = {name: {"color": colormaps["tab20"](i % 20), "linewidth": 2.2 if name.startswith(ART) else 1.1}
            for i, name in enumerate(names)}  # one look for a schedule in all panels
    figure = Figure(figsize=(4 * len(places), 4.4), layout="constrained")
    for axes, place in zip(figure.subplots(1, len(places), squeeze=False)[0], places, strict=True):
        for name, points in shown[place].items():
            axes.loglog(*zip(*((count, error) for count, error, _ in points), strict=True), **look[name])
            for count, error, whole in points:
                axes.loglog(count, error, "o", markersize=3.5, color=look[name]["color"],
                            fillstyle="full" if whole else "none")
        axes.set(title=f"{sampler}, {place.title}", xlabel="steps",
                 xticks=sorted({count for points in shown[place].values() for count, *_ in points}))
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("RMS end error")
    lines = [figure.axes[0].plot([], [], label=name, **look[name])[0] for name in names]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(len(names), 3 * len(places)), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _shown(here: Mapping[int, Sequence[Entry]]) -> dict[str, list[tuple[int, float, bool]]]:
    """Name -> (steps, RMS, whether on as many noises as any rival) of what a panel shows: ours, PLOTTED built-ins."""
    lines: dict[str, list[tuple[int, float, bool]]] = {}
    for count, column in here.items():
        judged = sorted(len(entry.errors) for entry in column)[-2:][0]
        for entry in column:
            lines.setdefault(entry.schedule, []).append((count, entry.rms, len(entry.errors) >= judged))
    level = {name: np.mean([np.log({count: rms for count, rms, _ in line}.get(count, 9.0)) for count in here])
             for name, line in lines.items()}
    built_in = sorted((name for name in lines if not name.startswith(ART)), key=level.get)
    return {name: lines[name] for name in (*built_in[:PLOTTED], *(name for name in lines if name.startswith(ART)))}


def write(columns: Columns, path: Path, trial: str, rounds: Sequence[int], say=print) -> bool:
    """Print the tables, and write the page at `path`, in the folder of what was measured; False where nothing was.

    trial: says what trials were. rounds: chunks of each, as for `measured`.
    """
    folder = path.parent
    found = {key: column for key, column in measured(columns, folder, rounds).items() if column}
    if not found:
        say(f"nothing measured yet in {folder}; run it without --report")
        return False
    for place, sampler in dict.fromkeys((place, sampler) for place, sampler, _ in found):
        say(f"\n{sampler}, {place.title}: RMS / median end error, * least\n"
            + as_text(error_table(found, place, sampler)))
        say(as_text(duel_table(found, place, sampler)))
    say("\n" + as_text(summary(found)))
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        plot(found, sampler, folder / "images" / picture(path.name, sampler))
    path.write_text(markdown(found, trial, rounds, path.name))
    say(f"{path}")
    return True


def picture(page: str, sampler: str) -> str:
    """The name of a page's picture of a sampler."""
    return f"{Path(page).stem}-{sampler}.png"
