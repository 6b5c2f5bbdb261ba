"""What ART Train reports: the run in plain text, and the learned grid against the host's own schedulers."""

from collections.abc import Callable

import numpy as np

from ..core import OrbitBank, Schedule, grid_cost
from ..core.objectives import NOISY, SamplerError, split_objective
from ..core.trial import Tried
from .comparing_grids import ALL, find_entries

MOST_ROWS = 24
ENOUGH_NODES = 32  # of fewer a recording may be further off than the steps that it is to judge
CHARGED = {"euler": "Euler objective", "residual": "Sum of the residuals", "end": "RMS end error",
           "detail": "RMS end error of value and slope", "spectrum": "Distance in power per frequency"}  # by kind


def host_grids(model, sampler: str, steps: int) -> dict[str, np.ndarray | None]:
    """Name -> (K + 1,) descending sigmas ending at 0 of every scheduler of the host, None where it has no such grid.

    As its KSampler takes them with this sampler, and whole where that drops a sigma. K is not always `steps`: some
    schedulers drop duplicates or cannot take more steps than their table has. Schedulers that other packs added are
    asked as well; our own is no rival.
    """
    grids = {entry.name: entry.grid(steps) for entry in find_entries(model, sampler, ALL)}
    return {name: None if grid is None else grid.double().numpy() for name, grid in grids.items()}


def fair_cost(bank: OrbitBank, grid) -> float:
    """J/J* of a grid made to start where the orbits do: its first sigma is replaced by sigma_max.

    Some schedulers start a little lower; the objective needs the whole range.
    """
    whole = np.array(list(grid), dtype=float)
    whole[0] = bank.sigma_max
    return grid_cost(bank, np.minimum(whole, bank.sigma_max))


def bank_lines(bank: OrbitBank, seconds: float) -> list[str]:
    """The model, and what recording took."""
    known, (orbits, nodes) = bank.metadata, bank.stiffness.shape
    return [
        model_line(known),
        f"sigma: {bank.sigma_max:.6g} to {bank.sigma_min:.6g}, then 0",
        f"recording: {orbits} orbits x {nodes} nodes at cfg {known['cfg']:g}: {bank.calls} model calls of up to "
        f"{known['batch_size']}, {bank.sample_calls} counted per sample, {seconds:.1f} s",
        *([f"{nodes} nodes are few: below {ENOUGH_NODES} the recording itself may be too far off; 64 is a good start"]
          if nodes < ENOUGH_NODES else []),
    ]


def guidance_lines(bank: OrbitBank, cfg: float) -> list[str]:
    """Why another cfg was recorded than was asked for, if it was."""
    if bank.metadata["cfg"] == cfg:
        return []
    return [f"positive and negative are the same conditioning: nothing is guided, and cfg {cfg:g} is as good as 1"]


def prompts_lines(positive, orbits: int, batch_size: int) -> list[str]:
    """How many of a batch of prompts were learned on, if not all."""
    given, used = max((len(part) for part, *_ in positive if part is not None), default=0), min(orbits, batch_size)
    if given <= used:
        return []
    return [f"learned on the first {used} of {given} prompts: for all of them set orbits and the batch size of "
            f"latent_image to {given}"]


def video_lines(asked: int, orbits: int, batch_size: int) -> list[str]:
    """That more orbits were recorded than asked for, as frames of one video are followed together."""
    return [] if asked == orbits else [f"{orbits} orbits instead of {asked}: the {batch_size} latents of a batch are "
                                       "the frames of one video, which this model sees together"]


def mask_lines(model, latent_image: dict) -> list[str]:
    """That a mask was left out, if there was one, and what shows it to a model made for inpainting."""
    if "noise_mask" not in latent_image:
        return []
    shown = ("; to show this model what to paint over, connect InpaintModelConditioning's positive and negative, with "
             "noise_mask off") if getattr(model.model, "concat_keys", ()) else ""
    return [f"the mask of latent_image was left out: learned as if the whole picture were painted{shown}"]


def flow_lines(bank: OrbitBank, objective: str) -> list[str]:
    """What an objective leaves out of a rectified flow, if it is for one and leaves something out."""
    kind, sampler = split_objective(objective)
    if not bank.share:
        return []
    if sampler in NOISY:
        return [f"with a flow model ComfyUI steps otherwise with {sampler} than {objective} knows: compare before you "
                "keep it"]
    if kind in ("euler", "residual"):
        return [f"of a flow model {objective} counts errors of the first steps for less than they are in the picture: "
                f"end:{sampler} does not"]
    return []


def model_line(known: dict) -> str:
    """A model in a line, from what describe_model tells of it."""
    shift = f", shift {known['shift']:g}" if "shift" in known else ""
    return f"model: {known['model']}, {known['model_sampling']}{shift}, {known['dtype']}"


def learning_lines(schedule: Schedule, costs: list[float], bank: OrbitBank, seconds: float) -> list[str]:
    """What learning took and what it came to."""
    if not costs:
        return [f"closed form: {seconds:.2f} s, no model call",
                f"cost J/J* of the clock: {schedule.cost(bank):.4f} (1 is the optimum)"]
    return [
        f"learning: ART-RL, {len(costs)} iterations, {seconds:.1f} s, no model call",
        f"cost J/J* of the clock: {costs[-1]:.4f}, of the one it started from: {costs[0]:.4f} (1 is the optimum)",
    ]


def fitting_lines(schedule: Schedule, seconds: float) -> list[str]:
    """Which grids were fitted to a sampler, if any."""
    if not schedule.grids:
        return []
    kind, sampler = split_objective(schedule.provenance["objective"])
    what = {"end": "end error", "detail": "end error of value and slope",
            "spectrum": "power at each frequency"}.get(kind, "one-step residuals")
    aim = schedule.provenance.get("references")
    aim = f", aiming at that of {aim} references" if aim else ""
    return [f"grids fitted to the {what} of {sampler}{aim}: {', '.join(map(str, schedule.grids))} steps; "
            f"{seconds:.1f} s, no model call"]


def trial_lines(tried: Tried | None, sampler: str, steps: int, seconds: float, improves: bool = True) -> list[str]:
    """What a trial on the model found, if there was one; improves: whether it had orbits to judge an improvement by."""
    if tried is None:
        return []
    if not tried.sample_calls:
        return [f"tried nothing: trial_calls or orbits are too few to compare two grids of {steps} steps; raise them"]
    better = f", improved to {tried.ratio:.3f} times its error" if tried.ratio < 1 else ""
    if not improves:
        better = "; it could not be improved: set orbits to three times the batch size of latent_image, or more"
    return [f"tried with {sampler} on the model at {steps} steps: {tried.sample_calls} model calls counted per sample, "
            f"{seconds:.1f} s; the best was {tried.name}{better}"]


def comparison_lines(bank: OrbitBank, sigmas, grids: dict, steps: int, objective: str = "euler") -> list[str]:
    """The grid against the host's, best first, by an objective on the recorded orbits."""
    (kind, sampler), cost = split_objective(objective), charge(bank, objective)
    own = cost(sigmas)
    costs = {name: cost(grid) for name, grid in grids.items() if grid is not None}
    ranked = sorted([("ART (this schedule)", own, steps),
                     *((name, cost, len(grids[name]) - 1) for name, cost in costs.items())], key=lambda row: row[1])
    rows = [f"  {cost:9.3f}  {name}" + ("" if count == steps else f" (gives {count} steps)")
            for name, cost, count in ranked]
    more = [f"  and {len(rows) - MOST_ROWS} worse ones"] if len(rows) > MOST_ROWS else []
    missing = [name for name, grid in grids.items() if grid is None]
    return [
        "", f"{CHARGED[kind]} of {steps} steps{f' of {sampler}' if kind != 'euler' else ''} on these orbits"
            f"{', as a multiple of the optimum' if kind == 'euler' else ''}:",
        *rows[:MOST_ROWS], *more, *([f"  no grid: {_shortened(missing)}"] if missing else []),
        *_strongest_line(own, {name: cost for name, cost in costs.items() if len(grids[name]) - 1 == steps}),
        "This is foretold from the recorded orbits, less surely the higher the cfg, and is not picture quality; ART "
        "Compare measures the error.",
    ]


def charge(bank: OrbitBank, objective: str) -> Callable[[np.ndarray], float]:
    """What an objective charges for a grid (K + 1,) that is made to start where the orbits do."""
    if objective == "euler":
        return lambda grid: fair_cost(bank, grid)
    error = SamplerError(bank, objective)
    return lambda grid: float(error(np.asarray(grid, dtype=float)[None])[0])


def _strongest_line(own: float, costs: dict[str, float]) -> list[str]:
    """The best of the host's schedulers that give as many steps, and how it relates to the learned one."""
    if not costs:
        return []
    best = min(costs, key=costs.get)
    if own <= 0:  # a model whose orbits are straight, as untrained ones' are
        return [f"strongest built-in: {best}, {costs[best]:.3f}; that of ART is less than these orbits can tell"]
    return [f"strongest built-in: {best}, {costs[best]:.3f}, which is {costs[best] / own:.3f} times that of ART"]


def _shortened(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
