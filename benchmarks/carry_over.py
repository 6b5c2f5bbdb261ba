"""Bundled schedules of model families whose weights are not here; `python -m benchmarks carry-over` rewrites them.

A clock is carried over from the photo model (docs/photo-model.md) in three exact steps and two that are modelled:

1. data scale: noise on data of another spread is noise of another size, D'(x, sigma) = s D(x/s, sigma/s);
2. range: the orbits are recorded over the family's own range of sigma, in units of its data;
3. parametrisation: a rectified flow's sigma is the share s/(1 + s) of noise, x' = x / (1 + s);
4. size of the picture: a larger one has low frequencies that a patch lacks. How that changes the stiffness of a
   Gaussian field with the photographs' spectrum is known in closed form, and multiplies the measured stiffness;
5. ripples: a network's predictions ripple in sigma, each network's in its own way, and the finer a recording the
   more of the measured stiffness is ripple. They are smoothed over sigma before anything is learned.

How much errors grow on their way is not carried: how different the photo model's pictures are tells nothing of others.
Grids for rectified flows, which differ most from model to model, are of all models that are here together (pooled.py).
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from art_nodes.core import OrbitBank, Schedule, TrainConfig, learn_schedule, with_grids
from art_nodes.core.exact import Denoiser
from art_nodes.host.families import BY_NAME
from benchmarks.bundle_demo import FOLDER
from benchmarks.carry_sources import PHOTOS, POOL, Dress
from benchmarks.carrying import SLOPE, SMOOTH, TRAINED_UP_TO, prepared
from benchmarks.latents import FAMILIES, Latents
from benchmarks.make_bundled import DEFAULT, file_name
from benchmarks.options import chosen
from benchmarks.photo_model import load_network, photo_denoiser
from benchmarks.pooled import FREEDOM, POWER, SHIFT, WAY, pooled_grids

RECORDINGS, ORBITS = 4, 32
OBJECTIVES = ("euler", "end:euler", "end:dpmpp_2m")
POOLED = tuple(WAY)  # samplers that rectified flows get grids for
GROWTH = 0.0  # of errors, gamma of eq. (16)
FITTED_TO = (f"the mean of the {POWER}th powers of end errors and one-step residuals, foretold on each of them, over "
             f"those of the host's simple with shift {SHIFT:g}; ln step lengths of {FREEDOM} hat functions; %g of the "
             "way there from simple in ln sigma")
NOT_ITS_OWN = "not learned on this checkpoint: run ART Train for that"


def dress_of(latents: Latents) -> Dress:
    """The range of sigma and the scale of the data of a family."""
    return Dress(latents.family, latents.high, latents.low, latents.share, latents.data_std)


def carried_bank(denoiser: Denoiser, latents: Latents, seed: int = 0, orbits: int = ORBITS) -> OrbitBank:
    """The photo model's orbits, as schedules of the family are learned on them."""
    parts = (dress_of(latents).record(denoiser, PHOTOS.noise(orbits, RECORDINGS * seed + part))
             for part in range(RECORDINGS))
    return prepared(OrbitBank.merge(parts), latents.size, PHOTOS.size, latents.data_std)


def objectives(latents: Latents) -> dict[str, str]:
    """What is learned for a family with added noise, by the objective whose file it goes to."""
    # Above the trained range nothing changes, so a step there costs nothing and descent leaves some behind; the best
    # grid of nodes does not.
    far_above = latents.high > TRAINED_UP_TO * latents.data_std
    return {name: "residual:euler" if far_above and name == DEFAULT else name for name in OBJECTIVES}


def learn_family(bank: OrbitBank, latents: Latents, seed: int = 0) -> dict[str, Schedule]:
    """The schedules of a family by the objective whose file they go to; all but the paper's hold grids too.

    bank: what `carried_bank` made of the photo model's orbits.
    """
    clock, told = learn_schedule(bank, TrainConfig(seed=seed)), describe(latents, seed)
    made = {"euler": clock} if latents.share else {
        place: clock if name == "euler" else with_grids(clock, bank, name, growth=GROWTH)
        for place, name in objectives(latents).items()}
    made = {place: dataclasses.replace(one, provenance={**one.provenance, **told}) for place, one in made.items()}
    if latents.share:
        banks = [prepared(source.bank(dress_of(latents), seed), latents.size, source.size, latents.data_std)
                 for source in POOL]
        made |= {f"end:{sampler}": with_pooled_grids(made["euler"], banks, sampler) for sampler in POOLED}
    return made


def with_pooled_grids(clock: Schedule, banks: Sequence[OrbitBank], sampler: str) -> Schedule:
    """The clock with grids for a sampler that do best where they do worst, over a recording of each model of POOL."""
    grids, known = pooled_grids(banks, sampler), clock.provenance
    names = ", ".join(source.name for source in POOL)
    return dataclasses.replace(clock, grids=grids, provenance={
        **known, "objective": f"end:{sampler}", "grids": list(grids), "fitted_to": FITTED_TO % WAY[sampler],
        "title": f"{BY_NAME[known['family']].title}, carried over from several models",
        "learned_on": f"{len(POOL)} models at once ({names}), the clock on photographs alone; {NOT_ITS_OWN}"})


def describe(latents: Latents, seed: int) -> dict:
    """What a file says of itself beyond what the learner tells."""
    title, shown = BY_NAME[latents.family].title, f"sigma {latents.high:g} to {latents.low:g}"
    told = {
        "family": latents.family, "title": f"{title}, carried over from photographs",
        "learned_on": "the photo model of docs/photo-model.md, 32x32 patches of photographs, without guidance, by "
                      f"ART-RL; {NOT_ITS_OWN}",
        "carried_over": f"yes: data scale {latents.data_std:.3f}, {shown}, "
                        f"{'rectified flow' if latents.share else 'added noise'}, latents of "
                        f"{latents.size[0]}x{latents.size[1]} by a Gaussian field's spectrum, smoothed over {SMOOTH} "
                        "e-folds of sigma",
        "meant_for": f"{title}, {shown}", "data_std": round(latents.data_std, 4), "spread": list(latents.spread),
        "spread_source": latents.source, "spectral_slope": -SLOPE, "seed": seed,
    }
    further = {"shift": latents.shift, "starts_late": latents.starts_late}
    return {**told, **{key: value for key, value in further.items() if value is not None}}


def main(argv: list[str] | None = None, network: Callable = load_network) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks carry-over", description=__doc__.splitlines()[0])
    parser.add_argument("--families", default=",".join(FAMILIES), help="separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    args.out.mkdir(exist_ok=True)
    denoiser = photo_denoiser(network().to(memory_format=torch.channels_last))
    for name in chosen(parser, args.families, FAMILIES):
        latents = FAMILIES[name]
        bank = carried_bank(denoiser, latents, args.seed)
        made = learn_family(bank, latents, args.seed)
        for place, schedule in made.items():
            file = file_name(name, place)
            schedule.save(args.out / file)
            print(f"{file}: {schedule.provenance['objective']}, J/J* {schedule.cost(bank):.4f}, {len(bank.stiffness)} "
                  f"orbits, 10 steps: {' '.join(f'{sigma:.4g}' for sigma in schedule.sigmas(10).tolist())}", flush=True)


if __name__ == "__main__":
    main()
