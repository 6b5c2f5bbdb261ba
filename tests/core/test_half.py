"""Networks that compute in half precision inside, and whose answer is put together in float32."""

import dataclasses

import numpy as np
import pytest
import torch

from art_nodes.core import optimal_schedule, record_orbits, with_grids
from art_nodes.core.exact import image_gaussian
from art_nodes.core.half import PROBES, probed_nodes
from art_nodes.core.objectives import SamplerError
from art_nodes.core.spectrum import frequency_gain
from tests.core import targets

SIDE, TOP = 64, targets.SDXL_RANGE[0]


def half_inside(dtype, seen=None):
    """D = x - sigma eps as a network of noise prediction has it: what it is given and what it answers are rounded.

    `seen` gets how far each answer is off what the exact denoiser says of the unrounded state, squared.
    """
    exact = image_gaussian(SIDE)

    def denoise(x, sigma):
        s = sigma.reshape(-1, 1, 1, 1)
        scale = torch.sqrt(s**2 + 1)
        given = (x / scale).to(dtype).float() * scale
        answer = x - s * ((given - exact(given, sigma)) / s).to(dtype).float()
        if seen is not None:
            seen.append(float((answer - exact(x, sigma)).double().square().mean()))
        return answer

    return denoise


def start(seed=0, orbits=8) -> torch.Tensor:
    return targets.noise((orbits, 1, SIDE, SIDE), TOP, seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("dtype, without", [(torch.bfloat16, 0.2), (torch.float16, 0.008)])
def test_the_clock_is_that_of_float32(dtype, without, seed):
    exact = optimal_schedule(record_orbits(image_gaussian(SIDE), start(seed), *targets.SDXL_RANGE))
    plain, told = (optimal_schedule(record_orbits(half_inside(dtype), start(seed), *targets.SDXL_RANGE, **known))
                   for known in ({}, {"precision": dtype}))
    apart = targets.disagreement(exact, told)
    assert apart < 0.02
    # control: taken for float32, rounding passes for stiffness
    assert targets.disagreement(exact, plain) > max(without, 1.4 * apart)


@pytest.fixture(scope="module")
def banks():
    """Of the exact denoiser, and of it in bfloat16."""
    return [record_orbits(model, start(), *targets.SDXL_RANGE, precision=dtype) for model, dtype in
            ((image_gaussian(SIDE), None), (half_inside(torch.bfloat16), torch.bfloat16))]


@pytest.mark.parametrize("objective", ["end:euler", "end:dpmpp_2m"])
def test_the_grids_are_as_good_as_those_of_float32(banks, objective):
    exact, half = (with_grids(optimal_schedule(bank), bank, objective, [6, 10]) for bank in banks)
    assert targets.disagreement(exact, half, (6, 10)) < 0.1


@pytest.mark.parametrize("objective", ["detail:dpmpp_2m", "spectrum:dpmpp_2m"])
def test_details_and_powers_are_those_of_float32(banks, objective):
    """On each frequency rounding has its share, of which more than half is taken off."""
    grid = np.append(np.geomspace(TOP, 0.1, 10), 0.0)[None]
    exact, half = (SamplerError(bank, objective)(grid)[0] for bank in banks)
    # control: what rounding adds, as if nothing had been taken off
    bank, noise = banks[1], np.diag(banks[1].rounding)
    gain = frequency_gain(SIDE, SIDE).square().mean().item()
    left = dataclasses.replace(bank, detail=bank.detail + gain * noise, spectrum=dataclasses.replace(
        bank.spectrum, gram=bank.spectrum.gram + noise))
    off, without = (abs(found / exact - 1) for found in (half, SamplerError(left, objective)(grid)[0]))
    assert off < 0.07 and off < 0.5 * without


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_noise_is_measured(dtype):
    """Against what the exact denoiser says, at every node."""
    seen = []
    bank = record_orbits(half_inside(dtype, seen), start(), *targets.SDXL_RANGE, precision=dtype)
    assert len(seen) == bank.calls == 64 + 2 * PROBES and bank.sample_calls == 8 * bank.calls
    assert type(bank.calls) is type(bank.sample_calls) is int
    further = [i + 1 + 2 * nth + k for nth, i in enumerate(probed_nodes(64, dtype)) for k in (0, 1)]
    alone = np.delete(seen, further)
    ratio = np.sqrt(bank.rounding[1:] / alone)
    assert np.all((0.75 < ratio) & (ratio < 1.05))  # what hardly depends on x is missed
    assert bank.rounding[0] == 0


def test_measured_once_for_all_batches():
    first = record_orbits(half_inside(torch.bfloat16), start(), *targets.SDXL_RANGE, precision=torch.bfloat16)
    second = record_orbits(half_inside(torch.bfloat16), start(1), *targets.SDXL_RANGE, precision=torch.bfloat16,
                           rounding=first.rounding)
    assert second.calls == 64 and np.array_equal(second.rounding, first.rounding)
    measured = record_orbits(half_inside(torch.bfloat16), start(1), *targets.SDXL_RANGE, precision=torch.bfloat16)
    assert targets.disagreement(optimal_schedule(second), optimal_schedule(measured)) < 0.02


def test_probes_are_answers_like_any():
    """They may come in one buffer, and are checked."""
    answer, buffer = half_inside(torch.float16), torch.empty(8, 1, SIDE, SIDE, dtype=torch.float64)
    several, one = (record_orbits(denoise, start(), *targets.SDXL_RANGE, nodes=16, precision=torch.float16)
                    for denoise in (answer, lambda x, sigma: buffer.copy_(answer(x, sigma))))
    assert np.array_equal(one.rounding, several.rounding)
    calls = []

    def once_wrong(x, sigma):
        calls.append(sigma)
        return answer(x, sigma) * (float("nan") if len(calls) == 2 else 1.0)  # the first probe

    with pytest.raises(ValueError, match="must answer finite values; got NaN or infinity at sigma=14.6"):
        record_orbits(once_wrong, start(), *targets.SDXL_RANGE, nodes=16, precision=torch.float16)


def test_a_recording_in_half_precision_repeats():
    """What is added to the states is drawn from a generator of its own, and other draws stay what they were."""
    def recorded():
        return record_orbits(half_inside(torch.bfloat16), start(orbits=2), *targets.SDXL_RANGE, nodes=16,
                             precision=torch.bfloat16)

    before = torch.get_rng_state()
    first, second = recorded(), recorded()
    assert np.array_equal(first.stiffness, second.stiffness) and np.array_equal(first.rounding, second.rounding)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("options, match", [
    ({"precision": "bfloat16"}, "precision must be a dtype of torch or None; got 'bfloat16'"),
    ({"precision": torch.bfloat16, "rounding": np.zeros(5)}, r"as many nodes, \(33,\); got \(5,\)"),
])
def test_what_is_no_precision_is_refused_before_the_model_is_called(options, match):
    with pytest.raises(ValueError, match=match):
        record_orbits(lambda *_: pytest.fail("the model was called"), targets.noise((2, 4), TOP),
                      *targets.SDXL_RANGE, nodes=32, **options)


def test_nothing_is_measured_in_float32():
    seen = []
    plain, told = (record_orbits(image_gaussian(SIDE), start(), *targets.SDXL_RANGE, nodes=16, precision=precision,
                                 progress=lambda done, calls: seen.append((done, calls)))
                   for precision in (None, torch.float32))
    assert plain.calls == told.calls == 16 and told.rounding is None
    known = record_orbits(image_gaussian(SIDE), start(), *targets.SDXL_RANGE, nodes=16, rounding=np.ones(17))
    assert known.rounding is None and np.array_equal(known.stiffness, plain.stiffness)
    assert np.array_equal(plain.stiffness, told.stiffness) and seen[:16] == [(i + 1, 16) for i in range(16)]


def test_a_network_that_is_finer_than_was_said_is_not_harmed():
    exact = optimal_schedule(record_orbits(image_gaussian(SIDE), start(), *targets.SDXL_RANGE))
    told = record_orbits(image_gaussian(SIDE), start(), *targets.SDXL_RANGE, precision=torch.bfloat16)
    assert targets.disagreement(exact, optimal_schedule(told)) < 0.02


def test_progress_counts_every_call():
    seen = []
    record_orbits(half_inside(torch.bfloat16), start(), *targets.SDXL_RANGE, nodes=16, precision=torch.bfloat16,
                  progress=lambda done, calls: seen.append((done, calls)))
    assert seen[0] == (3, 26) and seen[1] == (4, 26) and seen[-1] == (26, 26) and len(seen) == 16
    probed = probed_nodes(16, torch.bfloat16)
    assert [done for done, _ in seen] == [i + 1 + 2 * sum(node <= i for node in probed) for i in range(16)]


def test_answers_in_half_precision_are_recognised_whether_told_or_not():
    """A network that predicts x0 in bfloat16."""
    def denoise(x, sigma):
        return image_gaussian(SIDE)(x.bfloat16().float(), sigma).bfloat16().float()

    exact = optimal_schedule(record_orbits(image_gaussian(SIDE), start(), *targets.SDXL_RANGE))
    plain, told = (record_orbits(denoise, start(), *targets.SDXL_RANGE, precision=precision)
                   for precision in (None, torch.bfloat16))
    assert all(targets.disagreement(exact, optimal_schedule(bank)) < 0.08 for bank in (plain, told))
    assert np.all(told.rounding[1:] > 0.99 * plain.rounding[1:]) and (plain.rounding[1:] > 0).all()
