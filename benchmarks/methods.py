"""Other published ways to find a schedule on a model, beside ours, on the same model; `python -m benchmarks methods`.

GITS, OSS, DMN and gradient descent through the sampler (benchmarks/other_methods.py) find their grids on the demo and
the photo model, ours as ART Train does, each for three seeds; all are then sampled in the host with its own samplers
from held-out noise, and compared with the strongest of all built-in schedules. Stops cleanly at Ctrl-C or SIGTERM; the
same command goes on where it stopped.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import optimal_schedule, recording_grid, with_grids
from art_nodes.core.exact import Denoiser
from art_nodes.demo import demo_denoiser, load_network
from art_nodes.demo.unet import CLASSES
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.duels import Duel, mean_of
from benchmarks.machine import command, this_machine
from benchmarks.matched import FOLDER, built_in, missing, run
from benchmarks.matched_cells import BATCH, DEMO, Cell, Place, processes
from benchmarks.matched_tables import Entry
from benchmarks.options import named
from benchmarks.other_methods import LATER, by_gradient, dmn, gits, gradient_calls, oss, oss_calls
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.seed_tables import columns_of, rows_of, summary, title
from benchmarks.targets import DEMO as DEMO_TARGETS
from benchmarks.targets import PHOTOS, Target
from benchmarks.trial_cells import SEEDS, SIZE, Trial, ground, make_missing

PAGE = "methods.md"
PLACES = (Place("SDXL"), Place("EDM"), Place("SDXL", model="photos"))
SAMPLERS, STEPS, CHUNKS = ("euler", "dpmpp_2m"), (6, 10), 4
BATCHES, NODES, BUDGET = 40, 64, 4096  # of SIZE recorded orbits each; nodes of an orbit; sample calls of a trial
PICTURES = {"OSS": 8, "gradient": 50}  # that these look at; gradient descent keeps as many others to judge itself by
OTHERS = ("GITS", "OSS", "DMN", "gradient")
CLOCK, OURS, TRIED = "ART's clock", "ART end:<sampler>", "ART, tried"
METHODS = (*OTHERS, CLOCK, OURS)
KINDS = (*METHODS, TRIED)
NAMES = {CLOCK: "clock", OURS: "end"}  # of files
FOR_ONE = ("gradient", OURS)  # sampler; the others' grids are for any
WORDS = (
    f"- *GITS* (arXiv 2405.11326): dynamic programming over {BATCHES * SIZE} recorded orbits, an Euler step charged by"
    f" how far from the orbit it lands, those to come {LATER:g} times as much at each step; one grid for all"
    " samplers. The built-in of that name is the host's table, which was not made on these models.\n"
    f"- *OSS* (arXiv 2503.18948): dynamic programming over the {NODES} nodes of Euler's own states, by how far they are"
    f" from the fine orbit; {PICTURES['OSS']} pictures, of whose steps the median is taken.\n"
    "- *DMN* (arXiv 2402.17376): the bound on a third-order multistep method's error, with no model at all.\n"
    "- *gradient*: descent on the mean end error through the sampler and the network, as LD3 does (arXiv 2405.15506),"
    f" on {PICTURES['gradient']} pictures, kept by that of as many others. LD3's second list of times, which no sampler"
    " of the host takes, is left out, and the distance is that of the tables here in the place of LPIPS; of pictures"
    " it takes the mean, they the RMS.\n"
    f"- *{CLOCK}*: the closed form of the paper's objective, *{OURS}* the grids of that objective, from the orbits that"
    f" GITS has; *{TRIED}* adds a trial of {BUDGET} sample calls.\n\n"
    "Each is our reading of its paper, in the coordinates of this project; none was tuned here, and what its authors'"
    " own code would give was not tried. Gradients need the network's own graph in memory: ComfyUI runs without."
)
FIRST_SEED = 70_000  # of noise for methods that record by themselves


def target_of(place: Place) -> Target:
    """The model of a place as a denoiser in its range."""
    targets = DEMO_TARGETS if place.model == DEMO else PHOTOS
    return next(target for target in targets if place.dress in target.name)


def by_number(place: Place) -> Callable[[torch.Tensor], Denoiser]:
    """Numbers of pictures -> D for them, which cycle over the demo model's classes."""
    if place.model != DEMO:
        denoise = target_of(place).make()
        return lambda numbers: denoise
    network, classes = load_network().to(memory_format=torch.channels_last), torch.eye(len(CLASSES))
    return lambda numbers: demo_denoiser(network, classes[numbers % len(CLASSES)], place.cfg)


@dataclass(frozen=True)
class Found:
    """What one method finds for so many steps at a place from one seed."""

    place: Place
    method: str
    sampler: str  # "any" where the grid is for every sampler
    steps: int
    seed: int

    def path(self, root: Path) -> Path:
        """The file of what was found."""
        name = NAMES.get(self.method, self.method.lower())
        told = f"method-{name}-{self.sampler}-{self.steps:02d}-seed{self.seed}-{self.place.mark}.json"
        return root / self.place.name / told

    def load(self, root: Path) -> dict:
        """Its sigmas, and the sample calls that they took."""
        return json.loads(self.path(root).read_text())

    def find(self) -> dict:
        """What `load` gives, by the method."""
        target = target_of(self.place)
        if self.method == "DMN":
            return _told(dmn(target.sigma_max, target.sigma_min, self.steps), 0)
        if self.method == "OSS":
            return self._by_oss(target)
        if self.method == "gradient":
            return self._by_gradient(target)
        bank = ground(self.place, self.seed, BATCHES).bank
        if self.method == "GITS":
            return _told(gits(bank, self.steps), bank.sample_calls)
        schedule = optimal_schedule(bank)
        if self.method == OURS:
            schedule = with_grids(schedule, bank, f"end:{self.sampler}", (self.steps,))
        return _told(schedule.sigmas(self.steps).double().numpy(), bank.sample_calls)

    def _by_oss(self, target: Target) -> dict:
        nodes = np.append(recording_grid(target.sigma_max, target.sigma_min, NODES), 0.0)
        denoise, count = target.make(), PICTURES["OSS"]
        return _told(oss(denoise, self._starts(target, count), nodes, self.steps), oss_calls(count, NODES, self.steps))

    def _by_gradient(self, target: Target) -> dict:
        count = PICTURES["gradient"]
        sigmas = by_gradient(by_number(self.place), self._starts(target, 2 * count), target.sigma_max,
                             target.sigma_min, self.sampler, self.steps, NODES, self.seed)
        return _told(sigmas, gradient_calls(self.steps, count, NODES))

    def _starts(self, target: Target, count: int) -> torch.Tensor:
        return target.draw(count, torch.Generator().manual_seed(FIRST_SEED + self.seed))


def _told(sigmas: np.ndarray, calls: int) -> dict:
    return {"sigmas": [float(sigma) for sigma in sigmas], "calls": int(calls)}


def ours_against(cells: Sequence[Cell], folder: Path) -> list[list[str]]:
    """For each sampler and other method: how often ours wins, ties and loses, over places, steps and seeds, and by
    how much in the mean, without a trial and with one."""
    found = columns_of(cells, folder, CHUNKS)
    rows = [["sampler", "against", *(f"{kind}: wins, tied, loses; mean ratio" for kind in (OURS, TRIED))]]
    for sampler in SAMPLERS:
        for other in OTHERS:
            cells = []
            for mine in (OURS, TRIED):
                duels = [one for key, column in found.items() if key[1] == sampler for seed in SEEDS
                         if (one := between(column, title(mine, seed), title(other, seed)))]
                verdicts = [one.verdict for one in duels]
                cells.append(f"{', '.join(str(verdicts.count(word)) for word in ('wins', 'tied', 'loses'))}; "
                             f"{mean_of([one.ratio for one in duels]):.2f}")
            rows.append([sampler, other, *cells])
    return rows


def between(column: Sequence[Entry], mine: str, other: str) -> Duel | None:
    """Two schedules of a column on the same noises; None where one was not measured."""
    errors = {entry.schedule: entry.errors for entry in column}
    if not {mine, other} <= errors.keys():
        return None
    return Duel.of(other, errors[mine], errors[other])


def spent(jobs: Sequence[Found], folder: Path) -> list[list[str]]:
    """The sample calls that each method took for a grid of so many steps, the most at any place."""
    rows = [["steps", *METHODS, TRIED]]
    for steps in STEPS:
        calls = [max(job.load(folder)["calls"] for job in jobs if (job.method, job.steps) == (method, steps))
                 for method in METHODS]
        rows.append([str(steps), *(f"{count:,d}" for count in calls), f"{calls[-1] + BUDGET:,d}"])
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks methods", description=__doc__.splitlines()[0])
    parser.add_argument("--places", default=",".join(place.name for place in PLACES))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="that of `matched`")
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{PAGE}")
    args = parser.parse_args(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    places = named(parser, args.places, PLACES)
    names = ",".join(place.name for place in places)
    asked = [(place, sampler, steps) for place in places for sampler in SAMPLERS for steps in STEPS]
    with resumable():
        found = [Found(place, method, sampler, steps, seed) for place in places for seed in SEEDS
                 for method in METHODS for sampler in (SAMPLERS if method in FOR_ONE else ("any",)) for steps in STEPS]
        make_missing(found, args.folder, args.workers, lambda job: f"{job.method}, {job.place.title}, {job.sampler}")
        tried = [Trial(place, f"end:{sampler}", steps, seed, BATCHES, BUDGET) for place in places for seed in SEEDS
                 for sampler in SAMPLERS for steps in STEPS]
        make_missing(tried, args.folder, args.workers, lambda job: f"trial, {job.place.title}, {job.objective}")
        cells = [Cell(job.place, sampler, job.steps, title(job.method, job.seed),
                      tuple(job.load(args.folder)["sigmas"])) for job in found for sampler in SAMPLERS
                 if job.sampler in (sampler, "any")]
        cells += [Cell(job.place, job.sampler, job.steps, title(TRIED, job.seed), job.sigmas(args.folder))
                  for job in tried]
        cells = sorted([*built_in(asked), *cells], key=lambda cell: asked.index((cell.place, cell.sampler, cell.steps)))
        with processes(args.folder, args.workers) as each:
            run(missing(cells, CHUNKS, args.folder), f"{CHUNKS * BATCH} noises", each, say)
    rows, duels, calls = (rows_of(cells, KINDS, args.folder, CHUNKS), ours_against(cells, args.folder),
                          spent(found, args.folder))
    print("\n\n".join(map(as_text, (rows, summary(rows, by=1), duels, calls))))
    write_page(args.folder / PAGE, [
        "# Other published methods, on the same models",
        f"{this_machine()}; {command(f'methods --places {names} --docs')}",
        f"End error in ComfyUI, with its own samplers, on {CHUNKS * BATCH} held-out noises, as a ratio to the RMS of"
        " the strongest of all built-in schedules in the column; seeds"
        f" {', '.join(map(str, SEEDS))}, each with recordings, or pictures to descend on, of its own. Places without a"
        " name are the demo model.",
        WORDS, "Geometric mean of all ratios by sampler, and in how many of the columns every seed is below 1:",
        as_markdown(summary(rows, by=1)),
        "Ours against each of them, over all columns and seeds, by the 95 % interval of a paired bootstrap over"
        " noises:",
        as_markdown(duels), "Sample calls for one grid, a pass backwards counted as two, at most:", as_markdown(calls),
        "Every column:", as_markdown(rows),
    ], args.docs)
    print(args.folder / PAGE)


if __name__ == "__main__":
    main()
