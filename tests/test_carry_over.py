"""Carrying clocks to families whose weights are not here: each step against what is known in closed form."""

import dataclasses

import numpy as np
import pytest
import torch

from art_nodes.core import Schedule, flow_recording_grid, record_orbits, recording_grid
from art_nodes.core.compare import euler
from art_nodes.core.exact import gaussian, image_gaussian
from art_nodes.host.families import ADDED, BY_NAME, SHARE, ModelFacts, cautions, schedule_meaning
from benchmarks import carry_over, carrying
from benchmarks.carry_sources import FINE, GAUSSIAN, POOL
from benchmarks.latents import FAMILIES, SD, SDXL
from benchmarks.make_bundled import file_name
from benchmarks.pooled import WAY, pooled_grids

HIGH, LOW = 14.6146, 0.0292


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spread", [0.5, 0.725, 2.0])
def test_data_of_another_scale(spread):
    """A Gaussian of variance 1 told in units of s is a Gaussian of variance s^2."""
    x, sigma = 3 * noise(5, 7), torch.tensor([0.1, 0.7, 1.0, 5.0, 14.0])
    expected = gaussian(spread**2)(x, sigma)
    torch.testing.assert_close(carrying.rescaled(gaussian(), spread)(x, sigma), expected, rtol=1e-5, atol=1e-6)


def test_a_flow_runs_through_the_same_pictures():
    """Euler's method on shares of noise and on added noise ends at the same picture: its steps are the same."""
    grid, start, added = np.append(flow_recording_grid(0.95, 0.01, 8), 0.0), noise(4, 1, 8, 8), image_gaussian(8)
    shares = torch.from_numpy(grid)
    plain = torch.from_numpy(grid / (1 - grid))
    end = euler(added, start * float(plain[0]), plain)
    torch.testing.assert_close(euler(carrying.as_flow(added), start * float(shares[0]), shares), end,
                               rtol=1e-4, atol=1e-5)


def _bank(size):
    start = noise(16, 1, size, size) * np.hypot(1, HIGH)
    return record_orbits(image_gaussian(size), start, HIGH, LOW, sigmas=recording_grid(HIGH, LOW, 48))


def test_a_larger_picture():
    """Stiffness measured at 32x32 and carried to 64x64 is the one measured there; as it is, it is not."""
    small, large = _bank(32), _bank(64)
    middle = 0.5 * (small.edges[:-1] + small.edges[1:])
    carried = carrying.stiffened(small, carrying.size_factor(middle, (64, 64), (32, 32)))
    inner = slice(1, -1)  # the two ends are held at their neighbours' values
    ratio = (carried.mean_stiffness / large.mean_stiffness)[inner]
    assert np.abs(np.log(ratio)).max() < 0.05
    assert np.abs(np.log(small.mean_stiffness / large.mean_stiffness)[inner]).max() > 0.09


def test_stiffened_predictions_change_as_much_more():
    """The Gram matrix follows: every difference of predictions is longer by the factor, the last one stays."""
    bank, factor = _bank(16), np.linspace(0.5, 2.0, 48)
    carried = carrying.stiffened(bank, factor)
    change = np.diff(np.eye(49), axis=0)[1:]

    def lengths(of):
        return np.sqrt(np.einsum("in,bnm,im->bi", change, of.gram, change))

    np.testing.assert_allclose(lengths(carried), lengths(bank) * factor[:-1], rtol=1e-3)
    np.testing.assert_allclose(carried.gram[:, [0, -1]][:, :, [0, -1]], bank.gram[:, [0, -1]][:, :, [0, -1]])
    np.testing.assert_allclose(carrying.stiffened(bank, np.ones(48)).gram, bank.gram, atol=1e-9)


def _rippling(x, sigma):
    """The Gaussian field's denoiser with a ripple of 1 % in ln sigma, a full one in 0.2 e-folds."""
    ripple = 1 + 0.01 * torch.sin(2 * torch.pi * sigma.log() / 0.2).reshape(-1, 1, 1, 1)
    return ripple * image_gaussian(32)(x, sigma)


def test_ripples_are_smoothed_away():
    """A recording through a ripple comes back to the one without within 10 %; a smooth one stays within 1.5 %."""
    start, nodes = noise(8, 1, 32, 32) * np.hypot(1, HIGH), recording_grid(HIGH, LOW, 64)
    plain, rippled = (record_orbits(model, start, HIGH, LOW, sigmas=nodes) for model in (image_gaussian(32), _rippling))
    inner = slice(3, -8)  # the window is cut at the two ends

    def off(bank):
        return np.abs(np.log(bank.mean_stiffness / plain.mean_stiffness)[inner]).max()

    assert off(carrying.smoothed(plain)) < 0.015
    assert off(carrying.smoothed(rippled)) < 0.1 < 0.2 < off(rippled)


def test_every_family_is_carried_to():
    assert set(FAMILIES) == {name for name in BY_NAME if not name.startswith("demo")}
    for name, latents in FAMILIES.items():
        assert BY_NAME[name].meaning == (SHARE if latents.share else ADDED)
    for family, spread, expected in (("sd15", SD, 0.724), ("sdxl", SDXL, 0.867)):
        known = FAMILIES[family].data_std
        assert known == pytest.approx(np.sqrt(np.mean(np.square(spread)))) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("family", ["sdxl-refiner", "flux"])
def test_a_family_from_recording_to_file(family, tmp_path, monkeypatch):
    """On a Gaussian in place of the photo model: the files say what they are and fit the family's range."""
    monkeypatch.setattr(carry_over, "OBJECTIVES", ("euler", "end:euler"))
    monkeypatch.setattr(carry_over, "ORBITS", 4)
    monkeypatch.setattr(carry_over, "RECORDINGS", 1)
    monkeypatch.setattr(carry_over, "photo_denoiser", lambda network: image_gaussian(32))
    monkeypatch.setattr(carry_over, "with_grids", _with_few)
    monkeypatch.setattr(carry_over, "POOLED", ("euler",))
    monkeypatch.setattr(carry_over, "POOL", tuple(dataclasses.replace(one, orbits=4) for one in (GAUSSIAN, FINE)))
    monkeypatch.setattr(carry_over, "pooled_grids", lambda banks, sampler: pooled_grids(banks, sampler, (4,)))
    carry_over.main(["--families", family, "--out", str(tmp_path)], network=lambda: torch.nn.Identity())
    latents, files = FAMILIES[family], sorted(tmp_path.iterdir())
    assert {path.stem for path in files} == {family, f"{family}-clock"}
    for path in files:
        schedule = Schedule.load(path)
        assert schedule.provenance["family"] == family and "not learned on this checkpoint" in str(schedule.provenance)
        assert "model" not in schedule.provenance and "model_sampling" not in schedule.provenance
        assert schedule.sigma_max == pytest.approx(latents.high)
        assert schedule_meaning(schedule) == BY_NAME[family].meaning
        facts = ModelFacts("flow" if latents.share else "eps", "ModelSamplingDiscrete", latents.high, latents.low)
        assert cautions(facts, schedule) == []
    refined, clock = (Schedule.load(tmp_path / f"{name}.safetensors") for name in (family, f"{family}-clock"))
    assert sorted(refined.grids) == refined.provenance["grids"] == [4]
    assert clock.provenance["objective"] == "euler" and "fitted_to" not in clock.provenance
    known = refined.provenance
    assert ("2 models at once (64x64 Gaussian, 64x64 Gaussian of slope 1.5)" in known["learned_on"]) == latents.share
    assert ("several models" in known["title"]) == ("fitted_to" in known) == latents.share


def test_a_range_far_above_the_trained_one_gets_the_grids_of_what_eulers_steps_leave():
    chosen = {name: carry_over.objectives(latents) for name, latents in FAMILIES.items() if not latents.share}
    assert {name for name, objectives in chosen.items() if objectives["end:euler"] != "end:euler"} == {"svd"}
    assert all(objectives["end:dpmpp_2m"] == "end:dpmpp_2m" for objectives in chosen.values())
    bundled = Schedule.load(carry_over.FOLDER / "svd.safetensors")
    assert chosen["svd"]["end:euler"] == bundled.provenance["objective"] == "residual:euler"


@pytest.mark.parametrize("sampler", carry_over.POOLED)
@pytest.mark.parametrize("family", sorted(name for name, latents in FAMILIES.items() if latents.share))
def test_bundled_flows_say_what_they_were_learned_on(family, sampler):
    known = Schedule.load(carry_over.FOLDER / file_name(family, f"end:{sampler}")).provenance
    assert known["objective"] == f"end:{sampler}" and known["fitted_to"] == carry_over.FITTED_TO % WAY[sampler]
    assert all(source.name in known["learned_on"] for source in POOL)
    assert carry_over.NOT_ITS_OWN in known["learned_on"] and known["carried_over"].startswith("yes")


def _with_few(schedule, bank, objective, growth):
    from art_nodes.core import with_grids

    assert growth == 0  # whatever the photo model's pictures do
    return with_grids(schedule, bank, objective, (4,), growth=growth)


def test_control_stretching_sigma_alone_is_no_data_scale():
    """Negative control: sigma in other units without the data in them is another model."""
    image, pictures, sigma = image_gaussian(8), 3 * noise(5, 1, 8, 8), torch.full((5,), 1.0)
    right = carrying.rescaled(image, 0.5)(pictures, sigma)
    assert (image(pictures, sigma) - right).abs().max() > 0.1
