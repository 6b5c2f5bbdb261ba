"""The mathematics around a denoiser on a GPU. On the pretended one the numbers must be those of the CPU."""

import numpy as np
import pytest
import torch

from art_nodes.core import LiveModel, TrainConfig, compare, learn_schedule, record_orbits, with_grids
from art_nodes.core.exact import gaussian
from tests.core import targets

HIGH, LOW = 20.0, 0.03
CPU = torch.device("cpu")
SMALL = TrainConfig(iterations=10, episodes=4, clock_nodes=8, knots=4)


def denoiser_on(device):
    """Pictures of 8 x 8, their variances on the device as weights are; refuses to be asked elsewhere."""
    variance = torch.linspace(0.1, 2.0, 64).reshape(1, 8, 8).to(device)
    known = gaussian(variance)

    def denoise(x, sigma):
        assert x.device == sigma.device == variance.device
        return known(x, sigma)

    return denoise


def noise_on(device, batch=6):
    return targets.noise((batch, 1, 8, 8), HIGH).to(device)


def learned(device):
    bank = record_orbits(denoiser_on(device), noise_on(device), HIGH, LOW, nodes=24)
    return with_grids(learn_schedule(bank, SMALL), bank, "end:dpmpp_2m", (6,)).sigmas(6)


def learned_in_half_precision(device):
    def rounded(x, sigma):
        return denoise(x.bfloat16().float(), sigma).bfloat16()

    denoise = denoiser_on(device)
    bank = record_orbits(rounded, noise_on(device).half(), HIGH, LOW, nodes=24, precision=torch.bfloat16)
    return torch.from_numpy(np.append(bank.stiffness, bank.rounding))


def recorded_as(answer):
    def run(device):
        denoise = denoiser_on(device)
        bank = record_orbits(lambda x, sigma: denoise(x, sigma).to(answer), noise_on(device), HIGH, LOW, nodes=16)
        return torch.from_numpy(np.append(bank.gram, bank.stiffness))

    return run


def learned_live(device):
    def noise(batch, generator):
        return (HIGH * torch.randn(batch, 1, 8, 8, generator=generator)).to(device)

    return learn_schedule(LiveModel(denoiser_on(device), noise, HIGH, LOW), SMALL).sigmas(6)


def compared(solver):
    def run(device):
        grid = torch.tensor([HIGH, 5.0, 1.0, 0.2, 0.0])
        rows = compare(denoiser_on(device), noise_on(device), {"here": grid, "there": grid.to(device)}, solver, 32)
        return torch.cat([row.errors for row in rows])

    return run


@pytest.mark.parametrize("run", [
    learned, learned_in_half_precision, learned_live, compared("euler"), compared("heun"),
], ids=["a recording", "half precision", "a live model", "euler compared", "heun compared"])
def test_the_numbers_are_those_of_the_cpu(pretend_gpu, run):
    found = run(pretend_gpu)
    assert found.device == CPU
    torch.testing.assert_close(found, run(CPU), rtol=0, atol=0)


@pytest.mark.parametrize("answer", [torch.float32, torch.float16])
def test_orbits_are_recorded_on_a_device_without_bfloat16(pretend_gpu, monkeypatch, answer):
    """As DirectML's and older ones of Apple's."""
    monkeypatch.setattr("tests.pretend_gpu.LACKS", {torch.float64, torch.bfloat16})
    with pytest.raises(TypeError, match="no torch.bfloat16"):
        noise_on(pretend_gpu).bfloat16()
    assert torch.equal(recorded_as(answer)(pretend_gpu), recorded_as(answer)(CPU))


def test_a_denoiser_that_answers_elsewhere_is_told(pretend_gpu):
    known = denoiser_on(pretend_gpu)
    with pytest.raises(ValueError, match="answer on .* device, pretend:0; got cpu; .*to"):
        record_orbits(lambda x, sigma: known(x, sigma).cpu(), noise_on(pretend_gpu), HIGH, LOW, nodes=24)


@pytest.mark.parametrize("attempt, complaint", [
    (lambda there: there + torch.ones(3), "one device"),
    (lambda there: torch.ones(3).add_(there), "one device"),
    (lambda there: torch.cat([there, torch.ones(3)]), "one device"),
    (lambda there: torch.nn.functional.linear(there, torch.ones(2, 3)), "one device"),
    (lambda there: torch.ones(3)[there.long()], "one device"),
    (lambda there: there.numpy(), "numpy"),
    (lambda there: there.double(), "float64"),
    (lambda there: torch.zeros(3, dtype=torch.float64, device=there.device), "float64"),
    (lambda there: torch.randn(3, device=there.device, generator=torch.Generator()), "generator"),
])
def test_the_pretended_device_refuses_what_a_gpu_does(pretend_gpu, attempt, complaint):
    """Control: else the other tests would find nothing."""
    there = torch.ones(3).to(pretend_gpu)
    with pytest.raises((RuntimeError, TypeError), match=complaint):
        attempt(there)


def test_the_pretended_device_computes_the_same(pretend_gpu):
    values = torch.arange(6.0).reshape(2, 3)
    there = values.to(pretend_gpu)
    assert there.device == (there + 1).device == there[0].device == torch.zeros_like(there).device == pretend_gpu
    there[0] *= there[1, 2]  # a number that the CPU has may go with it, and views write through
    there[:, torch.tensor([1])] = 7.0
    assert there.tolist() == [[0.0, 7.0, 10.0], [3.0, 7.0, 5.0]] and float(there.sum()) == 32.0
    assert torch.equal(there.cpu() @ values.T, (there @ values.to(there).T).cpu())
    layer = torch.nn.Linear(3, 2)
    expected = layer(values)
    assert torch.equal(layer.to(pretend_gpu)(values.to(pretend_gpu)).cpu(), expected)
    drawn = torch.randn(3, device=pretend_gpu, generator=torch.Generator(pretend_gpu).manual_seed(1))
    assert torch.equal(drawn.cpu(), torch.randn(3, generator=torch.Generator().manual_seed(1)))
