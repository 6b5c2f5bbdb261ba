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
"""

import argparse
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import (
    OrbitBank,
    Schedule,
    TrainConfig,
    flow_recording_grid,
    learn_schedule,
    record_orbits,
    recording_grid,
    with_grids,
)
from art_nodes.core.arrival import added_noise
from art_nodes.core.exact import Denoiser
from art_nodes.host.families import BY_NAME
from benchmarks.bundle_demo import FOLDER
from benchmarks.latents import FAMILIES, Latents
from benchmarks.make_bundled import DEFAULT, file_name
from benchmarks.options import chosen
from benchmarks.photo_model import CHANNELS, IMAGE_SIZE, load_network, photo_denoiser

RECORDINGS, ORBITS, NODES = 4, 32, 64
SLOPE = 2.0  # of a photograph's power spectrum, power ~ frequency^-2
SMOOTH = 0.25  # e-folds of sigma, the width of the smoothing; a Gaussian's stiffness stays as it is within 1 %
LEAST_CHANGE = 1e-4  # of the predictions in an e-fold of sigma, of the largest: stiffness is never 0
TRAINED_UP_TO = 80.0  # the photo model's largest sigma; above it pictures are all noise
KNOWN_UP_TO = 40.0  # what is recorded up to here the smoothing does not mix with what lies above
OBJECTIVES = ("euler", "end:euler", "end:dpmpp_2m")
GROWTH = 0.0  # of errors, gamma of eq. (16)
NOT_ITS_OWN = "not learned on this checkpoint: run ART Train for that"


def rescaled(denoiser: Denoiser, spread: float) -> Denoiser:
    """D of the same data times `spread`; above the trained range the noise counts as all there is."""
    def denoise(x, sigma):
        inside = (sigma / spread).clamp(max=TRAINED_UP_TO)
        shrink = inside * spread / sigma  # 1 within the range
        return spread * denoiser(x / spread * shrink.reshape(-1, *[1] * (x.ndim - 1)), inside)

    return denoise


def as_flow(denoiser: Denoiser) -> Denoiser:
    """D(x, share) of a rectified flow over the same data: x = (1 - share) x0 + share * noise, share in (0, 1]."""
    def denoise(x, share):
        # At a share of 1 nothing is left of the picture; a little below there is as little to see.
        share = share.clamp(max=TRAINED_UP_TO / (1 + TRAINED_UP_TO))
        column = share.reshape(-1, *[1] * (x.ndim - 1))
        return denoiser(x / (1 - column), share / (1 - share))

    return denoise


def field_variances(size: tuple[int, int], slope: float = SLOPE) -> tuple[np.ndarray, np.ndarray]:
    """Variances (M,) of the modes of a Gaussian field with an image's spectrum, and the share of modes with each.

    Power ~ (1 + f^2)^(-slope/2), f in cycles along the short side, as in core/exact.py; unit variance in all.
    """
    cycles = [np.fft.fftfreq(side) * min(size) for side in size]
    power = (1 + cycles[0][:, None] ** 2 + cycles[1] ** 2) ** (-slope / 2)
    variances, count = np.unique((power / power.mean()).round(9), return_counts=True)
    return variances, count / count.sum()


def field_stiffness(sigmas: np.ndarray, size: tuple[int, int], slope: float = SLOPE) -> np.ndarray:
    """RMS of dD/dsigma along the orbits of that field; (N,).

    A mode of variance v: D = v x/(v + s^2) with x = sqrt(v + s^2) z, so |dD/ds| = v s/(v + s^2)^1.5.
    """
    variances, share = field_variances(size, slope)
    s = np.asarray(sigmas, float)[:, None]
    return np.sqrt((variances**2 * s**2 / (variances + s**2) ** 3) @ share)


def size_factor(sigmas: np.ndarray, size: tuple[int, int], before: tuple[int, int] = (IMAGE_SIZE, IMAGE_SIZE),
                slope: float = SLOPE) -> np.ndarray:
    """By how much a picture of `size` is stiffer than one of the size `before`; (N,). Sigmas in units of the data."""
    return field_stiffness(sigmas, size, slope) / np.maximum(field_stiffness(sigmas, before, slope), 1e-300)


def smoothed(bank: OrbitBank, width: float = SMOOTH) -> OrbitBank:
    """The bank with predictions smoothed over ln of the noise added, by local parabolas under a Gaussian window."""
    u = np.log(added_noise(bank.sigmas, bank.share))
    keep = np.eye(len(u) + 1)  # the state at sigma_max stays
    for i, here in enumerate(u):
        window = np.exp(-0.5 * ((u - here) / width) ** 2)
        powers = np.vander(u - here, 3, increasing=True)
        keep[i + 1, 1:] = np.linalg.lstsq(powers.T @ (powers * window[:, None]), (powers * window[:, None]).T)[0][0]
    gram = keep @ bank.gram @ keep.T
    change = np.diff(np.eye(len(u) + 1), axis=0)[1:]
    length = np.sqrt(np.maximum(np.einsum("in,bnm,im->bi", change, gram, change), 0.0))
    folds = np.log(bank.sigmas[:-1] / bank.sigmas[1:])
    length = np.maximum(length, LEAST_CHANGE * (length / folds).max(axis=1, keepdims=True) * folds)
    stiffness = length / (bank.sigmas[:-1] - bank.sigmas[1:]) / (0.5 * (bank.sigmas[:-1] + bank.sigmas[1:]))
    return dataclasses.replace(bank, gram=gram, detail=None, stiffness=np.append(stiffness, stiffness[:, -1:], axis=1))


def stiffened(bank: OrbitBank, factor: np.ndarray) -> OrbitBank:
    """The bank with every change of the predictions times `factor` (N,), that of the cell below each node."""
    count = len(bank.sigmas)
    back = np.eye(count + 1)  # rows: x at sigma_max, then D at the nodes, from the last one up
    for i in range(count - 1, 0, -1):
        change = np.zeros(count + 1)
        change[[i, i + 1]] = 1.0, -1.0
        back[i] = back[i + 1] + factor[i - 1] * change
    return dataclasses.replace(bank, stiffness=bank.stiffness * factor, gram=back @ bank.gram @ back.T, detail=None)


def record(denoiser: Denoiser, latents: Latents, seed: int, orbits: int = ORBITS) -> OrbitBank:
    """Orbits of the photo model in a family's dress."""
    noise = torch.randn(orbits, CHANNELS, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(seed))
    spread = latents.data_std
    if latents.share:
        nodes = flow_recording_grid(latents.high, latents.low, NODES)
        return record_orbits(as_flow(rescaled(denoiser, spread)), noise, latents.high, latents.low, sigmas=nodes,
                             share=True)
    nodes = recording_grid(latents.high, latents.low, NODES)
    start = noise * math.hypot(spread, latents.high)
    return record_orbits(rescaled(denoiser, spread), start, latents.high, latents.low, sigmas=nodes)


def with_tail(bank: OrbitBank, noise: np.ndarray, trained: float = KNOWN_UP_TO) -> OrbitBank:
    """The bank with |Q| carried on where `noise` (N,), that of each cell in units of the data, is above the trained.

    Far above the spread of the data D - mean is ever less of a picture: |dD/dnoise| falls like noise^-2.
    """
    middle = 0.5 * (bank.edges[:-1] + bank.edges[1:])
    per_change = middle / (1 + noise) ** 2 if bank.share else middle
    rate = bank.stiffness * per_change  # |dD/dnoise|
    first = int(np.argmax(noise <= trained))
    rate[:, :first] = np.maximum(rate[:, :first], rate[:, first:first + 1] * (noise[first] / noise[:first]) ** 2)
    return dataclasses.replace(bank, stiffness=rate / per_change)


def in_data_units(latents: Latents, sigmas: np.ndarray) -> np.ndarray:
    """The noise added to a picture, in units of its spread."""
    added = sigmas / np.maximum(1 - sigmas, 1e-3) if latents.share else sigmas
    return added / latents.data_std


def carried_bank(denoiser: Denoiser, latents: Latents, seed: int = 0, orbits: int = ORBITS) -> OrbitBank:
    """What a schedule of the family is learned on."""
    parts = (record(denoiser, latents, RECORDINGS * seed + part, orbits) for part in range(RECORDINGS))
    bank = smoothed(OrbitBank.merge(parts))
    middle = in_data_units(latents, 0.5 * (bank.edges[:-1] + bank.edges[1:]))
    return stiffened(with_tail(bank, middle), size_factor(middle, latents.size))


def objectives(latents: Latents) -> dict[str, str]:
    """What is learned for a family, by the objective whose file it goes to."""
    learned = {name: carried_objective(name, latents.share) for name in OBJECTIVES}
    if latents.high > TRAINED_UP_TO * latents.data_std and not latents.share:
        # Above the trained range nothing changes, so a step there costs nothing and descent leaves some behind; the
        # best grid of nodes does not.
        learned[DEFAULT] = "residual:euler"
    return learned


def carried_objective(name: str, share: bool) -> str:
    """What is learned in place of an objective for a model that is another than the one recorded.

    How far errors shrink on their way from a flow's pure noise differs from model to model; what Euler's steps leave
    does not.
    """
    return "residual:euler" if share and name == DEFAULT else name


def learn_family(bank: OrbitBank, latents: Latents, seed: int = 0) -> dict[str, Schedule]:
    """The schedules of a family, as in `objectives`; grids for single numbers of steps go with all but the paper's."""
    clock = learn_schedule(bank, TrainConfig(seed=seed))
    made = {place: clock if name == "euler" else with_grids(clock, bank, name, growth=GROWTH)
            for place, name in objectives(latents).items()}
    return {place: dataclasses.replace(one, provenance={**one.provenance, **describe(latents, seed)})
            for place, one in made.items()}


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
            print(f"{file}: {objectives(latents)[place]}, J/J* {schedule.cost(bank):.4f}, {len(bank.stiffness)} "
                  f"orbits, 10 steps: {' '.join(f'{sigma:.4g}' for sigma in schedule.sigmas(10).tolist())}", flush=True)


if __name__ == "__main__":
    main()
