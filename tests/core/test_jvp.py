"""|Q| by its definition (eq. 4): against closed forms, and against the secants that a bank holds (eq. 5).

Where each is biased, as the tests below show:

- A secant is one value for a cell. Taken for the cell's centre it is second order in the node spacing, taken for the
  node above it first order, 6 to 10 % off at 64 nodes. It smooths what |Q| does inside a cell: kinks, and the ripples
  of a trained network. And it takes over the error of the recorded orbit, which at small sigma, where D hardly
  changes any more, is the larger part: 1 to 4 % at 64 nodes, a quarter of that at 128. Below sigma_min it is held
  constant. On exact scores all this moves the integral of E|Q| by less than 1 % and that of its root, which is
  what a clock is made of, by less than 0.2 %.
- The derivative is a value at a point and has none of these errors. But it takes the direction F = (D - x)/sigma at
  face value: rounding of D enters |Q| as e/sigma^2, the rounding itself is not differentiated, and a lookup by
  sigma counts as constant, however much the answer depends on it.
"""

import functools

import numpy as np
import pytest
import torch

from art_nodes.core import jvp, record_orbits, recording_grid
from art_nodes.core.exact import gaussian, image_gaussian, power_spectrum
from art_nodes.core.jvp import CALLS, denoised_and_stiffness, stiffness_jvp
from art_nodes.core.stiffness import stiffness_cells
from art_nodes.demo import demo_denoiser, load_network
from tests.core import targets

RANGES = {"normal": (3.0, 0.002), "two modes": (10.0, 0.002), "image": targets.SDXL_RANGE}
DENOISERS = {"normal": gaussian(), "two modes": targets.two_modes(), "image": image_gaussian(64)}
SHAPES = {"normal": (64, 1), "two modes": (64, 1), "image": (4, 1, 64, 64)}
every_target = pytest.mark.parametrize("target", RANGES)


def level(sigma: float, x: torch.Tensor) -> torch.Tensor:
    """(B,) float32 or float64 noise levels for x."""
    return torch.full((len(x),), float(sigma), dtype=x.dtype)


def recorded(target: str, sigmas, denoiser=None):
    """The bank of a target on the nodes given, and the states (N, B, ...) at them."""
    denoiser, states = denoiser or DENOISERS[target], []

    def spying(x, sigma):
        states.append(x.clone())
        return denoiser(x, sigma)

    high, low = RANGES[target]
    bank = record_orbits(spying, targets.noise(SHAPES[target], high), high, low, sigmas=sigmas)
    return bank, states


@functools.cache
def both_ways(target: str, nodes: int = 64):
    """Secants E|Q| on the cells of a bank, and E|Q| by definition at every node and centre of an orbit between."""
    grid = recording_grid(*RANGES[target], nodes)
    halves = np.sort(np.append(grid, 0.5 * (grid[:-1] + grid[1:])))[::-1]
    bank, _ = recorded(target, grid)
    _, states = recorded(target, halves)
    exact = [stiffness_jvp(DENOISERS[target], x.double(), level(s, x).double()).mean()
             for x, s in zip(states, halves, strict=True)]
    return bank.mean_stiffness[:-1], np.array(exact), grid


def integrals(target: str, power: float) -> tuple[float, float]:
    """Of E|Q|^power from sigma_min to sigma_max: from secants, and by Simpson's rule from the definition."""
    secants, exact, grid = both_ways(target)
    widths, exact = grid[:-1] - grid[1:], exact**power
    simpson = (exact[:-2:2] + 4 * exact[1::2] + exact[2::2]) / 6
    return float((secants**power * widths).sum()), float((simpson * widths).sum())


def departures(target: str, nodes: int = 64, at: str = "centre") -> tuple[np.ndarray, np.ndarray]:
    """Secant over definition, less 1, for each cell, at its centre or the node above; and the cells' centres."""
    secants, exact, grid = both_ways(target, nodes)
    point = exact[1::2] if at == "centre" else exact[:-1:2]
    return secants / point - 1, 0.5 * (grid[:-1] + grid[1:])


# --- closed forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_normal_distribution(dtype, tolerance):
    """For N(0, 1), x = x0 sqrt(1 + s^2) and |Q| = |x0| (1 + s^2)^(-3/2); no spacing enters."""
    x0 = torch.linspace(-2, 2, 8, dtype=dtype)[:, None]
    for s in (0.02, 0.1, 1.0, 3.0, 80.0):
        denoised, q = denoised_and_stiffness(gaussian(), x0 * (1 + s**2) ** 0.5, level(s, x0))
        assert torch.allclose(q, x0[:, 0].double().abs() * (1 + s**2) ** -1.5, rtol=tolerance)
        assert torch.allclose(denoised, x0 * (1 + s**2) ** -0.5)


def test_each_sample_has_its_own_sigma_and_ignores_the_others():
    x = targets.noise((4, 1, 16, 16), 3.0)
    sigma = torch.tensor([0.1, 0.5, 2.0, 7.0])
    together = stiffness_jvp(image_gaussian(16), x, sigma)
    alone = [stiffness_jvp(image_gaussian(16), x[i:i + 1], sigma[i:i + 1]) for i in range(4)]
    assert together.shape == (4,) and together.dtype == torch.float64
    assert torch.allclose(together, torch.cat(alone), rtol=1e-5)
    other = torch.cat([x[:1], 100 * x[1:]])
    assert torch.allclose(stiffness_jvp(image_gaussian(16), other, sigma)[0], together[0], rtol=1e-5)


def test_expanded_tensors_are_taken_as_others_are():
    """One noise level for all samples, or one start state, need not be copied by hand."""
    x, sigma = torch.tensor([[0.5, -1.0, 2.0]]).expand(4, 3), torch.tensor(1.5).expand(4)
    plain = stiffness_jvp(gaussian(), x.clone(), sigma.clone())
    assert torch.equal(stiffness_jvp(gaussian(), x, sigma), plain) and plain[0] > 0


def test_counts_its_calls_and_hands_out_the_plain_answer():
    answers = []

    def counting(x, sigma):
        answers.append(gaussian()(x, sigma))
        return answers[-1]

    x = targets.noise((4, 3), 3.0)
    denoised, _ = denoised_and_stiffness(counting, x, level(3.0, x).expand(4))
    assert len(answers) == CALLS and denoised is answers[0]
    assert torch.equal(denoised, gaussian()(x, level(3.0, x))) and denoised.dtype == x.dtype


# --- secants against the definition ---------------------------------------------------------------------


@every_target
def test_integrals_agree(target):
    """E|Q| within 0.5 %, and its root, of which clocks are made, within 0.2 %."""
    for power, tolerance in [(1.0, 0.005), (0.5, 0.002)]:
        secant, exact = integrals(target, power)
        assert abs(secant / exact - 1) < tolerance


@pytest.mark.parametrize("target, nodes", [("normal", 64), ("image", 64), ("two modes", 128)])
def test_cells_agree_where_spacing_allows(target, nodes):
    """Within 1 % of the value at the centre, above sigma = 0.2; two modes ask for 128 nodes, as |Q| has kinks there."""
    departure, centres = departures(target, nodes)
    assert np.abs(departure[centres > 0.2]).max() < 0.01


def test_kinks_are_smoothed():
    """An orbit of two modes can have Q = 0 on its way, where |Q| has a kink; a secant is too large around it."""
    departure, centres = departures("two modes")
    around = (centres > 0.6) & (centres < 0.8)
    assert departure[around].max() > 0.01 and departure[around].min() > -0.01


@every_target
def test_first_order_at_nodes_and_second_at_centres(target):
    """Above sigma 0.2 twice the nodes leave half the error at a cell's upper node, a quarter or less at its centre."""
    for at, least, most in [("node", 0.4, 0.6), ("centre", 0.05, 0.35)]:
        coarse, fine = (np.sqrt(np.mean(departure[centres > 0.2] ** 2))
                        for departure, centres in (departures(target, nodes, at) for nodes in (64, 128)))
        assert least < fine / coarse < most
        assert at == "centre" or coarse > 0.04


@pytest.mark.parametrize("target", ["normal", "two modes"])
def test_small_sigma_shows_the_error_of_the_recorded_orbit(target):
    """Secants at sigma 0.02 to 0.1 are up to 1 % too small, by less than a quarter as much with twice the nodes."""
    coarse, fine = (departure[(centres > 0.02) & (centres < 0.1)].mean()
                    for departure, centres in (departures(target, nodes) for nodes in (64, 128)))
    assert -0.01 < coarse < -0.002 and 0.25 * coarse < fine < 0


def test_it_is_the_orbit_and_not_the_secant():
    """The same secants over the exact orbit of N(0, 1), x = x0 sqrt(1 + s^2), are right to 0.1 %; so is the
    derivative at the recorded states."""
    high, low = RANGES["normal"]
    grid = recording_grid(high, low, 64)
    x0 = targets.noise((64, 1), high).double() / (1 + high**2) ** 0.5
    truth = float(x0.abs().mean()) * (1 + (0.5 * (grid[:-1] + grid[1:])) ** 2) ** -1.5
    cells = stiffness_cells(grid, torch.stack([x0 * (1 + s**2) ** -0.5 for s in grid])).mean(axis=0)[:-1]
    seen = grid[:-1] > 0.02
    assert np.abs(cells / truth - 1)[seen].max() < 0.001
    _, states = recorded("normal", grid)
    for x, s in zip(states, grid, strict=True):
        q = float(stiffness_jvp(gaussian(), x.double(), level(s, x).double()).mean())
        assert abs(q / (float(x0.abs().mean()) * (1 + s**2) ** -1.5) - 1) < 0.002


def test_secants_are_held_below_sigma_min():
    """A recording of N(0, 1) that stops at 0.5 keeps the last secant, 0.7 of the truth at 0; there is a derivative."""
    bank = record_orbits(gaussian(), targets.noise((64, 1), 3.0), 3.0, 0.5)
    assert np.array_equal(bank.stiffness[:, -1], bank.stiffness[:, -2])
    x0 = targets.noise((64, 1), 3.0).double() / 10**0.5
    near_zero = float(stiffness_jvp(gaussian(), x0 * (1 + 1e-6) ** 0.5, level(1e-3, x0)).mean())
    assert abs(near_zero / float(x0.abs().mean()) - 1) < 1e-5
    assert 0.65 < bank.mean_stiffness[-1] / near_zero < 0.75


# --- half precision -------------------------------------------------------------------------------------


def image_state(sigma: float) -> torch.Tensor:
    """(4, 1, 64, 64) float32 states on exact orbits of the image-like Gaussian, from SDXL's largest sigma."""
    high = targets.SDXL_RANGE[0]
    shrink = ((power_spectrum(64) + sigma**2) / (power_spectrum(64) + high**2)).sqrt()
    return torch.fft.irfft2(torch.fft.rfft2(targets.noise((4, 1, 64, 64), high)) * shrink)


def excess(dtype, sigma: float) -> float:
    """|Q| from a denoiser that answers in half precision over the true |Q|, less 1."""
    x, clean = image_state(sigma), image_gaussian(64)
    rounded = stiffness_jvp(lambda x, s: clean(x, s).to(dtype).float(), x, level(sigma, x))
    return float(rounded.mean() / stiffness_jvp(clean, x, level(sigma, x)).mean()) - 1


def test_rounding_is_blown_up_towards_small_sigma():
    """A cast passes the derivative on, but the direction F = (D - x)/sigma holds the rounding of D: with bfloat16
    |Q| is right to 1 % down to sigma = 0.1 and 40 % too large at 0.03; float16 is finer by 8."""
    assert abs(excess(torch.bfloat16, 1.0)) < 0.001 and abs(excess(torch.bfloat16, 0.1)) < 0.01
    assert 0.2 < excess(torch.bfloat16, 0.0292) < 0.6
    assert 0.001 < excess(torch.float16, 0.0292) < 0.02
    added = [np.sqrt((1 + excess(torch.bfloat16, sigma)) ** 2 - 1) for sigma in (0.03, 0.06)]
    assert 3 < added[0] / added[1] < 5  # noise is added in squares, and goes as 1/sigma^2


def test_a_denoiser_may_use_its_input():
    """As networks do that scale it in place."""
    def careless(x, sigma):
        answer = gaussian()(x, sigma)
        x *= 0.5
        return answer

    x, sigma = targets.noise((4, 8), 3.0), torch.full((4,), 1.5)
    assert torch.equal(stiffness_jvp(careless, x, sigma), stiffness_jvp(gaussian(), x, sigma))


def test_rounding_without_a_derivative_is_refused():
    x = image_state(1.0)
    with pytest.raises(ValueError, match="derivative of 0 everywhere.*stiffness='secant'"):
        stiffness_jvp(lambda x, sigma: torch.round(image_gaussian(64)(x, sigma) * 256) / 256, x, level(1.0, x))


# --- a table of noise levels ----------------------------------------------------------------------------


def with_table(denoiser, table=None):
    """An EPS network around a denoiser, which knows its noise level by the nearest entry of `table` or exactly."""
    def column(values, x):
        return values.reshape(-1, *[1] * (x.ndim - 1))

    def denoise(x, sigma):
        known = sigma if table is None else table[(sigma.log()[:, None] - table.log()).abs().argmin(dim=1)].to(sigma)
        scaled = x / column((1 + sigma**2).sqrt(), x) * column((1 + known**2).sqrt(), x)
        eps = (scaled - denoiser(scaled, known)) / column(known, x)
        return x - column(sigma, x) * eps

    return denoise


@every_target
def test_lookup_by_sigma_is_missed(target):
    """1000 levels, as SD 1.5 and SDXL have: the derivative is off by more than half somewhere, and for N(0, 1),
    where the network's answer changes through its noise level alone, it is 0. Secants stay within 10 %."""
    table = torch.tensor(np.geomspace(0.0292, 14.6146, 1000))
    grid = recording_grid(RANGES[target][0], 0.03, 32)
    high, _ = RANGES[target]
    clean, tabled = with_table(DENOISERS[target]), with_table(DENOISERS[target], table)
    noise = targets.noise(SHAPES[target], high)
    secants = [record_orbits(model, noise, high, 0.03, sigmas=grid).mean_stiffness for model in (clean, tabled)]
    assert np.abs(secants[1] / secants[0] - 1).max() < 0.1
    ratios = []
    for s in (0.1, 1.0, 2.5):
        x = noise.double() * np.sqrt((1 + s**2) / (1 + high**2))
        ratios.append(float(stiffness_jvp(tabled, x, level(s, x)).mean() / stiffness_jvp(clean, x, level(s, x)).mean()))
    assert min(ratios) < 0.5
    assert target != "normal" or max(ratios) < 0.01


# --- a real network -------------------------------------------------------------------------------------


def demo(batch: int = 4):
    """The demo model's denoiser for `batch` classes, and a state (batch, 1, 28, 28) at sigma = 1 on its orbits."""
    denoiser, last = demo_denoiser(load_network(), torch.eye(10)[:batch]), {}

    def spying(x, sigma):
        last["x"] = x.clone()
        return denoiser(x, sigma)

    record_orbits(spying, targets.noise((batch, 1, 28, 28), 20.0), 20.0, 1.0, nodes=12)
    return denoiser, last["x"]


def central_secant(denoiser, x, sigma: float, step: float) -> torch.Tensor:
    """|dD/dsigma|/sigma from predictions at (1 + step) sigma and (1 - step) sigma along the orbit; (B,)."""
    slope = (x - denoiser(x, level(sigma, x))) / sigma
    high, low = (denoiser(x + h * sigma * slope, level((1 + h) * sigma, x)) for h in (step, -step))
    return ((high - low) / (2 * step * sigma**2)).flatten(1).square().mean(dim=1).sqrt().double()


def test_demo_model():
    """A short secant agrees to 1 %. One as wide as a cell of a recording is smaller: the network ripples with sigma,
    by the Fourier features of its noise level, and a cell averages the ripples away."""
    denoiser, x = demo()
    q = stiffness_jvp(denoiser, x, level(1.0, x))
    assert torch.isfinite(q).all() and (q > 0).all()
    assert torch.allclose(q, central_secant(denoiser, x, 1.0, 0.003), rtol=0.01)
    assert (central_secant(denoiser, x, 1.0, 0.07) < 0.95 * q).all()


def test_modes_of_autograd_make_no_difference():
    """Same |Q| with gradients on or off, under inference_mode, on weights that train, and without a graph left."""
    denoiser, x = demo(2)
    network = load_network().requires_grad_(True)
    training = demo_denoiser(network, torch.eye(10)[:2])
    expected = stiffness_jvp(denoiser, x, level(1.0, x))
    denoised, with_graph = denoised_and_stiffness(training, x.requires_grad_(True), level(1.0, x))
    assert not denoised.requires_grad and not with_graph.requires_grad
    with torch.inference_mode():
        inside = stiffness_jvp(denoiser, x.clone(), level(1.0, x))
    for other in (with_graph, inside):
        assert torch.allclose(other, expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*sdp_kernel.*:FutureWarning")
@pytest.mark.parametrize("old_torch", [False, True])
def test_attention_falls_back_on_the_kernel_with_derivatives(monkeypatch, old_torch):
    """On contiguous input torch picks a fused kernel, which has none. Before 2.3 another name turns it off."""
    if old_torch:
        monkeypatch.setattr(jvp, "SDPBackend", None)

    def attends(x, sigma):
        return torch.nn.functional.scaled_dot_product_attention(x, x, x) / sigma.reshape(-1, 1, 1, 1)

    x = targets.noise((2, 4, 16, 8), 1.0)
    with pytest.raises(NotImplementedError, match="forward AD"):
        torch.func.jvp(attends, (x, level(2.0, x)), (x.clone(), level(1.0, x)))
    assert torch.allclose(stiffness_jvp(attends, x, level(2.0, x)), central_secant(attends, x, 2.0, 0.003), rtol=0.01)


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [
    lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127),  # no forward derivative
    lambda x: torch.from_numpy(0.5 * x.numpy()),  # leaves torch by its memory
    lambda x: torch.tensor(x.tolist()),  # leaves it value by value
    lambda x: 0.5 * x.detach(),
    lambda x: (x - x).abs().sqrt() + 0.5 * x])  # a derivative of 0/0
def test_denoisers_without_a_derivative_are_refused(answer):
    x = targets.noise((2, 3), 1.0)
    with pytest.raises(ValueError, match="forward derivatives.*; got .*; use stiffness='secant'"):
        stiffness_jvp(lambda x, sigma: answer(x), x, level(1.0, x))


def test_a_lack_of_memory_is_told_as_such():
    """Not as a denoiser without derivatives: fewer samples at once would help."""
    calls = []

    def full(x, sigma):
        calls.append(1)
        if len(calls) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return 0.5 * x

    with pytest.raises(torch.cuda.OutOfMemoryError):
        stiffness_jvp(full, torch.ones(2, 3), torch.tensor([1.0, 1.0]))


def test_a_denoiser_that_cannot_be_asked_with_derivatives_is_refused():
    """Not as if the user's code were at fault; plain calls are what it was made for."""
    calls = []

    def plain(x, sigma):
        calls.append(1)
        if len(calls) > 1:
            raise TypeError("expected a plain tensor")
        return 0.5 * x

    with pytest.raises(ValueError, match="got expected a plain tensor; use stiffness='secant'"):
        stiffness_jvp(plain, torch.ones(2, 3), torch.tensor([1.0, 1.0]))


@pytest.mark.parametrize("sigma", [torch.tensor([1.0, 0.0]), torch.tensor([1.0]), torch.tensor(1.0),
                                   torch.tensor([1.0, float("nan")])])
def test_refuses_bad_sigmas(sigma):
    with pytest.raises(ValueError, match="sigma must hold one value > 0 for each of 2 samples; got"):
        stiffness_jvp(gaussian(), torch.ones(2, 3), sigma)


def test_refuses_bad_answers_as_recording_does():
    with pytest.raises(ValueError, match="NaN or infinity at sigma=2"):
        stiffness_jvp(lambda x, sigma: x / 0, torch.ones(2, 3), torch.tensor([2.0, 2.0]))
    with pytest.raises(ValueError, match="got NoneType"):
        stiffness_jvp(lambda x, sigma: None, torch.ones(2, 3), torch.tensor([2.0, 2.0]))
