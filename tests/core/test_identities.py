"""One ODE for every network: EPS, V, EDM and rectified flow of the same distribution, each in its own coordinate.

Three things must agree: the predictions D once the host has wrapped the networks, the orbits after the change
of coordinate, and |Q| by its definition (eq. 4) with |dD/dsigma|/sigma (eq. 5). The last is algebra and holds
for any differentiable D, so it tells right from wrong stiffness and not one distribution from another; that is
what D and the orbits are for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from art_nodes.core import exact
from art_nodes.core.jvp import stiffness_jvp
from art_nodes.core.stiffness import rms

SIGMAS = torch.tensor(np.geomspace(10.0, 0.03, 9))
ORBITS = 6
SIGMA_DATA = 0.5  # of the EDM network's preconditioning; any value describes the same D


# --- the distributions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """A Gaussian mixture in d dimensions, seen as y = signal x0 + noise z; y (B, d), signal and noise (B,)."""

    weights: torch.Tensor  # (K,)
    means: torch.Tensor  # (K, d)
    variances: torch.Tensor  # (K, d), along ...
    axes: torch.Tensor  # (K, d, d), the columns

    def parts(self, y, signal, noise):
        """Log weight of each component at y (B, K), and y less its mean over its variance, along its axes (B, K, d)."""
        variance = column(signal)[..., None] ** 2 * self.variances + column(noise)[..., None] ** 2
        off = torch.einsum("bki,kij->bkj", y[:, None] - column(signal)[..., None] * self.means, self.axes)
        solved = off / variance
        return self.weights.log() - 0.5 * (variance.log() + off * solved).sum(dim=2), solved

    def score(self, y, signal, noise):
        """Gradient of ln p(y), by automatic differentiation."""
        return torch.func.grad(lambda y: self.parts(y, signal, noise)[0].logsumexp(dim=1).sum())(y)

    def expect(self, a, b, y, signal, noise):
        """E[a x0 + b z | y], by linear regression in each component; a and b (B,)."""
        log_weight, solved = self.parts(y, signal, noise)
        covariance = column(a * signal)[..., None] * self.variances + column(b * noise)[..., None]
        posterior = column(a)[..., None] * self.means + torch.einsum("bkj,kij->bki", covariance * solved, self.axes)
        return (log_weight.softmax(dim=1)[..., None] * posterior).sum(dim=1)

    def denoiser(self, x, sigma):
        """D = E[x0 | x0 + sigma z = x], with no network in between."""
        one = torch.ones_like(sigma)
        return self.expect(one, 0 * one, x, one, sigma)


def data(weights, means, covariances) -> Data:
    weights, means, covariances = (torch.tensor(v, dtype=torch.float64) for v in (weights, means, covariances))
    return Data(weights, means, *torch.linalg.eigh(covariances))


def column(values):
    """(B,) -> (B, 1)."""
    return values[:, None]


VARIANCES = [0.04, 0.5, 1.0, 4.0]
DATA = {
    "gaussian": data([1.0], [[0.0] * 4], [np.diag(VARIANCES).tolist()]),
    "two modes": data([0.5, 0.5], [[-2.0], [2.0]], [[[0.09]], [[0.25]]]),
    "correlated": data([0.3, 0.7], [[-1.0, 0.5], [1.0, 0.0]], [[[0.3, 0.2], [0.2, 0.2]], [[0.1, -0.05], [-0.05, 0.4]]]),
}


# --- what a network of each type answers, given its own input and its own time --------------------------

BETA_MIN, BETA_MAX = 0.1, 20.0  # of the variance-preserving SDE


def vp_signal(t):
    return torch.exp(-0.25 * t**2 * (BETA_MAX - BETA_MIN) - 0.5 * t * BETA_MIN)


def vp_time(sigma):
    """The t at which the variance-preserving process has noise/signal = sigma."""
    slope = BETA_MAX - BETA_MIN
    return (torch.sqrt(BETA_MIN**2 + 2 * slope * torch.log1p(sigma**2)) - BETA_MIN) / slope


def eps_network(data, y, t):
    """E[z | y] = -noise times the score of y."""
    signal = vp_signal(t)
    noise = torch.sqrt(1 - signal**2)
    return -column(noise) * data.score(y, signal, noise)


def v_network(data, y, angle):
    """E[signal z - noise x0 | y] with signal = cos, noise = sin."""
    return data.expect(-angle.sin(), angle.cos(), y, angle.cos(), angle.sin())


def edm_scales(sigma):
    """c_in, c_skip and c_out."""
    total = sigma**2 + SIGMA_DATA**2
    return total**-0.5, SIGMA_DATA**2 / total, sigma * SIGMA_DATA / total**0.5


def edm_network(data, y, c_noise):
    """E[(x0 - c_skip x) / c_out | y] for y = c_in x, told ln(sigma)/4."""
    sigma = torch.exp(4 * c_noise)
    c_in, c_skip, c_out = edm_scales(sigma)
    return data.expect((1 - c_skip) / c_out, -c_skip * sigma / c_out, y, c_in, c_in * sigma)


def flow_network(data, y, s):
    """The velocity E[z - x0 | y], y = (1 - s) x0 + s z, from the score: E[z | y] = -s score."""
    noise = -column(s) * data.score(y, 1 - s, s)
    return noise - (y - column(s) * noise) / column(1 - s)


# --- how the host turns each into D(x, sigma), x = x0 + sigma z -----------------------------------------


def eps_host(data, x, sigma):
    return x - column(sigma) * eps_network(data, x / column(sigma**2 + 1).sqrt(), vp_time(sigma))


def v_host(data, x, sigma):
    total = column(sigma**2 + 1)
    return x / total - v_network(data, x / total.sqrt(), sigma.atan()) * column(sigma) / total.sqrt()


def edm_host(data, x, sigma):
    c_in, c_skip, c_out = (column(scale) for scale in edm_scales(sigma))
    return c_skip * x + c_out * edm_network(data, c_in * x, sigma.log() / 4)


def flow_host(data, x, sigma):
    s = sigma / (1 + sigma)
    y = x * column(1 - s)
    return y - column(s) * flow_network(data, y, s)


def eps_unscaled(data, x, sigma):
    """Negative control: an EPS network that is fed x itself."""
    return x - column(sigma) * eps_network(data, x, vp_time(sigma))


def v_wrong_sign(data, x, sigma):
    """Negative control: a V network taken for -V."""
    total = column(sigma**2 + 1)
    return x / total + v_network(data, x / total.sqrt(), sigma.atan()) * column(sigma) / total.sqrt()


# --- each network's own probability-flow ODE, dy/dtime --------------------------------------------------


def eps_ode(data, y, t):
    beta = column(BETA_MIN + t * (BETA_MAX - BETA_MIN))
    return -0.5 * beta * (y - eps_network(data, y, t) / column(1 - vp_signal(t) ** 2).sqrt())


def edm_ode(data, x, log_sigma):
    """In the logarithm of sigma; y is x itself."""
    c_in, c_skip, c_out = (column(scale) for scale in edm_scales(log_sigma.exp()))
    return (1 - c_skip) * x - c_out * edm_network(data, c_in * x, log_sigma / 4)


@dataclass(frozen=True)
class Type:
    """A parametrisation: D(data, x, sigma); dy/dtime; its time at a sigma; y / x at a time."""

    host: Callable
    ode: Callable
    time: Callable
    scale: Callable


TYPES = {
    "eps": Type(eps_host, eps_ode, vp_time, vp_signal),
    "v": Type(v_host, v_network, torch.atan, torch.cos),  # dy/dangle is v itself
    "edm": Type(edm_host, edm_ode, torch.log, torch.ones_like),
    "flow": Type(flow_host, flow_network, lambda sigma: sigma / (1 + sigma), lambda s: 1 - s),
}
every_type = pytest.mark.parametrize("kind", TYPES)
every_data = pytest.mark.parametrize("name", DATA)


# --- orbits and the three checks ------------------------------------------------------------------------


def start(name) -> torch.Tensor:
    """(ORBITS, d) states at the first sigma."""
    dimension = DATA[name].means.shape[1]
    generator = torch.Generator().manual_seed(1)
    return math.sqrt(1 + float(SIGMAS[0]) ** 2) * torch.randn(ORBITS, dimension, generator=generator).double()


def solve(slope, y, times) -> torch.Tensor:
    """States (len(times), B, d) of dy/dtime = slope(y, time (B,)), by an eighth-order Runge-Kutta method."""

    def flat(time, state):
        return slope(torch.from_numpy(state).reshape(y.shape), y.new_full((len(y),), time)).flatten()

    times = times.numpy()
    solution = solve_ivp(flat, times[[0, -1]], y.flatten().numpy(), "DOP853", times, rtol=1e-9, atol=1e-11)
    return torch.from_numpy(solution.y.T.copy()).reshape(len(times), *y.shape)


def orbit(name) -> torch.Tensor:
    """The orbit in the host's coordinate, eq. (1); (sigmas, B, d)."""
    denoiser = DATA[name].denoiser
    return solve(lambda x, sigma: (x - denoiser(x, sigma)) / column(sigma), start(name), SIGMAS)


@pytest.fixture(scope="module")
def orbits() -> dict[str, torch.Tensor]:
    return {name: orbit(name) for name in DATA}


def apart(first, second) -> float:
    """Largest difference, in units of the second's root mean square."""
    return float((first - second).abs().max() / second.square().mean().sqrt())


def prediction_gap(host, name, states) -> float:
    """How far a wrapped network's D is from the true one at the states of the orbits."""
    gaps = []
    for x, sigma in zip(states, SIGMAS, strict=True):
        at = sigma.repeat(ORBITS)
        gaps.append(apart(host(DATA[name], x, at), DATA[name].denoiser(x, at)))
    return max(gaps)


def along(denoiser, x, sigma, target):
    """One Runge-Kutta step of eq. (1) from sigma to target, both (B,): far below rounding for small steps."""
    h = column(target - sigma)

    def slope(x, sigma):
        return (x - denoiser(x, sigma)) / column(sigma)

    middle = 0.5 * (sigma + target)
    k1 = slope(x, sigma)
    k2 = slope(x + 0.5 * h * k1, middle)
    k3 = slope(x + 0.5 * h * k2, middle)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3, target))


def rate_of_change(denoiser, x, sigma, step=3e-4):
    """|dD/dsigma| along the orbit through (x, sigma), by a central secant; (B,)."""
    high, low = sigma * (1 + step), sigma * (1 - step)
    change = denoiser(along(denoiser, x, sigma, high), high) - denoiser(along(denoiser, x, sigma, low), low)
    return rms(change / column(high - low))


def by_eq5(denoiser, x, sigma):
    return rate_of_change(denoiser, x, sigma) / sigma


def without_jacobian(denoiser, x, sigma):
    """Negative control: d_psi F alone."""
    def drift(sigma):
        return (denoiser(x, sigma) - x) / column(sigma)

    return rms(torch.func.jvp(drift, (sigma,), (-torch.ones_like(sigma),))[1])


def stiffness_gap(denoiser, states, exact=stiffness_jvp, secant=by_eq5) -> float:
    """How far two ways to |Q| are apart at the states of the orbits, in units of its mean at each sigma."""
    gaps = []
    for x, sigma in zip(states, SIGMAS, strict=True):
        at = sigma.repeat(ORBITS)
        first, second = exact(denoiser, x, at), secant(denoiser, x, at)
        gaps.append(float((first - second).abs().max() / second.mean()))
    return max(gaps)


def orbit_gap(kind, name, states, scale=None) -> float:
    """How far a network's own ODE, solved in its own coordinate, ends up from the host's orbit."""
    its = TYPES[kind]
    times = its.time(SIGMAS)
    scale = (scale or its.scale)(times)[:, None, None]
    solved = solve(lambda y, time: its.ode(DATA[name], y, time), start(name) * scale[0], times)
    return max(apart(a, b) for a, b in zip(solved / scale, states, strict=True))


# --- the theorem ----------------------------------------------------------------------------------------


@every_type
@every_data
def test_all_types_predict_the_same(kind, name, orbits):
    assert prediction_gap(TYPES[kind].host, name, orbits[name]) < 1e-11


@every_type
@every_data
def test_definition_of_stiffness_is_the_rate_of_change_of_d(kind, name, orbits):
    gap = stiffness_gap(lambda x, sigma: TYPES[kind].host(DATA[name], x, sigma), orbits[name])
    assert gap < 1e-5


@every_type
@every_data
def test_own_ode_follows_the_same_orbit(kind, name, orbits):
    assert orbit_gap(kind, name, orbits[name]) < 1e-7


def test_flow_in_its_own_coordinate_has_another_stiffness(orbits):
    """Eq. (5) holds in s as well, as dy/ds = (y - D)/s has the same form, but there |Q| is (1 + sigma)^3 as large:
    a clock belongs to the coordinate that it was learned in."""
    name = "correlated"
    for x, sigma in zip(orbits[name], SIGMAS.expand(ORBITS, -1).T, strict=True):
        s = sigma / (1 + sigma)
        in_s = stiffness_jvp(lambda y, s: y - column(s) * flow_network(DATA[name], y, s), x * column(1 - s), s)
        assert torch.allclose(in_s, (1 + sigma) ** 3 * stiffness_jvp(DATA[name].denoiser, x, sigma), rtol=1e-8)


# --- the ground under it --------------------------------------------------------------------------------


def test_networks_are_the_means_their_losses_ask_for():
    """Two modes, by quadrature over x0: each network is the posterior mean of its regression target."""
    pair, x0 = DATA["two modes"], torch.linspace(-8, 8, 40_001, dtype=torch.float64)
    density = torch.logsumexp(
        pair.weights.log() - 0.5 * pair.variances[:, 0].log()
        - 0.5 * (x0[:, None] - pair.means[:, 0]) ** 2 / pair.variances[:, 0], dim=1)
    for sigma, y in [(0.3, 0.4), (1.0, -0.7), (4.0, 1.1)]:
        level = torch.tensor([sigma]).double()
        c_in, c_skip, c_out = edm_scales(level)
        t, angle, s = vp_time(level), level.atan(), level / (1 + level)
        cases = [  # network, its time, signal, noise, target(x0, z)
            (eps_network, t, vp_signal(t), (1 - vp_signal(t) ** 2).sqrt(), lambda x0, z: z),
            (v_network, angle, angle.cos(), angle.sin(),
             lambda x0, z, angle=angle: angle.cos() * z - angle.sin() * x0),
            (edm_network, level.log() / 4, c_in, c_in * level,
             lambda x0, z, skip=c_skip, out=c_out, level=level: (x0 - skip * (x0 + level * z)) / out),
            (flow_network, s, 1 - s, s, lambda x0, z: z - x0),
        ]
        for network, time, signal, noise, target in cases:
            z = (y - signal * x0) / noise
            expected = ((density - 0.5 * z**2).softmax(0) * target(x0, z)).sum()
            assert abs(float(network(pair, torch.tensor([[y]], dtype=torch.float64), time)) - float(expected)) < 1e-8


def test_true_predictions_are_those_of_the_exact_module(orbits):
    known = {
        "gaussian": exact.gaussian(torch.tensor(VARIANCES)),
        "two modes": exact.mixture([-2.0, 2.0], [0.3, 0.5], [0.5, 0.5]),
    }
    for name, denoiser in known.items():
        assert prediction_gap(lambda data, x, sigma, d=denoiser: d(x, sigma), name, orbits[name]) < 1e-7


def test_gaussian_orbits_have_a_closed_form(orbits):
    variance = torch.tensor(VARIANCES).double()
    for x, sigma in zip(orbits["gaussian"], SIGMAS, strict=True):
        shrunk = start("gaussian") * ((variance + sigma**2) / (variance + SIGMAS[0] ** 2)).sqrt()
        assert apart(x, shrunk) < 1e-8


# --- negative controls: each check must find what is wrong ----------------------------------------------


@every_data
def test_wrong_stiffness_is_found(name, orbits):
    denoiser = DATA[name].denoiser
    assert stiffness_gap(denoiser, orbits[name], exact=without_jacobian) > 1
    assert stiffness_gap(denoiser, orbits[name], secant=rate_of_change) > 1  # 1/sigma forgotten


@every_data
@pytest.mark.parametrize("host", [eps_unscaled, v_wrong_sign])
def test_wrong_wrapper_is_found_by_its_predictions_alone(host, name, orbits):
    assert prediction_gap(host, name, orbits[name]) > 1
    assert stiffness_gap(lambda x, sigma: host(DATA[name], x, sigma), orbits[name]) < 1e-5


@pytest.mark.parametrize("kind", ["eps", "v", "flow"])
def test_wrong_change_of_coordinate_is_found(kind, orbits):
    assert orbit_gap(kind, "correlated", orbits["correlated"], scale=torch.ones_like) > 1
