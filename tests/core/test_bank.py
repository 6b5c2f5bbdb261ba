"""The orbit bank: recording, merging, files, and what it refuses."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from art_nodes.core import (
    OrbitBank,
    ScheduleFileError,
    compare,
    flow_recording_grid,
    optimal_schedule,
    record_orbits,
    recording_grid,
)
from art_nodes.core.exact import gaussian
from art_nodes.core.objectives import SamplerError
from tests.core import targets


def small_bank(seed=0, nodes=16, sigma_max=3.0) -> OrbitBank:
    return record_orbits(gaussian(), targets.noise((4, 2), sigma_max, seed), sigma_max, 0.01, nodes=nodes)


def test_counts_every_model_call_and_reports_progress():
    seen, calls = [], []

    def counting(x, sigma):
        assert sigma.shape == (len(x),) and sigma.dtype == torch.float32
        calls.append(float(sigma[0]))
        return gaussian()(x, sigma)

    bank = record_orbits(counting, targets.noise((4, 2), 3.0), 3.0, 0.01, nodes=16,
                         progress=lambda done, total: seen.append((done, total)))
    assert bank.calls == len(calls) == 16 and bank.sample_calls == 64
    assert seen == [(i + 1, 16) for i in range(16)]
    assert calls[0] == 3.0 and math.isclose(calls[-1], 0.01, rel_tol=1e-6) and min(calls) > 0
    assert bank.stiffness.shape == (4, 16) and bank.stiffness.dtype == np.float64


def test_orbit_is_integrated_to_third_order():
    """The state at sigma_min of N(0, 1) is known: x shrinks by sqrt((1 + s^2)/(1 + T^2)).

    Twice the nodes leave an eighth; a second-order scheme would leave a quarter. The range begins where D hardly
    changes, so that the first two steps, of lower order, do not count.
    """
    last = {}

    def spying(x, sigma):
        last["x"] = x.clone()
        return gaussian()(x, sigma)

    start = targets.noise((8, 3), 80.0)
    truth = start * math.sqrt((1 + 0.01**2) / (1 + 80.0**2))
    errors = []
    for nodes in (64, 128):
        record_orbits(spying, start, 80.0, 0.01, nodes=nodes)
        errors.append(float((last["x"] - truth).abs().max()))
    assert errors[0] < 2e-3 and errors[1] < 0.16 * errors[0]


class WithoutFFT(torch.Tensor):
    """A tensor on a device that lacks the Fourier transform, as some do."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if "fft" in getattr(function, "__name__", ""):
            raise RuntimeError("not implemented on this device")
        if function is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        return super().__torch_function__(function, types, args, kwargs or {})


def test_pictures_are_recorded_on_devices_without_fourier_transform():
    noise = 3 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(RuntimeError, match="this device"):
        torch.fft.rfft2(noise.as_subclass(WithoutFFT))

    def denoise(x, sigma):
        return x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2)

    plain = record_orbits(denoise, noise, 3.0, 0.03, nodes=8)
    other = record_orbits(denoise, noise.as_subclass(WithoutFFT), 3.0, 0.03, nodes=8)
    np.testing.assert_array_equal(other.detail, plain.detail)
    np.testing.assert_array_equal(other.ends, plain.ends)


def test_own_nodes():
    grid = np.geomspace(3.0, 0.01, 20)
    bank = record_orbits(gaussian(), targets.noise((2, 2), 3.0), 3.0, 0.01, sigmas=grid)
    assert np.array_equal(bank.sigmas, grid)


def test_merge_keeps_every_orbit_and_adds_the_calls():
    first, second = small_bank(0), small_bank(1)
    merged = OrbitBank.merge([first, second])
    assert np.array_equal(merged.stiffness, np.concatenate([first.stiffness, second.stiffness]))
    assert merged.calls == 32 and merged.sample_calls == 128


def test_merge_of_other_nodes_keeps_the_integral():
    first, second = small_bank(0, nodes=16), small_bank(1, nodes=24)
    merged = OrbitBank.merge([first, second])
    widths = -np.diff(merged.edges)
    for rows, bank in [(merged.stiffness[:4], first), (merged.stiffness[4:], second)]:
        assert np.allclose((rows * widths).sum(1), (bank.stiffness * -np.diff(bank.edges)).sum(1))


def test_merge_refuses_other_ranges_and_nothing():
    with pytest.raises(ValueError, match="start at the same sigma"):
        OrbitBank.merge([small_bank(), small_bank(sigma_max=5.0)])
    with pytest.raises(ValueError, match="record at least one"):
        OrbitBank.merge([])


@pytest.mark.parametrize("off", [1e-15, 1e-6, 5e-5])
def test_merge_of_almost_equal_nodes_keeps_the_objectives(off):
    """Nodes a hair apart would make cells whose slope is noise."""
    def recorded(top, seed):
        return record_orbits(targets.two_modes(), targets.noise((16, 1), top, seed), top, 0.01, nodes=48)

    plain = OrbitBank.merge([recorded(20.0, 0), recorded(20.0, 1)])
    near = OrbitBank.merge([recorded(20.0, 0), recorded(20.0 * (1 + off), 1)])
    other = OrbitBank.merge([recorded(20.0, 0), recorded(20.0 * (1 + off), 1), record_orbits(
        targets.two_modes(), targets.noise((16, 1), 20.0, 2), 20.0, 0.01, nodes=40)])
    grid = optimal_schedule(plain).sigmas(6).double().numpy()[None]
    for objective in ("end:euler", "end:dpmpp_2m"):
        wanted = SamplerError(plain, objective)(grid)
        np.testing.assert_allclose(SamplerError(near, objective)(grid), wanted, rtol=1e-3)
        np.testing.assert_allclose(SamplerError(other, objective)(grid), wanted, rtol=0.2)


def test_merge_of_flows_keeps_the_nodes_near_a_share_of_1():
    """All of a picture's composition lies there, between nodes that hardly differ in sigma."""
    def flow(x, sigma):
        return x * (1 - sigma[:, None]) / ((1 - sigma[:, None]) ** 2 + sigma[:, None] ** 2)

    banks = [record_orbits(flow, torch.randn(2, 8, generator=torch.Generator().manual_seed(nodes)), 1.0, 0.003,
                           nodes=nodes, share=True) for nodes in (64, 48)]
    merged = OrbitBank.merge(banks)
    above = [(bank.sigmas > 0.98).sum() for bank in banks]
    assert (merged.sigmas > 0.98).sum() > max(above) and (np.diff(merged.sigmas) < 0).all()


def test_merged_ends_are_kept_only_where_all_have_the_nodes():
    """A denser grid than the orbits were recorded on would promise ends nearer to the truth than they are."""
    same, other = [small_bank(0), small_bank(1)], [small_bank(0), dataclasses.replace(
        small_bank(1), sigmas=np.append(3.0, small_bank(1).sigmas[1:] * np.geomspace(0.99, 0.8, 15)))]
    assert len(OrbitBank.merge(same).ends) == 8 and OrbitBank.merge(other).ends is None


def test_merge_refuses_samples_of_other_sizes():
    wide = record_orbits(gaussian(), targets.noise((4, 8), 3.0), 3.0, 0.01, nodes=16)
    with pytest.raises(ValueError, match=r"samples of one size; got \[2, 8\] elements"):
        OrbitBank.merge([small_bank(), wide])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_kept_with_the_bank(tmp_path, dtype):
    def rounded(x, sigma):
        return gaussian()(x, sigma).to(dtype).float()

    banks = [record_orbits(rounded, targets.noise((4, 2), 3.0, seed), 3.0, 0.01, nodes=nodes)
             for seed, nodes in ((0, 16), (1, 16), (2, 20))]
    merged = OrbitBank.merge([*banks, small_bank()])
    assert small_bank().rounding is None and merged.rounding.shape == (len(merged.sigmas) + 1,)
    assert OrbitBank.merge(banks[:2]).rounding[1:] == pytest.approx(np.maximum(*(b.rounding[1:] for b in banks[:2])))
    banks[0].save(tmp_path / "half.safetensors")
    assert np.array_equal(OrbitBank.load(tmp_path / "half.safetensors").rounding, banks[0].rounding)


def test_merge_refuses_flows_among_others():
    bank = small_bank()
    with pytest.raises(ValueError, match="mean the same by sigma"):
        OrbitBank.merge([bank, dataclasses.replace(bank, share=True)])


def test_file_round_trip(tmp_path):
    bank = small_bank()
    bank.save(tmp_path / "orbits.safetensors")
    again = OrbitBank.load(tmp_path / "orbits.safetensors")
    assert np.array_equal(again.stiffness, bank.stiffness) and np.array_equal(again.sigmas, bank.sigmas)
    assert (again.calls, again.sample_calls, again.metadata) == (bank.calls, bank.sample_calls, bank.metadata)


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-9],
                                    lambda data: data.replace(b"art-orbit-bank", b"art-orbit-junk")])
def test_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "orbits.safetensors"
    small_bank().save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ScheduleFileError, match="orbits.safetensors"):
        OrbitBank.load(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ScheduleFileError, match="nowhere.safetensors"):
        OrbitBank.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("sigma_max, sigma_min", [
    (3.0, 0.0), (3.0, -1.0), (0.5, 1.0), (math.inf, 0.1), (math.nan, 0.1), (3.0, math.nan)])
def test_refuses_bad_ranges(sigma_max, sigma_min):
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max.*got"):
        record_orbits(gaussian(), torch.ones(2, 2), sigma_max, sigma_min)


@pytest.mark.parametrize("noise", [torch.ones(0, 2), torch.ones(2), torch.full((2, 2), math.nan), [1.0, 2.0]])
def test_refuses_bad_noise(noise):
    with pytest.raises(ValueError, match="noise must be"):
        record_orbits(gaussian(), noise, 3.0, 0.01)


@pytest.mark.parametrize("nodes", [0, 7, 10.5])
def test_refuses_too_few_nodes(nodes):
    with pytest.raises(ValueError, match="nodes must be a whole number >= 8"):
        record_orbits(gaussian(), torch.ones(2, 2), 3.0, 0.01, nodes=nodes)


@pytest.mark.parametrize("answer, message", [
    (lambda x: x * math.nan, "NaN or infinity at sigma="),
    (lambda x: x * math.inf, "NaN or infinity"),
    (lambda x: x[:, :1], r"shape \(2, 3\); got \(2, 1\)"),
    (lambda x: None, "got NoneType")])
def test_refuses_bad_denoisers(answer, message):
    with pytest.raises(ValueError, match=message):
        record_orbits(lambda x, sigma: answer(x), torch.ones(2, 3), 3.0, 0.01)


@pytest.mark.parametrize("sigmas", [np.linspace(1, 3, 20), np.linspace(3, 0.01, 4), np.linspace(3, 0.5, 20),
                                    np.full(20, math.nan)])
def test_refuses_bad_nodes(sigmas):
    with pytest.raises(ValueError, match="sigmas must"):
        record_orbits(gaussian(), torch.ones(2, 3), 3.0, 0.01, sigmas=sigmas)


@pytest.mark.parametrize("ends", [(2.9, 0.01), (3.0, 0.0105)])
def test_nodes_must_run_over_the_range_that_is_told(ends):
    with pytest.raises(ValueError, match="sigmas must run from sigma_max=3 to sigma_min=0.01; got "):
        record_orbits(gaussian(), torch.ones(2, 3), 3.0, 0.01, sigmas=np.geomspace(*ends, 20))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_single_broken_number_of_the_noise_is_told(broken):
    noise = torch.ones(2, 3)
    noise[1, 2] = broken
    with pytest.raises(ValueError, match="noise must be finite; got NaN or infinity"):
        record_orbits(lambda *_: pytest.fail("the model was called"), noise, 3.0, 0.01)


@pytest.mark.parametrize("nodes", [8, 64])
@pytest.mark.parametrize("low", [0.0003, 0.003, 0.1])
def test_a_flow_is_recorded_evenly_in_the_noise_added(low, nodes):
    """In units of the picture the grid is an ordinary one, but for its two ends and one node right below pure noise."""
    grid = flow_recording_grid(1.0, low, nodes)
    assert (grid[0], grid[-1], len(grid)) == (1.0, low, nodes) and (np.diff(grid) < 0).all()
    added = grid[2:-1] / (1 - grid[2:-1])
    assert np.ptp(np.diff(added ** (1 / 7))) < 1e-9
    assert nodes < 64 or np.abs(np.diff(grid)).max() < 0.07, "no wide gap, at pure noise least of all"


def test_a_flow_that_starts_below_pure_noise_is_recorded_evenly_from_there():
    grid = flow_recording_grid(0.99, 0.01, 16)
    added = grid / (1 - grid)
    assert np.ptp(np.diff(added ** (1 / 7))) < 1e-9 and added[0] == pytest.approx(99) and len(grid) == 16


def test_a_share_of_noise_is_at_most_1():
    with pytest.raises(ValueError, match="sigma_max must be at most 1 for a rectified flow; got 2"):
        flow_recording_grid(2.0, 0.003, 8)


def test_refuses_an_empty_bank():
    with pytest.raises(ValueError, match="at least one orbit"):
        OrbitBank(recording_grid(3.0, 0.1, 8), np.ones((0, 8)))
    with pytest.raises(ValueError, match="finite and > 0"):
        OrbitBank(recording_grid(3.0, 0.1, 8), np.zeros((2, 8)))
    with pytest.raises(ValueError, match="strictly descending"):
        OrbitBank(np.linspace(0.1, 3.0, 8), np.ones((2, 8)))


def test_merging_recordings_of_other_nodes_drops_the_ends():
    """Trials take errors below what the recording itself leaves for nothing, and tell that by the nodes."""
    coarse, fine = small_bank(0), small_bank(1, nodes=32)
    assert OrbitBank.merge([coarse, small_bank(1)]).ends is not None
    assert OrbitBank.merge([coarse, fine]).ends is None


@pytest.mark.parametrize("part", ["rounding", "spectrum"])
def test_damaged_parts_are_refused(part):
    noise = 3 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    bank = record_orbits(gaussian(), noise, 3.0, 0.03, nodes=8)
    short = {"rounding": np.zeros(4), "spectrum": dataclasses.replace(bank.spectrum, share=bank.spectrum.share[:-1])}
    with pytest.raises(ValueError, match=f"a bank's {part} must be .*record it afresh"):
        dataclasses.replace(bank, **{part: short[part]})


def test_noise_must_be_a_tensor():
    with pytest.raises(ValueError, match="noise must be a torch tensor .*got ndarray; pass torch.from_numpy"):
        record_orbits(gaussian(), np.ones((2, 4)), 3.0, 0.03)


@pytest.mark.parametrize("use", [
    lambda noise: record_orbits(gaussian(), noise, 14.6, 0.03, nodes=8),
    lambda noise: compare(gaussian(), noise, {"a": [14.6, 1.0, 0.0]}),
], ids=["record_orbits", "compare"])
def test_noise_that_is_not_scaled_is_refused(use):
    """It would be sampled far off what the model was trained on, without a sign of it."""
    noise = targets.noise((2, 32), 1.0)
    with pytest.raises(ValueError, match="noise must be scaled by the first sigma, here 14.6; got an RMS of .*pass "
                                         "sigma_max \\* noise"):
        use(noise)
    use(14.6 * noise)
    use(14.6 * noise + 20.0)  # data of any size may be added
    use(0.0 * noise[:, :31])  # so few may be small by chance


def test_unit_noise_is_that_of_a_flow():
    record_orbits(gaussian(), targets.noise((2, 32), 1.0), 1.0, 0.03, nodes=8, share=True)
    with pytest.raises(ValueError, match="noise must be scaled"):
        record_orbits(gaussian(), 0.1 * targets.noise((2, 32), 1.0), 1.0, 0.03, nodes=8, share=True)


def test_numbers_of_numpy_are_kept_as_plain_ones(tmp_path):
    bank = dataclasses.replace(small_bank(0), metadata={"cfg": np.float32(3), "levels": np.arange(2)})
    bank.save(tmp_path / "bank.safetensors")
    assert OrbitBank.load(tmp_path / "bank.safetensors").metadata == {"cfg": 3.0, "levels": [0, 1]}
    with pytest.raises(ValueError, match="must be text, numbers, lists and tables; got object"):
        dataclasses.replace(bank, metadata={"cfg": object()}).save(tmp_path / "other.safetensors")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist, so bank.safetensors cannot"):
        small_bank(0).save(tmp_path / "nowhere" / "bank.safetensors")


def test_a_denoiser_may_use_its_input_and_one_buffer():
    """Input scaled in place, and answers in a buffer that the next call overwrites, as captured graphs give them."""
    noise, buffer = targets.noise((2, 3), 3.0), torch.empty(2, 3)

    def careless(x, sigma):
        buffer.copy_(gaussian()(x, sigma))
        x.mul_(7.0)
        return buffer

    before = noise.clone()
    made, expected = (record_orbits(each, noise, 3.0, 0.01, nodes=16) for each in (careless, gaussian()))
    assert torch.equal(noise, before)
    np.testing.assert_array_equal(made.gram, expected.gram)
    np.testing.assert_array_equal(made.ends, expected.ends)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_default_device_of_torch_does_not_count(precision):
    noise = torch.randn(4, 4, 80, 80, generator=torch.Generator().manual_seed(0))  # more than is kept of a sample

    def denoiser(x, sigma):
        return (x / (1 + sigma.view(-1, 1, 1, 1) ** 2)).to(precision)

    expected = record_orbits(denoiser, noise, 3.0, 0.01, nodes=8)
    torch.set_default_device("meta")
    try:
        made = record_orbits(denoiser, noise, 3.0, 0.01, nodes=8)
    finally:
        torch.set_default_device(None)
    np.testing.assert_array_equal(made.gram, expected.gram)
    np.testing.assert_array_equal(made.spectrum.gram, expected.spectrum.gram)


def test_merged_banks_know_the_mean_guidance_and_leave_their_sources_alone():
    one, other = (dataclasses.replace(small_bank(seed), metadata={"cfg": cfg, "model": "m"})
                  for seed, cfg in ((0, 1.0), (1, 7.0)))
    for banks in ([one, other], [other, one]):
        assert OrbitBank.merge(banks).metadata == {"cfg": 4.0, "model": "m"}
    merged = OrbitBank.merge([one, one])
    assert merged.metadata == one.metadata
    merged.metadata["cfg"] = 3.0
    assert one.metadata["cfg"] == 1.0
    unknown = dataclasses.replace(other, metadata={})
    assert OrbitBank.merge([one, unknown]).metadata["cfg"] == 1.0
