"""How good schedules are on models that they were not learned on; `python -m benchmarks bundled`.

Among the models that are here: the photo model, the demo model, an exact Gaussian and exact digits. Each one's
schedules are carried to the others in the way the bundled families' were (benchmarks/carry_over.py), and judged there
against the ones learned on the spot and against the host's. Places that are complete are kept in build/bundled;
delete that folder once the learner has changed.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank, Schedule, TrainConfig, grid_cost, learn_schedule, with_grids
from art_nodes.core.compare import euler, heun
from art_nodes.core.scores import ratio_interval, total
from art_nodes.core.stiffness import rms
from benchmarks import bundled_report as report
from benchmarks.bundled_places import PLACES, Place, built_in, carried_bank
from benchmarks.carry_over import GROWTH, POOLED
from benchmarks.carry_sources import POOL, SOURCES, Source
from benchmarks.chunks import say
from benchmarks.machine import this_machine
from benchmarks.matched import UNCULLED
from benchmarks.options import chosen, no_page_of_a_look
from benchmarks.pages import copy_to_docs
from benchmarks.pooled import pooled_grids
from benchmarks.transfer_scores import two_step

FOLDER = Path("build/bundled")
STEPS = (6, 10, 20)
SOLVERS = {"euler": euler, "heun": heun, "dpmpp_2m": two_step}
OBJECTIVES = {"euler": "end:euler", "heun": "euler", "dpmpp_2m": "end:dpmpp_2m"}  # the bundled file for a sampler
FLOW_FILES = {"euler": "euler", "heun": "euler", "dpmpp_2m": "dpmpp_2m"}  # whose grids a sampler gets on a flow
SEEDS = 3  # of recording and training, for J/J*; end errors are those of the first
HELD_OUT = 50_000  # seed of the noise that is judged on; recordings take small ones
BATCH, RIVALS = 32, 3  # all built-ins are tried on one batch; so many on all, and what may be as good as the best
PIECES = 64  # at which a clock's J is taken

Grids = dict[tuple[str, int], dict[str, np.ndarray]]  # (sampler, steps) -> schedule -> sigmas


def learned(bank: OrbitBank, carried: bool) -> dict[str, Schedule]:
    """A schedule for each sampler from one source, as bundled ones are learned if it is `carried`."""
    clock, growth = learn_schedule(bank, TrainConfig()), GROWTH if carried else None
    return {sampler: clock if name == "euler" else with_grids(clock, bank, name, STEPS, growth=growth)
            for sampler, name in OBJECTIVES.items()}


def our_grids(place: Place, sources: Sequence[Source]) -> Grids:
    """Ours at a place: of the place's own model, and of the others as bundled schedules are carried to its dress.

    That is one schedule from each of them, and for a rectified flow one from all together.
    """
    grids: Grids = {(sampler, steps): {} for sampler in SOLVERS for steps in STEPS}
    others = [source for source in sources if source != place.source]
    for source in (place.source, *(() if place.dress.share else others)):
        for sampler, schedule in learned(carried_bank(source, place, 0), source != place.source).items():
            for steps in STEPS:
                grids[sampler, steps][source.name] = schedule.sigmas(steps).double().numpy()
    if place.dress.share:
        banks = [carried_bank(source, place, 0) for source in POOL if not source.akin(place.source)]
        pools = {sampler: pooled_grids(banks, sampler, STEPS) for sampler in POOLED}
        for (sampler, steps), ours in grids.items():
            ours[report.TOGETHER] = pools[FLOW_FILES[sampler]][steps]
    return grids


def costs(place: Place, sources: Sequence[Source]) -> dict[str, dict[str, list[float]]]:
    """J/J* at a place of the clocks from each source, seed by seed: carried as the bundled ones, and as they are."""
    found = {}
    natives = [place.source.bank(place.dress, 1000 + seed) for seed in range(SEEDS)]  # not the noise it learned on
    for source in sources:
        for word in ("carried", "as it is"):
            banks = (carried_bank(source, place, seed, prepared=word == "carried") for seed in range(SEEDS))
            found.setdefault(source.name, {})[word] = [
                grid_cost(native, learn_schedule(bank, TrainConfig(seed=seed)).sigmas(PIECES))
                for seed, (bank, native) in enumerate(zip(banks, natives, strict=True))]
    return found


class Judge:
    """End errors at a place on held-out noise, batch by batch."""

    def __init__(self, place: Place):
        self.place, self.denoiser = place, place.denoiser
        noise = place.dress.start(place.source.noise(place.source.judged, HELD_OUT))
        self.batches = noise.split(BATCH)
        with torch.no_grad():
            self.truth = [two_step(self.denoiser, part, place.dress.reference()) for part in self.batches]

    @torch.no_grad()
    def errors(self, sampler: str, grid: np.ndarray, batches: slice) -> np.ndarray:
        """RMS error of every sample of some batches."""
        sigmas, run = torch.from_numpy(grid), SOLVERS[sampler]
        return np.concatenate([rms(run(self.denoiser, noise, sigmas) - truth).double().numpy()
                               for noise, truth in zip(self.batches[batches], self.truth[batches], strict=True)])

    def column(self, sampler: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict:
        """Name -> errors: all of ours, built-ins that may be strongest by the first batch, and on flows `simple`."""
        first = {name: self.errors(sampler, grid, slice(0, 1)) for name, grid in theirs.items()}
        rivals = strongest(first) if self.place.source.name != UNCULLED else first
        if self.place.dress.share:
            rivals = dict.fromkeys((*rivals, report.USUAL))
        found = {name: self.errors(sampler, grid, slice(None)) for name, grid in ours.items()}
        rest = slice(1, None)
        return found | {f"host {name}": np.concatenate([first[name], self.errors(sampler, theirs[name], rest)])
                        if len(self.batches) > 1 else first[name] for name in rivals}


def strongest(errors: Mapping[str, np.ndarray]) -> list[str]:
    """The names of the lowest errors, and of all that chance might have put behind the lowest."""
    ranked = sorted(errors, key=lambda name: total(errors[name]))
    return [name for rank, name in enumerate(ranked)
            if rank < RIVALS or ratio_interval(errors[name], errors[ranked[0]])[0] <= 1]


def measure(place: Place, sources: Sequence[Source], say) -> dict:
    """All that is measured at a place, as it is kept in its file."""
    began = time.perf_counter()
    grids = our_grids(place, sources)
    say(f"{place.name}: schedules learned, {time.perf_counter() - began:.0f} s")
    judge, columns = Judge(place), {}
    for (sampler, steps), ours in grids.items():
        columns[f"{sampler} {steps}"] = {name: np.round(errors, 7).tolist() for name, errors in judge.column(
            sampler, ours, built_in(place.dress, sampler, steps)).items()}
        say(f"{place.name}: {sampler} at {steps} steps, {time.perf_counter() - began:.0f} s")
    return {"machine": this_machine(), "seconds": time.perf_counter() - began, "columns": columns,
            "costs": costs(place, sources)}


def smaller(source: Source) -> Source:
    """For a look."""
    return dataclasses.replace(source, orbits=min(source.orbits, 16), judged=BATCH)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks bundled", description=__doc__.splitlines()[0])
    parser.add_argument("--places", default="; ".join(place.name for place in PLACES), help="separated by ;")
    parser.add_argument("--quick", action="store_true", help="few orbits, for a look: no figures to quote")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", action="store_true", help="also write docs/bundled.md and its plots")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    no_page_of_a_look(parser, args)
    names = chosen(parser, args.places, (place.name for place in PLACES), ";")
    torch.set_num_threads(1)
    folder = args.folder / "quick" if args.quick else args.folder
    folder.mkdir(parents=True, exist_ok=True)
    sources, results = tuple(map(smaller, SOURCES)) if args.quick else SOURCES, {}
    for place in PLACES:
        path = folder / f"{place.name.replace(', ', '-').replace(' ', '-')}.json"
        if not path.exists() and place.name in names and not args.report:
            here = dataclasses.replace(place, source=smaller(place.source)) if args.quick else place
            path.write_text(json.dumps(measure(here, sources, say)))
        if path.exists():
            results[place.name] = json.loads(path.read_text())
    report.write(results, folder, say)
    if args.docs:
        copy_to_docs(folder / report.PAGE)


if __name__ == "__main__":
    main()
