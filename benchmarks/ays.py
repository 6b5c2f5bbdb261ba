"""Align Your Steps (arXiv 2404.14507): its optimal tables, and what a published table tells of its checkpoint.

AYS places K steps where they minimise a bound on the KL divergence between true and sampled paths,

    sum over steps of  integral from s_{i+1} to s_i of  E|D(x_s, s) - D(x_{s_i}, s_i)|^2 / s^3  ds,          (a)

x_s being one data sample x0 with ever more noise. D(x_s, s) = E[x0 | x_s] is a martingale as s falls, so with
m(s) = E|x0 - D(x_s, s)|^2, per element, the expectation is m(s_i) - m(s) and only the curve m counts:

    (a) = 1/2 sum of  integral of (m(w_i) - m(w)) dw  over [w_i, w_{i+1}],   w = 1/s^2.                      (b)

To leading order a step of length h costs m'(s) h^2 / (2 s^3), so the optimal step density is n ~ (m'/s^3)^(1/2) and a
table tells m' ~ n^2 s^3. The change of D between two noise levels of one *noising path* is that of a random walk, its
square linear in h; along an *orbit* of the ODE it is smooth, its square quadratic in h. They are not the same number.
For a Gaussian of variance v

    m = v s^2 / (v + s^2),    m' = 2 v^2 s / (v + s^2)^2,    E|dD/ds|^2 on orbits = v^2 s^2 / (v + s^2)^3,

hence m' = 2 (v + s^2)/s E|dD/ds|^2: 2 s E|dD/ds|^2 where s^2 >> v, and 2 v/s E|dD/ds|^2 where s^2 << v. Data
sit on both sides at every s, but the sum over any spectrum of variances obeys, without knowing it,

    E|dD/ds|^2 = -1/4 d/d(ln s) [m' / (2 s)] = m'/(8 s) (1 - d ln m' / d ln s).                              (c)
"""

from collections.abc import Callable

import numpy as np
import torch

from art_nodes.core import OrbitBank, Schedule, optimal_schedule, recording_grid
from art_nodes.core.clock import read_clock
from art_nodes.core.dynamic import shortest_path
from art_nodes.core.exact import Denoiser

# A function of sigma (N,), for m(sigma) or for |dD/dsigma| up to a constant factor.
Curve = Callable[[np.ndarray], np.ndarray]
TABLE_STEPS = 10
STEEPEST = 0.9  # of d ln m' / d ln s in (c), which lies below 1 for every Gaussian
VARIANCES = 60  # of the spectrum that is fitted
MISFIT, ROUGHNESS = 0.02, 1.0  # what a fitted table may be off by, in logs, against the bend of the log spectrum


def gaussian_mmse(variances, weights) -> Curve:
    """m of Gaussian elements: `variances` (M,), each that of the share `weights` (M,) of all elements."""
    v, share = np.asarray(variances, float), np.asarray(weights, float)

    def mmse(sigma):
        s = np.asarray(sigma, float)[..., None] ** 2
        return (v * s / (v + s)) @ share

    return mmse


def mixture_mmse(means, stds, weights, points: int = 4001) -> Curve:
    """m of a one-dimensional Gaussian mixture: its posterior variance, averaged over x by quadrature."""
    means, stds, weights = (np.asarray(values, float) for values in (means, stds, weights))

    def at(sigma: float) -> float:
        variance = stds**2 + sigma**2
        reach = 9 * np.sqrt(variance.max())
        # Every component has points enough of its own, however narrow it is.
        x = np.sort(np.concatenate([mean + np.sqrt(one) * np.linspace(-9, 9, points)
                                    for mean, one in zip(means, variance, strict=True)]))
        x = x[np.abs(x) <= np.abs(means).max() + reach][:, None]
        density = weights * np.exp(-0.5 * (x - means) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
        total = np.maximum(density.sum(axis=1), 1e-300)
        share = density / total[:, None]
        posterior = means + stds**2 / variance * (x - means)
        centre = (share * posterior).sum(axis=1, keepdims=True)
        spread = (share * (stds**2 * sigma**2 / variance + (posterior - centre) ** 2)).sum(axis=1)
        return float(np.trapezoid(total * spread, x[:, 0]))

    return lambda sigma: np.array([at(one) for one in np.atleast_1d(sigma)])


@torch.no_grad()
def measured_mmse(denoiser: Denoiser, data: torch.Tensor, sigmas: np.ndarray,
                  generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """m at `sigmas` (N,) descending, measured twice on `data` (B, ...); both (N,).

    First as AYS does it, by sums of E|D_i - D_{i+1}|^2 along noising paths: a model that is not quite
    E[x0 | x] is taken as it is. Second by the plain distance to the data. They differ by the model's error.
    """
    walk, previous, direct, change = torch.zeros_like(data), None, np.zeros(len(sigmas)), np.zeros(len(sigmas))
    before = 0.0
    for i in range(len(sigmas) - 1, -1, -1):
        walk = walk + torch.randn(data.shape, generator=generator) * float(np.sqrt(sigmas[i] ** 2 - before**2))
        denoised = denoiser(data + walk, torch.full((len(data),), float(sigmas[i])))
        direct[i] = float((denoised - data).double().square().mean())
        if previous is not None:
            change[i] = float((denoised - previous).double().square().mean())
        previous, before = denoised, float(sigmas[i])
    return direct[-1] + np.cumsum(change[::-1])[::-1], direct


def through(sigmas: np.ndarray, mmse: np.ndarray) -> Curve:
    """The curve through values at `sigmas` (N,), descending and even in log sigma: monotone cubic in logs."""
    logs, top, width = np.log(mmse), np.log(sigmas[0]), np.log(sigmas[0] / sigmas[-1])
    return lambda sigma: np.exp(read_clock(logs, (top - np.log(sigma)) / width))


def kl_steps(mmse: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """(b) of a step from sigmas[i] down to sigmas[j], (N, N), infinite where j <= i; trapezoids in w."""
    w = sigmas**-2.0
    area = np.append(0.0, np.cumsum(0.5 * np.diff(w) * (mmse[1:] + mmse[:-1])))
    cost = 0.5 * (mmse[:, None] * (w[None] - w[:, None]) - (area[None] - area[:, None]))
    return np.where(np.arange(len(w))[None] > np.arange(len(w))[:, None], cost, np.inf)


def kl_bound(mmse: Curve, table: np.ndarray, points: int = 200) -> float:
    """(b) of a whole table (K + 1,), each step integrated on its own fine grid."""
    total = 0.0
    for here, there in zip(table[:-1], table[1:], strict=True):
        fine = np.geomspace(here, there, points)
        total += kl_steps(mmse(fine), fine)[0, -1]
    return float(total)


def optimal_table(mmse: Curve, sigma_max: float, sigma_min: float, steps: int = TABLE_STEPS, points: int = 1000,
                  cost: Callable = kl_steps) -> np.ndarray:
    """The sigmas (steps + 1,) from sigma_max to sigma_min with the least KL bound, exact on a log grid of `points`.

    cost: kl_steps, or what else (m, sigmas) should be charged for.
    """
    fine = np.geomspace(sigma_max, sigma_min, points)
    return fine[shortest_path(cost(mmse(fine), fine), steps)]


def invert_power(table: np.ndarray) -> Curve:
    """|dD/ds| ~ (n s)^(3/2): as if predictions changed along noising paths as smoothly as along orbits."""
    middle, density = _density(table)
    return _carried_on(middle, (density * middle) ** 1.5)


def invert_leading(table: np.ndarray) -> Curve:
    """|dD/ds| by m' ~ n^2 s^3 and (c), with differences between neighbouring steps for the derivative."""
    middle, density = _density(table)
    rise = density**2 * middle**3
    slope = np.minimum(np.gradient(np.log(rise), np.log(middle)), STEEPEST)
    return _carried_on(middle, np.sqrt(rise / (8 * middle) * (1 - slope)))


def _density(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geometric middles (K,) and steps per unit of sigma (K,)."""
    return np.sqrt(table[:-1] * table[1:]), -1 / np.diff(table)


def _carried_on(middle: np.ndarray, stiffness: np.ndarray) -> Curve:
    """Straight lines in logs; below the last middle |dD/ds| / s stays, above the first |dD/ds| falls as s^-2."""
    logs, known = np.log(middle)[::-1], np.log(stiffness / middle)[::-1]

    def curve(sigma):
        at = np.log(sigma)
        return np.exp(np.interp(at, logs, known) - 3 * np.maximum(at - logs[-1], 0) + at)

    return curve


def invert_spectrum(table: np.ndarray, rounds: int = 100) -> Curve:
    """|dD/ds| of the Gaussian field, of the smoothest spectrum, whose optimal table this is; no small step assumed.

    At the optimum (b) does not change with s_i, which for every inner node says

        m(s_{i-1}) - m(s_i) = s_i^3 m'(s_i) (1/s_{i+1}^2 - 1/s_i^2) / 2,

    K - 1 equations linear in m, and m is linear in the spectrum. They are met to MISFIT in logs by the log
    spectrum of the least second differences (Levenberg-Marquardt); a power law is perfectly smooth.
    """
    v, spectrum = fit_spectrum(table, rounds)

    def curve(sigma):
        s = np.asarray(sigma, float)[:, None] ** 2
        return np.sqrt((v**2 * s / (v + s) ** 3) @ spectrum)

    return curve


def fit_spectrum(table: np.ndarray, rounds: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Variances (M,) even in logs and the share of elements with each, up to a factor; see `invert_spectrum`."""
    v = np.geomspace(table[-1] ** 2 / 4, table[0] ** 2 * 4, VARIANCES)
    s = table[:, None] ** 2
    m = v * s / (v + s)
    inner = s[1:-1]
    left = m[:-2] - m[1:-1]
    right = (v * inner / (v + inner)) ** 2 * (1 / s[2:] - 1 / inner)  # s^3 m' / 2 is (v s^2/(v + s^2))^2
    bend = np.diff(np.eye(VARIANCES), 2, axis=0) * ROUGHNESS / np.log(v[1] / v[0]) ** 1.5

    def residuals(u):
        share = np.exp(u - u.mean())
        a, b = left * share, right * share
        off = np.log(a.sum(axis=1) / b.sum(axis=1))
        slopes = a / a.sum(axis=1, keepdims=True) - b / b.sum(axis=1, keepdims=True)
        return np.concatenate([off / MISFIT, bend @ u, [u.mean()]]), \
            np.concatenate([slopes / MISFIT, bend, np.full((1, VARIANCES), 1 / VARIANCES)])

    u, damping = -np.log(v), 1.0
    value, jacobian = residuals(u)
    for _ in range(rounds):
        normal = jacobian.T @ jacobian + damping * np.eye(VARIANCES)
        step = np.linalg.solve(normal, -jacobian.T @ value)
        step *= min(1.0, 3 / np.abs(step).max())  # far steps from a table that fits no spectrum overflow
        tried = residuals(u + step)
        if (tried[0] ** 2).sum() < (value**2).sum():
            u, (value, jacobian), damping = u + step, tried, damping / 3
        else:
            damping *= 4
    return v, np.exp(u - u.mean())


INVERSIONS: dict[str, Callable[[np.ndarray], Curve]] = {
    "spectrum": invert_spectrum, "leading order": invert_leading, "(n s)^(3/2)": invert_power,
}


def implied_schedule(curve: Curve, sigma_max: float, sigma_min: float, nodes: int = 256) -> Schedule:
    """The closed-form clock of |dD/ds|(s) known up to a factor; below sigma_min |Q| stays as it is."""
    grid = recording_grid(sigma_max, sigma_min, nodes)
    middle = 0.5 * (grid + np.append(grid[1:], 0.0))
    stiffness = curve(middle) / middle
    stiffness[-1] = stiffness[-2]
    return optimal_schedule(OrbitBank(grid, stiffness[None] / stiffness.mean()))
