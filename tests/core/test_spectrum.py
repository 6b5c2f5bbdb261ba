"""Power in bands of frequencies: what is recorded of it, and the objective that keeps it."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from art_nodes.core import OrbitBank, TrainConfig, learn_schedule, record_orbits
from art_nodes.core.compare import euler, heun
from art_nodes.core.objectives import SamplerError
from art_nodes.core.refine import best_grid
from art_nodes.core.spectrum import MAX_BYTES, MAX_COEFFICIENTS, Bands, bands_of, root_of
from tests.core import targets

HIGH, LOW = targets.SDXL_RANGE


@pytest.fixture(scope="module")
def bank():
    return targets.bank("image")


def powers(pictures, bands):
    """Of each band, the mean over pictures."""
    return bands.powers(pictures).mean(axis=0)


def distance(power, wanted, share):
    return float(np.sqrt(share @ np.log(power / wanted) ** 2))


@pytest.mark.parametrize("shape", [(1, 28, 28), (4, 16, 24), (3, 5, 9, 12), (2, 7, 6), (1, 1, 1)])
def test_coefficients_have_the_norm_of_the_picture_and_each_belongs_to_one_band(shape):
    pictures = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    bands = Bands(shape)
    found = bands.coefficients(pictures)
    torch.testing.assert_close(found.square().sum(1), pictures.flatten(1).square().sum(1), rtol=1e-5, atol=1e-5)
    assert found.shape[1] == pictures[0].numel() == sum(part.stop - part.start for part in bands.parts)
    assert bands.share.sum() == pytest.approx(1) and len(bands.share) == len(bands.parts)


@pytest.mark.parametrize("across, down, ring", [(0, 0, 0), (1, 0, 1), (0, 5, 5), (3, 4, 5), (14, 0, 14), (14, 14, 14)])
def test_a_wave_is_in_the_ring_of_its_frequency_and_in_its_channel(across, down, ring):
    grid = torch.arange(28) / 28
    wave = torch.cos(2 * torch.pi * (across * grid + down * grid[:, None]))
    pictures = torch.stack([torch.zeros(28, 28), wave])[None]
    power = powers(pictures, Bands((2, 28, 28)))
    assert len(power) == 30 and power.argmax() == 15 + ring
    assert np.delete(power, 15 + ring).max() < 1e-9 * power.max()


def test_of_large_latents_a_part_tells_the_power_of_every_band():
    """White noise of deviation 2 in 65,536 elements: each band within 5 standard errors of 4."""
    bands = Bands((4, 128, 128))
    assert len(bands.kept) <= MAX_COEFFICIENTS and len(bands.parts) == 64
    pictures = 2 * torch.randn(8, 4, 128, 128, generator=torch.Generator().manual_seed(1))
    counts = np.array([8 * (part.stop - part.start) for part in bands.parts])
    assert (np.abs(powers(pictures, bands) / 4 - 1) < 5 * np.sqrt(2 / counts)).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 7, 6), (16, 3, 30, 52), (4, 128, 128)])
def test_a_band_keeps_the_first_of_its_coefficients_in_a_random_order(monkeypatch, shape):
    bands, count = Bands(shape), int(np.prod(shape))
    monkeypatch.setattr("art_nodes.core.spectrum.MAX_COEFFICIENTS", count)
    every = Bands(shape)
    assert sorted(every.kept.tolist()) == list(range(count))
    place = torch.randperm(count, generator=torch.Generator().manual_seed(0)).argsort()
    for part, whole in zip(bands.parts, every.parts, strict=True):
        assert (place[every.kept[whole]].diff() > 0).all()
        assert torch.equal(bands.kept[part], every.kept[whole][:part.stop - part.start])


def test_matrices_stay_small(monkeypatch):
    """64 bands of SDXL's latents at 64 nodes take 2 MB; so many nodes that they would not fit leave them out."""
    assert 64 * 65**2 * 8 < MAX_BYTES / 25
    assert bands_of((4, 128, 128), 64) is not None and bands_of((4, 128, 128), 1024) is None
    monkeypatch.setattr("art_nodes.core.spectrum.MAX_BYTES", 10_000)
    bank = record_orbits(targets.image_gaussian(8), targets.noise((2, 1, 8, 8), HIGH), HIGH, LOW, nodes=50)
    assert bank.spectrum is None and bank.detail is not None
    with pytest.raises(ValueError, match="with 128 nodes or fewer"):
        SamplerError(bank, "spectrum:euler")


def test_the_bands_of_a_bank_add_up_to_its_gram(bank):
    """Weighed by their share of the coefficients."""
    whole = np.einsum("f,fij->ij", bank.spectrum.share, bank.spectrum.gram)
    np.testing.assert_allclose(whole, bank.gram.mean(0), rtol=1e-4, atol=1e-7 * bank.gram.max())


def test_powers_are_those_of_the_matrices(bank):
    weights = np.random.default_rng(0).normal(size=(5, len(bank.sigmas) + 1))
    exactly = np.einsum("en,fnm,em->ef", weights, bank.spectrum.gram, weights)
    np.testing.assert_allclose(bank.spectrum.powers(weights), exactly, rtol=1e-5)


def test_grids_are_ordered_by_how_far_their_spectrum_is_off(bank):
    """With Euler, on the Gaussian field, against pictures sampled from noise that was not recorded.

    Negative control: the end error, which low frequencies rule, orders them worse.
    """
    model, noise, bands = targets.image_gaussian(64), targets.noise((16, 1, 64, 64), HIGH, seed=5), Bands((1, 64, 64))
    rng = np.random.default_rng(0)
    grids = [np.append(HIGH * np.exp(-np.append(0, np.cumsum(rng.dirichlet(np.full(5, 3.0)))) *
                                     np.log(HIGH / rng.uniform(0.03, 1.0))), 0.0) for _ in range(60)]
    truth = powers(euler(model, noise, torch.from_numpy(np.append(np.geomspace(HIGH, 1e-3, 400), 0.0))), bands)
    true = [distance(powers(euler(model, noise, torch.from_numpy(grid)), bands), truth, bands.share) for grid in grids]
    rank = {kind: spearmanr(SamplerError(bank, f"{kind}:euler")(np.stack(grids)), true).statistic
            for kind in ("spectrum", "end")}
    assert rank["spectrum"] > 0.9 > rank["end"] + 0.1


def test_sharper_references_make_sharper_pictures(bank):
    """Aiming at twice the power above 12 cycles gives samples with more of it than without an aim; control: at half."""
    noise, model = targets.noise((16, 1, 64, 64), HIGH, seed=6), targets.image_gaussian(64)
    ends = torch.from_numpy(bank.ends).reshape(-1, 1, 64, 64)
    waves = torch.fft.fftfreq(64) * 64
    high = (waves[:, None] ** 2 + waves**2).sqrt() > 12

    def sharpness(grid):
        pictures = heun(model, noise, torch.from_numpy(grid))
        return float(torch.fft.fft2(pictures).abs().square()[..., high].mean())

    found = []
    for gain in (0.5, None, 2.0):
        change = torch.where(high, (gain or 1.0) ** 0.5, 1.0)
        aimed = bank if gain is None else bank.aiming_at(torch.fft.ifft2(torch.fft.fft2(ends) * change).real)
        found.append(sharpness(best_grid(SamplerError(aimed, "spectrum:heun"), 6)))
    assert found[0] < 0.9 * found[1] and found[1] < 0.9 * found[2]


def test_aiming_at_the_orbits_own_ends_changes_nothing(bank):
    aimed = bank.aiming_at(torch.from_numpy(bank.ends).reshape(-1, 1, 64, 64))
    grid = np.append(np.geomspace(HIGH, 0.1, 8), 0.0)[None]
    own, same = (SamplerError(which, "spectrum:heun")(grid)[0] for which in (bank, aimed))
    assert same == pytest.approx(own, rel=0.03)


def test_what_steps_are_charged_adds_up_to_the_square_of_the_objective(bank):
    """As ART-RL is paid, step by step."""
    error, grid = SamplerError(bank, "spectrum:dpmpp_2m"), np.append(np.geomspace(HIGH, 0.05, 9), 0.0)
    runs, ledger = error.replay(1, 9), error.ledger(bank.gram[:1])
    charged = [ledger.charge(runs.step(np.array([there])), np.array([here]), np.array([there]))[0]
               for here, there in zip(grid[:-1], grid[1:], strict=True)]
    assert sum(charged) == pytest.approx(error(grid[None])[0] ** 2, rel=1e-9) and np.count_nonzero(charged) > 5


def test_art_rl_learns_a_clock_for_it(bank):
    config = TrainConfig(objective="spectrum:euler", clock_nodes=8, iterations=100, seed=0)
    assert learn_schedule(bank, config).provenance["cost"] < 1.1


def test_banks_keep_their_spectrum_when_merged_and_saved(tmp_path):
    fine, coarse = (record_orbits(targets.image_gaussian(8), targets.noise((count, 1, 8, 8), HIGH), HIGH, LOW,
                                  nodes=nodes) for count, nodes in ((2, 64), (4, 48)))
    both = OrbitBank.merge([fine.aiming_at(torch.ones(1, 1, 8, 8)), coarse])
    end = lambda which: which.spectrum.gram[:, -1, -1]  # noqa: E731
    np.testing.assert_allclose(end(both), (2 * end(fine) + 4 * end(coarse)) / 6, rtol=1e-9)
    both.save(tmp_path / "bank.safetensors")
    again = OrbitBank.load(tmp_path / "bank.safetensors").spectrum
    np.testing.assert_array_equal(again.gram, both.spectrum.gram)
    np.testing.assert_array_equal(again.aim, both.spectrum.aim)
    assert again.shape == (1, 8, 8) and again.share.sum() == pytest.approx(1)


def test_samples_that_are_no_pictures_have_no_spectrum():
    flat = record_orbits(targets.gaussian(), targets.noise((4, 3), HIGH), HIGH, LOW, nodes=8)
    assert flat.spectrum is None
    with pytest.raises(ValueError, match="spectrum:heun needs orbits of pictures.*take end:heun"):
        SamplerError(flat, "spectrum:heun")
    with pytest.raises(ValueError, match="pictures can be aimed at only with orbits of pictures"):
        flat.aiming_at(torch.ones(1, 3))


def test_blank_pictures_are_refused(bank):
    with pytest.raises(ValueError, match="must hold something; got an empty or broken latent; encode pictures"):
        bank.aiming_at(torch.zeros(2, 1, 64, 64))


@pytest.mark.parametrize("pictures", [torch.ones(2, 1, 64, 32), torch.ones(2, 3, 64, 64), torch.ones(0, 1, 64, 64)])
def test_pictures_of_another_shape_are_refused(bank, pictures):
    with pytest.raises(ValueError, match=r"must have the shape of the recorded ones, \(1, 64, 64\).*resize or crop"):
        bank.aiming_at(pictures)


@pytest.mark.parametrize("gram", [np.zeros((3, 3)), -np.eye(3)])
def test_a_band_with_nothing_but_rounding_has_a_root_of_nothing(gram):
    """Which is taken off it: where a band holds less than that, its matrix is negative."""
    np.testing.assert_array_equal(root_of(gram), np.zeros((3, 1)))


@pytest.mark.parametrize("top", [14.6, 4519.0])
def test_a_faint_band_keeps_its_root_beside_a_start_from_thousands(top):
    """A ten-thousandth of the power of a picture in all."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([top * rng.standard_normal((1, 64)), 1e-2 * rng.standard_normal((3, 64))])
    gram = rows @ rows.T / 64
    root = root_of(gram)
    np.testing.assert_allclose((root @ root.T)[1:, 1:], gram[1:, 1:], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose((root @ root.T)[0], gram[0], rtol=1e-6, atol=1e-6)


def test_what_is_wanted_of_a_band_is_never_nothing(bank):
    """Of references without fine structure: a millionth of the mean power, so that logarithms stay finite."""
    spectrum, end = bank.aiming_at(torch.ones(1, 1, 64, 64)).spectrum, np.eye(len(bank.sigmas) + 1)[-1]
    wanted = spectrum.wanted(end)
    assert wanted.min() == pytest.approx(1e-6 * spectrum.share @ spectrum.powers(end[None])[0]) and wanted[0] > 1


def test_powers_of_half_precision_are_those_of_single():
    pictures = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    np.testing.assert_array_equal(Bands((1, 8, 8)).powers(pictures), Bands((1, 8, 8)).powers(pictures.float()))


def test_broken_pictures_are_refused(bank):
    with pytest.raises(ValueError, match="must hold something; got an empty or broken latent"):
        bank.aiming_at(torch.full((2, 1, 64, 64), torch.nan))
