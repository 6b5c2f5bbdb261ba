"""What is learned of a network that computes in half precision; `python -m benchmarks half`.

The demo model in SDXL's dress, as noise prediction, is recorded in float32, and with the host's ModelComputeDtype in
bfloat16 and float16: once as ART Train does it, which measures the noise of rounding, once taken for float32. What
was learned of each is sampled in float32 on held-out noise, so that only the grids differ.
"""

import argparse
import functools
from unittest.mock import patch

import numpy as np
import torch

from art_nodes.core import Schedule, optimal_schedule, with_grids
from benchmarks.comfy.inprocess import import_host
from benchmarks.machine import this_machine
from benchmarks.pages import as_text

SEEDS, STEPS, CFG = (1, 2, 3), (6, 10), 1.0
ORBITS, NODES, BATCH = 24, 64, 10
OBJECTIVES = ("euler", "end:euler", "end:dpmpp_2m")
HELD_OUT, REFERENCE_STEPS = 1000, 100  # seed of the first batch of noise
TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@functools.cache
def stage():
    """MODEL, positive, negative and LATENT of one sample of each label."""
    import_host()
    from art_nodes.host.demo_model import ALL_CLASSES, DRESSES, demo_outputs

    dress = next(name for name in DRESSES if name.startswith("SDXL"))
    return demo_outputs(dress, ALL_CLASSES, BATCH)[:4]


def recorded(kind: str | None, told: bool, seed: int, orbits: int = ORBITS, nodes: int = NODES):
    """A bank of the model computing in `kind`, None for float32; untold, as if it computed in float32."""
    model, *others = stage()
    from art_nodes.host import recording

    model = model.clone()
    if kind:
        model.set_model_compute_dtype(TYPES[kind])
    said = recording.computed_in if told else lambda _: None
    with patch.object(recording, "computed_in", said), torch.inference_mode():
        return recording.record(model, *others, cfg=CFG, seed=seed, orbits=orbits, nodes=nodes)


def learned(bank) -> dict[str, Schedule]:
    """Objective -> schedule: the closed form, and with it grids for samplers."""
    clock = optimal_schedule(bank)
    return {name: clock if name == "euler" else with_grids(clock, bank, name, STEPS) for name in OBJECTIVES}


@functools.cache
def ends(sampler: str, sigmas: tuple[float, ...], batches: int) -> torch.Tensor:
    """Where the model ends in float32 from held-out noise, (batches * 10, elements)."""
    from art_nodes.host.comparing_samplers import sample
    from art_nodes.host.recording import flat, gaussian

    model, positive, negative, latent = stage()
    found, grid = [], torch.tensor(sigmas)
    with torch.inference_mode():
        for i in range(batches):
            noise = gaussian(latent["samples"], HELD_OUT + i)
            found.append(flat(sample(model, positive, negative, CFG, noise, latent["samples"], sampler, grid,
                                     HELD_OUT + i, lambda _: None)))
    return torch.cat(found)


def error(schedule: Schedule, objective: str, steps: int, batches: int) -> float:
    """RMS end error of the objective's sampler."""
    from art_nodes.host.comparing import reference_grid

    fine = reference_grid(stage()[0].get_model_object("model_sampling"), REFERENCE_STEPS)
    sampler = objective.split(":")[-1]
    off = ends(sampler, tuple(schedule.sigmas(steps).tolist()), batches) \
        - ends("dpmpp_2m", tuple(fine.tolist()), batches)
    return float(off.square().mean().sqrt())


def apart(first: Schedule, second: Schedule, steps: int = STEPS[-1]) -> float:
    """Largest difference in ln sigma."""
    return float((first.sigmas(steps)[:-1] / second.sigmas(steps)[:-1]).log().abs().max())


def ratios(seed: int, kinds=tuple(TYPES), batches: int = 10, orbits: int = ORBITS, nodes: int = NODES) -> dict:
    """(precision, told) -> the clock's largest difference to float32's, and errors over those of float32's grids."""
    exact = learned(recorded(None, True, seed, orbits, nodes))
    columns = [(name, steps) for name in OBJECTIVES for steps in STEPS]
    base = [error(exact[name], name, steps, batches) for name, steps in columns]
    found = {}
    for kind in kinds:
        for told in (True, False):
            half = learned(recorded(kind, told, seed, orbits, nodes))
            errors = [error(half[name], name, steps, batches) for name, steps in columns]
            found[kind, told] = [apart(half["euler"], exact["euler"]), *np.divide(errors, base)]
    return found


def rows(found: dict[int, dict]) -> list[list[str]]:
    """A table of `ratios` of several seeds."""
    head = ["computed in", "noise", "clock apart", *(f"{'clock' if name == 'euler' else name}, {steps}"
                                                     for name in OBJECTIVES for steps in STEPS)]
    body = []
    for case in next(iter(found.values())):
        columns = zip(*(of_seed[case] for of_seed in found.values()), strict=True)
        body.append([case[0], "measured" if case[1] else "not known",
                     *(", ".join(f"{value:.2f}" for value in column) for column in columns)])
    return [head, *body]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks half", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="bfloat16 only, one seed")
    args = parser.parse_args(argv)
    seeds, kinds = (SEEDS[:1], ("bfloat16",)) if args.quick else (SEEDS, tuple(TYPES))
    found = {seed: ratios(seed, kinds) for seed in seeds}
    stage.cache_clear()  # the host is still there to see its model go
    print(f"{this_machine()}\nDemo model, SDXL's dress, cfg {CFG:g}, {ORBITS} orbits, seeds "
          f"{', '.join(map(str, seeds))}: largest difference of the clock in ln sigma at {STEPS[-1]} steps,\n"
          "and RMS end errors over those of what was learned in float32\n" + as_text(rows(found)))


if __name__ == "__main__":
    main()
