"""Learn a bundled schedule on a real checkpoint, in a ComfyUI that runs somewhere.

    python -m benchmarks make-bundled --comfyui http://127.0.0.1:8188 --checkpoint sdxl_base.safetensors --family sdxl

That ComfyUI must have this pack. It records every prompt of benchmarks/prompts.txt with 4 seeds; the recordings come
here over HTTP, so that it may be another machine, and are kept: a run that was stopped goes on where it was, and
another --objective takes no model call. What is learned on all of them rewrites learned_schedules/<family>.safetensors;
for another objective than end:euler, <family>-<sampler>.safetensors or, for the paper's, <family>-clock.safetensors.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import requests

from art_nodes.core import OBJECTIVES, OrbitBank, Schedule, ScheduleFileError, TrainConfig, learn_schedule, with_grids
from art_nodes.core.objectives import split_objective
from art_nodes.host.families import BY_NAME, ModelFacts, family_of
from benchmarks.bundle_demo import FOLDER
from benchmarks.comfy.client import Client, HostError
from benchmarks.make_bundled_graph import PROMPTS, Recipe, build, needed_nodes, read_prompts, recipe_of

DEFAULT = "end:euler"  # what is bundled under a family's own name
WORK = Path(__file__).resolve().parents[1] / "build" / "make-bundled"
PROMPT_SECONDS = 3600.0  # for one prompt, on a slow machine


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is recorded. Each prompt gets `seeds` noises of its own; prompt i starts from `seed` + i * `seeds`."""

    family: str
    checkpoint: str
    recipe: Recipe
    prompts: tuple[str, ...]
    seeds: int = 4
    seed: int = 0
    nodes: int = 64
    batch: int = 1  # samples in a model call

    def graph(self, number: int) -> dict:
        """The workflow of one prompt."""
        return build(self.family, self.checkpoint, self.recipe, self.prompts[number],
                     seed=self.seed + number * self.seeds, seeds=self.seeds, nodes=self.nodes, batch=self.batch)

    @property
    def key(self) -> str:
        """Changes with whatever changes a recording."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()[:12]


def check_host(client: Client, family: str) -> None:
    """Raise HostError with the way out if the ComfyUI lacks a node that is needed."""
    known = client.object_info()
    missing = sorted(node for node in needed_nodes(family) if node not in known)
    if missing:
        raise HostError(f"the ComfyUI at {client.url} must have all nodes of the workflow; it lacks "
                        f"{', '.join(missing)}; install this version of ComfyUI-ART there, update it, and restart it")


def record_all(client: Client, plan: Plan, work: Path, tell: Callable[[str], None] = print) -> list[OrbitBank]:
    """A recording of each prompt, in order; those that are in `work` already are not made again."""
    folder = work / f"{plan.family}-{plan.key}"
    folder.mkdir(parents=True, exist_ok=True)
    banks = []
    for number, prompt in enumerate(plan.prompts):
        path = folder / f"{number:03}.safetensors"
        bank = _kept(path)
        if bank is None:
            outputs = client.run(plan.graph(number), timeout=PROMPT_SECONDS)
            bank = _fetch(client, outputs["record"]["recordings"][0], path)
            tell(f"{number + 1} of {len(plan.prompts)}: {prompt} ({bank.calls} model calls)")
        if not banks:
            check_family(bank, plan.family)
        banks.append(bank)
    return banks


def check_family(bank: OrbitBank, family: str) -> None:
    """Raise ValueError if what was recorded is not of the family that the file is for."""
    facts = ModelFacts.of_record(bank.metadata)
    found = family_of(facts)
    # The general families are there for models that belong to none of the others, or to any.
    if found.name != family and not (BY_NAME[family].meaning == found.meaning and family in ("eps", "flow")):
        raise ValueError(f"--checkpoint must be of the family {family}; the model is of {found.name}: {facts.line}; "
                         f"pass --family {found.name}")


def _kept(path: Path) -> OrbitBank | None:
    """A recording that is there already; a damaged one is made afresh."""
    try:
        return OrbitBank.load(path) if path.exists() else None
    except ScheduleFileError:
        return None


def _fetch(client: Client, file: dict, path: Path) -> OrbitBank:
    """Fetch a recording from the ComfyUI; the file appears whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".fetching")
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(client.view(**file))
        bank = OrbitBank.load(temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return bank


def learn_on(banks: list[OrbitBank], plan: Plan, objective: str, config: TrainConfig) -> Schedule:
    """The schedule that ART-RL learns on all recordings, with grids for an objective that names a sampler."""
    split_objective(objective)
    bank = OrbitBank.merge(banks)
    schedule = learn_schedule(bank, config)
    if objective != "euler":
        schedule = with_grids(schedule, bank, objective)
    return dataclasses.replace(schedule, provenance={**schedule.provenance, **describe(schedule, banks, plan)})


def describe(schedule: Schedule, banks: list[OrbitBank], plan: Plan) -> dict:
    """What the file says of itself beyond what the learner and the recording tell."""
    costs = [schedule.cost(bank) for bank in banks]
    known, recipe = banks[0].metadata, plan.recipe
    title = BY_NAME[plan.family].title
    return {
        "family": plan.family, "title": f"{title}: {plan.checkpoint}", "checkpoint": plan.checkpoint,
        "learned_on": f"{plan.checkpoint} in ComfyUI {known.get('comfyui', 'unknown')}: {len(banks)} prompts with "
                      f"{plan.seeds} seeds each, {recipe.width}x{recipe.height}, cfg {recipe.cfg:g}",
        "carried_over": "no: learned on this checkpoint",
        "meant_for": f"{title}, sigma {schedule.sigma_max:g} to {known['sigma_min']:g}",
        "prompts": len(banks), "prompts_sha256": hashlib.sha256("\n".join(plan.prompts).encode()).hexdigest(),
        "seeds": plan.seeds, "seed": plan.seed, "recipe": dataclasses.asdict(recipe),
        # How far one clock for all is from the best for each prompt alone.
        "cost_by_prompt": {"median": float(np.median(costs)), "worst": float(max(costs))},
        "date": datetime.date.today().isoformat(),
    }


def file_name(family: str, objective: str) -> str:
    """Of the bundled file: the family's own for the default objective, else one beside it that names what it is for."""
    if objective == DEFAULT:
        return f"{family}.safetensors"
    return f"{family}-{'clock' if objective == 'euler' else split_objective(objective)[1]}.safetensors"


def parse(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks make-bundled", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", required=True, metavar="URL", help="for example http://127.0.0.1:8188")
    parser.add_argument("--checkpoint", required=True, metavar="NAME",
                        help="as CheckpointLoaderSimple lists it; demo-edm or demo-sdxl: the demo model instead")
    parser.add_argument("--family", help="that the file is for; of the demo model it is known")
    parser.add_argument("--objective", default=DEFAULT, choices=OBJECTIVES)
    parser.add_argument("--prompts", type=Path, default=PROMPTS, help="a text file, one prompt a line")
    parser.add_argument("--count", type=int, help="only so many of the prompts")
    parser.add_argument("--seeds", type=int, default=4, help="noises for each prompt")
    parser.add_argument("--seed", type=int, default=0, help="of the first noise, and of the learner")
    parser.add_argument("--nodes", type=int, default=64, help="model calls along an orbit")
    parser.add_argument("--batch", type=int, default=1, help="samples in a model call")
    parser.add_argument("--iterations", type=int, default=TrainConfig().iterations, help="of ART-RL")
    for option, kind in (("cfg", float), ("width", int), ("height", int)):
        parser.add_argument(f"--{option}", type=kind, help="instead of what is usual for the family")
    parser.add_argument("--work", type=Path, default=WORK, help="where recordings are kept")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the bundled schedules")
    return parser.parse_args(argv)


def make_plan(args: argparse.Namespace) -> Plan:
    """The plan of a command line; ValueError says what is wrong with it."""
    family = args.family or (args.checkpoint if args.checkpoint.startswith("demo-") else None)
    if family is None:
        raise ValueError(f"--family must be given for a checkpoint; got none; one of: {', '.join(BY_NAME)}")
    changed = {name: value for name in ("cfg", "width", "height") if (value := getattr(args, name)) is not None}
    recipe = dataclasses.replace(recipe_of(family), **changed)
    prompts = tuple(read_prompts(family, args.prompts))[:args.count]
    if not prompts or args.seeds < 1:
        raise ValueError(f"there must be a prompt and a seed at least; got {len(prompts)} prompts from {args.prompts} "
                         f"and --seeds {args.seeds}; write one prompt a line")
    return Plan(family, args.checkpoint, recipe, prompts, args.seeds, args.seed, args.nodes, args.batch)


def run(args: argparse.Namespace, tell: Callable[[str], None] = print) -> Path:
    """Record, learn and save; the file that was written."""
    plan = make_plan(args)
    client = Client(args.comfyui)
    try:
        check_host(client, plan.family)
        banks = record_all(client, plan, args.work, tell)
    finally:
        client.close()
    schedule = learn_on(banks, plan, args.objective, TrainConfig(seed=args.seed, iterations=args.iterations))
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / file_name(plan.family, args.objective)
    schedule.save(path)
    spread = schedule.provenance["cost_by_prompt"]
    tell(f"{path}: J/J* {schedule.provenance['cost']:.4f} on {schedule.provenance['orbits']} orbits; by prompt "
         f"{spread['median']:.4f} (median), {spread['worst']:.4f} (worst)")
    return path


def main(argv=None) -> int:
    args = parse(argv)
    try:
        run(args)
    except requests.ConnectionError:
        print(f"--comfyui must be the address of a running ComfyUI; nothing answers at {args.comfyui}; start it, and "
              "give it --listen if it runs on another machine")
        return 1
    except (HostError, ValueError, OSError) as error:
        print(error)
        return 1
    return 0
