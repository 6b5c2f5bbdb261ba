"""Published methods that find step grids, in the coordinates of this project: what ours are compared with.

Each gives a grid (K + 1,) of sigmas, descending to 0, which any sampler takes. All read only their own recording.

GITS (arXiv 2405.11326): dynamic programming over recorded orbits; an Euler step is charged by how far from the orbit
    it lands, and what comes later counts 1.15 times as much a step.
OSS (arXiv 2503.18948): dynamic programming over nodes, of Euler's own states, by how far from the fine orbit they are;
    for each picture, of which the median step is taken.
DMN (arXiv 2402.17376): no model; the bound on the error of a third-order multistep method is minimised.
Gradient descent on the steps through the sampler, as LD3 does (arXiv 2405.15506). Its second list of times, which
    tells the model other noise levels than the sampler's, is left out, as no sampler here takes one; and where it
    judges by LPIPS, this judges by the mean distance of pictures to their fine solutions.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import LinearConstraint, minimize

from art_nodes.core import OrbitBank
from art_nodes.core.compare import heun
from art_nodes.core.exact import Denoiser
from art_nodes.core.grids import power_grid
from art_nodes.core.orbits import Orbits

LATER = 1.15  # what GITS multiplies the cost of the steps to come by, at each
ROUNDS, BATCH, RATE = 7, 2, 0.05  # of gradient descent: passes over the pictures, pictures a step, Adam's rate


# GITS

def euler_costs(bank: OrbitBank) -> np.ndarray:
    """How far from the orbit an Euler step from node i to node j lands, RMS an element, mean over orbits.

    (N + 1, N + 1), the last node being 0; infinity where j is not below i.
    """
    sigmas, orbits = bank.edges, Orbits(bank.sigmas)
    states, costs = orbits.state(sigmas), np.full((len(sigmas), len(sigmas)), np.inf)
    predictions = np.column_stack([np.zeros(len(sigmas)), np.eye(len(sigmas))[:, :-1]])
    for i in range(len(sigmas) - 1):
        keep = (sigmas[i + 1:] / sigmas[i])[:, None]
        missed = keep * states[i] + (1 - keep) * predictions[i] - states[i + 1:]
        squares = np.einsum("jn,bnm,jm->bj", missed, bank.gram, missed, optimize=True)
        costs[i, i + 1:] = np.sqrt(np.maximum(squares, 0.0)).mean(axis=0)
    return costs


def gits(bank: OrbitBank, steps: int) -> np.ndarray:
    """The grid whose costs add up to the least, those of the steps after each counted LATER times."""
    costs = euler_costs(bank)
    least, onward = costs[:, -1], []  # from each node to 0 in so many steps, and where to first
    for _ in range(steps - 1):
        total = costs + LATER * least[None, :]
        onward.append(total.argmin(axis=1))
        least = total.min(axis=1)
    path = [0]
    for first in reversed(onward):
        path.append(int(first[path[-1]]))
    return bank.edges[[*path, len(bank.sigmas)]]


# OSS

def fine_states(denoise: Denoiser, x: torch.Tensor, sigmas: np.ndarray) -> torch.Tensor:
    """The states (M, B, ...) at descending sigmas (M,), the last of them 0, by Heun's method from each to the next."""
    states = [x]
    for pair in zip(sigmas[:-1], sigmas[1:], strict=True):
        states.append(heun(denoise, states[-1], torch.tensor(pair)))
    return torch.stack(states)


@torch.no_grad()
def oss(denoise: Denoiser, x: torch.Tensor, sigmas: np.ndarray, steps: int) -> np.ndarray:
    """The grid of the nodes `sigmas` (M,), the last of them 0, that Euler's pictures (B, ...) from x ask for.

    Of each picture the node that its every step takes, and of the pictures the median.
    """
    fine, count = fine_states(denoise, x, sigmas), len(sigmas)
    states, origins = fine.new_zeros(fine.shape), []  # the best state at each node in so many steps
    states[0], reached = x, np.zeros((count, len(x)), bool)
    reached[0] = True
    for _ in range(steps):
        after, errors = torch.zeros_like(states), np.full((count, len(x)), np.inf)
        origin = np.zeros((count, len(x)), int)
        for i in np.flatnonzero(reached[:-1].any(axis=1)):
            denoised = denoise(states[i], x.new_full((len(x),), sigmas[i]))
            kept = x.new_tensor(sigmas[i + 1:] / sigmas[i]).reshape(-1, *[1] * x.ndim)
            there = denoised + kept * (states[i] - denoised)
            error = (there - fine[i + 1:]).flatten(2).square().mean(2).numpy()
            better = reached[i] & (error < errors[i + 1:])
            errors[i + 1:][better], origin[i + 1:][better], after[i + 1:][better] = error[better], i, there[better]
        states, reached = after, np.isfinite(errors)
        origins.append(origin)
    paths = np.full((steps + 1, len(x)), count - 1)
    for k in reversed(range(steps)):
        paths[k] = origins[k][paths[k + 1], np.arange(len(x))]
    return sigmas[np.median(paths, axis=1).astype(int)]


def oss_calls(pictures: int, nodes: int, steps: int) -> int:
    """Sample calls of `oss` at most, on so many nodes above 0."""
    return pictures * nodes * (2 + steps)


# DMN

def dmn(sigma_max: float, sigma_min: float, steps: int) -> np.ndarray:
    """The grid of the least bound from sigma_max to sigma_min, which is put to 0; begun from even steps in ln sigma."""
    high, low = -np.log(sigma_max), -np.log(sigma_min)  # ln of the inverse sigma rises
    if steps == 1:
        return np.array([sigma_max, 0.0])
    fall = np.diff(np.eye(steps + 1), axis=0)[:, 1:-1]
    ends = np.zeros(steps)
    ends[0], ends[-1] = -high, low
    result = minimize(lambda inner: multistep_bound(np.concatenate([[high], inner, [low]])),
                      np.linspace(high, low, steps + 1)[1:-1], method="trust-constr",
                      constraints=[LinearConstraint(fall, 1e-3 - ends, np.inf)])
    return np.append(np.exp(-np.concatenate([[high], result.x])), 0.0)


def multistep_bound(logs: np.ndarray) -> float:
    """What errors of the predictions come to at the end, at most, of order 1, 2, 3 ... 3, 2, 1 in ln sigma's negative.

    A prediction's error is taken to be sigma^2 / sqrt(1 + sigma^2), sigma being noise over signal. Of the first three
    steps the predictions' shares are taken to be independent, of the others they add up before their size counts.
    """
    steps = len(logs) - 1
    error = np.exp(-2 * logs) / np.sqrt(1 + np.exp(-2 * logs))
    shares, bound = np.zeros(steps), 0.0
    for n in range(steps):
        order = min(3, n + 1, steps - n)
        known = np.arange(n - order + 1, n + 1)
        added = error[known] * _exponential_weights(logs[known], logs[n], logs[n + 1])
        if n < 3 or n == steps - 1:
            bound += float(np.sqrt(np.square(added).sum()))
        else:
            shares[known] += added
    return bound + float(np.abs(shares).sum())


def _exponential_weights(knots: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Integral from start to stop of e^t times each Lagrange polynomial of at most three knots."""
    h, end = stop - start, np.exp(stop - start)
    moments = np.exp(start) * np.array([end - 1, end * (h - 1) + 1, end * (h * h - 2 * h + 2) - 2])
    return np.linalg.solve(np.vander(knots - start, increasing=True).T, moments[:len(knots)])


# Gradient descent

def followed(denoise: Denoiser, x: torch.Tensor, sigmas: torch.Tensor, sampler: str) -> torch.Tensor:
    """Where "euler" or "dpmpp_2m" ends from x (B, ...) on sigmas (K + 1,), the last 0, with their gradients."""
    before = None
    for k in range(len(sigmas) - 1):
        denoised = denoise(x, sigmas[k].expand(len(x)))
        target = denoised
        if sampler == "dpmpp_2m" and before is not None and k < len(sigmas) - 2:
            half = (sigmas[k] / sigmas[k + 1]).log() / (2 * (sigmas[k - 1] / sigmas[k]).log())
            target = (1 + half) * denoised - half * before
        x, before = target + sigmas[k + 1] / sigmas[k] * (x - target), denoised
    return x


@torch.enable_grad()
def by_gradient(denoiser_of: Callable[[torch.Tensor], Denoiser], starts: torch.Tensor, sigma_max: float,
                sigma_min: float, sampler: str, steps: int, nodes: int, seed: int) -> np.ndarray:
    """The grid that gradient descent on the mean error of half the pictures finds, kept by that of the other half.

    denoiser_of(numbers): D for the pictures of these numbers. starts: (B, ...), B even. nodes: of the fine solutions.
    Steps are softmax shares of sigma^(1/7), even at first.
    """
    every, half = torch.arange(len(starts)), len(starts) // 2
    generator, shares = torch.Generator().manual_seed(seed), torch.zeros(steps, requires_grad=True)
    with torch.no_grad():
        ends = heun(denoiser_of(every), starts, torch.from_numpy(power_grid(nodes, sigma_max, sigma_min)).float())

    def grid() -> torch.Tensor:
        high, low = sigma_max ** (1 / 7), sigma_min ** (1 / 7)
        inner = high + (low - high) * shares.softmax(0).cumsum(0)[:-1]
        return torch.cat([torch.tensor([sigma_max]), inner**7, torch.zeros(1)])

    def error(which: torch.Tensor) -> torch.Tensor:
        missed = followed(denoiser_of(which), starts[which], grid(), sampler) - ends[which]
        return missed.flatten(1).square().mean(1).sqrt().mean()

    optimiser = torch.optim.Adam([shares], lr=RATE)
    best, least = grid().detach(), np.inf
    for _ in range(ROUNDS):
        for which in torch.randperm(half, generator=generator).split(BATCH):
            optimiser.zero_grad()
            error(which).backward()
            optimiser.step()
        with torch.no_grad():
            told = float(error(every[half:]))
        if told < least:
            best, least = grid().detach(), told
    return best.double().numpy()


def gradient_calls(steps: int, pictures: int, nodes: int) -> int:
    """Sample calls of `by_gradient`, a pass backwards counted as two."""
    return 2 * pictures * 2 * nodes + ROUNDS * pictures * steps * (3 + 1)
