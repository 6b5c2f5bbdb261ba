"""ART Train with objectives of the spectrum: what the host's sampler then makes, and what is refused."""

import numpy as np
import pytest
import torch

from art_nodes.core import optimal_schedule, with_grids
from art_nodes.core.spectrum import Bands
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
STEPS, BATCH = 5, 20


@pytest.fixture(scope="module")
def inputs(comfy):
    """Model, positive, negative and a latent of two pictures of each class, SDXL's dress."""
    from art_nodes.host.demo_model import demo_outputs

    return demo_outputs(workflows.SDXL, "all classes in turn", BATCH)[:4]


@pytest.fixture(scope="module")
def bank(inputs):
    from art_nodes.host.recording import record

    with torch.inference_mode():
        return record(*inputs, cfg=1.0, seed=3, orbits=BATCH, nodes=48)


def pictures(inputs, sigmas, seed=500, sampler="dpmpp_2m"):
    """Sampled by the host from noise that was not recorded."""
    from art_nodes.host.comparing_samplers import sample
    from art_nodes.host.recording import gaussian

    latent, sigmas = inputs[3]["samples"], torch.tensor(np.array(sigmas)).float()
    with torch.inference_mode():
        return sample(*inputs[:3], 1.0, gaussian(latent, seed), latent, sampler, sigmas, 0,
                      lambda sigma: None).cpu().clone()


@pytest.fixture(scope="module")
def fine(inputs, bank):
    """What the model itself says to the noise of `pictures`."""
    return pictures(inputs, np.append(np.geomspace(bank.sigma_max, bank.sigma_min, 40), 0.0))


def powers(samples):
    bands = Bands(tuple(samples.shape[1:]))
    return bands.powers(samples).mean(axis=0), bands.share


def test_the_hosts_sampler_keeps_the_spectrum(inputs, bank, fine):
    """DPM++ 2M in 5 steps is less than half as far from the fine solution's spectrum as with the grid that is nearest
    to its pictures (control), on unseen noise."""
    wanted, share = powers(fine)
    off = {}
    for kind in ("spectrum", "end"):
        grid = with_grids(optimal_schedule(bank), bank, f"{kind}:dpmpp_2m", (STEPS,)).grids[STEPS]
        off[kind] = float(np.sqrt(share @ np.log(powers(pictures(inputs, grid))[0] / wanted) ** 2))
    assert off["spectrum"] < 0.5 * off["end"]


def quick(training, inputs, name="s", **settings):
    """A training run of seconds, under inference mode as in the host."""
    settings = {**schedules.QUICK, "cfg": 1.0, "seed": 3, "steps": STEPS, "orbits": 10, "nodes": 32,
                "objective": "spectrum:dpmpp_2m", **settings}
    with torch.inference_mode():
        return training.train(*inputs, name=name, **settings)


def test_sharper_references_give_sharper_pictures(training, inputs, fine):
    """References are latents as the host gives them out; those with twice the fine structure make more of it."""
    rough = fine + 0.3 * torch.randn(fine.shape, generator=torch.Generator().manual_seed(0))
    plain = quick(training, inputs)
    same, sharp = (quick(training, inputs, name, references={"samples": part})
                   for name, part in (("same", fine), ("sharp", rough)))
    fineness = [powers(pictures(inputs, run.sigmas))[0][-3:].mean() for run in (plain, same, sharp)]
    assert 0.8 < fineness[1] / fineness[0] < 1.25 and fineness[2] > 1.1 * fineness[1]
    assert sharp.schedule.provenance["references"] == BATCH and "references" not in plain.schedule.provenance
    assert "aiming at that of 20 references" in sharp.report and "Distance in power per frequency" in plain.report


def test_references_are_taken_in_the_models_units(training, inputs, fine, monkeypatch):
    """A latent format that scales changes no grid, where the references are scaled as it gives them out."""
    import comfy.latent_formats

    plain = quick(training, inputs, "plain", references={"samples": fine})
    scaled = comfy.latent_formats.SDXL()
    scaled.latent_channels = 1
    monkeypatch.setattr(inputs[0].model, "latent_format", scaled)
    other = quick(training, inputs, "scaled", references={"samples": scaled.process_out(fine)})
    np.testing.assert_allclose(other.sigmas, plain.sigmas, rtol=1e-3)


def test_a_sampler_that_adds_noise_has_the_grids_of_the_one_it_steps_like(training, inputs):
    noisy, plain = (quick(training, inputs, f"s_{sampler}", objective=f"spectrum:{sampler}").schedule
                    for sampler in ("dpmpp_2m_sde", "dpmpp_2m"))
    assert noisy.provenance["objective"] == "spectrum:dpmpp_2m_sde" and noisy.grids.keys() == plain.grids.keys()
    for steps, grid in plain.grids.items():
        np.testing.assert_array_equal(noisy.grids[steps], grid)


def test_a_trial_aims_at_the_references_too(inputs, bank):
    """Deviations from them, not from the model's own pictures, are what it counts; control: another aim."""
    from art_nodes.host.trials import HostRuns

    ends = pictures(inputs, np.append(np.geomspace(14.6, 0.03, 40), 0.0), seed=3)
    grid = np.append(np.geomspace(14.6, 0.03, 30), 0.0)
    with torch.inference_mode():
        found = []
        for aim in (bank, bank.aiming_at(ends), bank.aiming_at(1.5 * ends)):
            runs = HostRuns(*inputs, aim, cfg=1.0, seed=3, objective="spectrum:dpmpp_2m")
            found.append(float(np.sqrt(np.square(runs.pool(runs.errors(grid, 0))).mean())))
    assert found[0] < 0.03 and found[1] < 0.03
    assert found[2] == pytest.approx(2 * np.log(1.5), rel=0.05)


@pytest.mark.parametrize("frames, says", [(6, "encode the pictures one at a time"), (1, "resize or crop")])
def test_pictures_that_came_as_frames_of_a_video_are_told_from_wrong_sizes(training, inputs, monkeypatch, frames, says):
    monkeypatch.setattr(training, "empty_like", lambda model, latent: torch.zeros(1, 16, 1, 8, 8))
    references = {"samples": torch.ones(1, 16, frames, 8, 8 if frames > 1 else 10)}
    with pytest.raises(ValueError, match=f"of the size of latent_image, .*{says}"):
        training.check_pictures(inputs[0], inputs[3], 64, "spectrum:euler", references)


@pytest.mark.parametrize("settings, match", [
    ({"references": {"samples": torch.ones(1, 1, 28, 28)}, "objective": "end:euler"},
     "references are what the objectives spectrum:<sampler> aim at; got 'end:euler'"),
    ({"references": {"samples": torch.ones(1, 1, 28, 30)}},
     r"must be latents of the size of latent_image, \(1, 28, 28\); got \(1, 28, 30\); resize or crop"),
    ({"references": {"samples": torch.ones(1, 4, 28, 28)}}, "must be latents of the size of latent_image"),
    ({"references": {"samples": torch.zeros(1, 1, 28, 28)}}, "must hold something"),
    ({"references": {"samples": torch.full((1, 1, 28, 28), torch.nan)}}, "must be finite; got NaN or infinity"),
    ({"nodes": 1024}, "nodes must be fewer for spectrum:dpmpp_2m with latents of 1 channels; got 1024; 64 is a good"),
])
def test_what_cannot_be_aimed_at_is_refused_before_the_model_is_called(training, inputs, monkeypatch, settings, match):
    monkeypatch.setattr(training, "record", lambda *_given, **_named: pytest.fail("the model was called"))
    with pytest.raises(ValueError, match=match):
        quick(training, inputs, **settings)


def test_latents_that_are_no_pictures_are_refused_before_the_model_is_called(training, inputs, monkeypatch):
    monkeypatch.setattr(training, "record", lambda *_given, **_named: pytest.fail("the model was called"))
    monkeypatch.setattr(training, "empty_like", lambda *_given: torch.zeros(2, 8, 100))
    for objective in ("spectrum:dpmpp_2m", "detail:dpmpp_2m"):
        with pytest.raises(ValueError, match=f"objective {objective} needs latents of pictures.*choose end:dpmpp_2m"):
            quick(training, inputs, objective=objective)
