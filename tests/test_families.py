"""Choosing a family from plain facts; no host."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_nodes.host.families import ADDED, BY_NAME, FAMILIES, SHARE, ModelFacts, cautions, choose, schedule_meaning
from tests.host import schedules

ALL = [family.name for family in FAMILIES]
TABLE = ModelFacts("eps", "ModelSamplingDiscrete", 14.6146, 0.0292, table=1000)
FLOW = ModelFacts("flow", "ModelSamplingDiscreteFlow", 1.0, 0.003, shift=3.0)
MODELS = {
    "sdxl": dataclasses.replace(TABLE, model="SDXL", latent_format="SDXL"),
    "sdxl-refiner": dataclasses.replace(TABLE, model="SDXLRefiner", latent_format="SDXL"),
    "sd15": dataclasses.replace(TABLE, model="BaseModel", latent_format="SD15"),
    "svd": ModelFacts("v", "ModelSamplingContinuousEDM", 700.0, 0.002, model="SVD_img2vid", latent_format="SD15"),
    "eps": TABLE,
    "flow": dataclasses.replace(FLOW, shift=8.0, model="WAN21", latent_format="Wan21"),
    "sd3": dataclasses.replace(FLOW, model="SD3", latent_format="SD3"),
    "flux": ModelFacts("flow", "ModelSamplingFlux", 1.0, 0.000316, shift=1.15, model="Flux", latent_format="Flux"),
    "demo-edm": ModelFacts("edm", "ModelSamplingContinuousEDM", 80.0, 0.002, model="DemoModel"),
    "demo-sdxl": dataclasses.replace(TABLE, model="DemoModel"),
}


def test_every_family_has_a_model_here():
    assert set(MODELS) == set(ALL)


@pytest.mark.parametrize("name", MODELS)
def test_each_model_gets_its_own_family(name):
    choice = choose(MODELS[name], ALL)
    assert (choice.family.name, choice.taken) == (name, name)
    assert BY_NAME[name].title in choice.reason and "nearest" not in choice.reason
    assert f"sigma {MODELS[name].sigma_max:g}" in choice.reason


@pytest.mark.parametrize("facts, family", [
    (dataclasses.replace(MODELS["sdxl"], prediction="v", sigma_max=4518.8, zero_snr=True), "sdxl"),
    (dataclasses.replace(MODELS["sdxl"], sigma_min=0.2, table=50), "sdxl"),
    (dataclasses.replace(MODELS["sdxl"], model="HunyuanDiT", sigma_max=30.0), "eps"),
    (dataclasses.replace(MODELS["sdxl"], sigma_max=14.7), "sdxl"),
    (dataclasses.replace(MODELS["sdxl"], sigma_max=14.9), "eps"),
    (ModelFacts("edm", "ModelSamplingContinuousEDM", 80.0, 0.002, latent_format="SDXL_Playground_2_5"), "svd"),
    (ModelFacts("cosmos", "ModelSamplingCosmosRFlow", 80.0, 0.002), "svd"),
    (ModelFacts("eps", "StableCascadeSampling", 100.0, 0.01), "eps"),
    (dataclasses.replace(FLOW, latent_format="SDXL"), "flow"),
    (dataclasses.replace(FLOW, latent_format="Flux", model="Lumina2", shift=6.0), "flow"),
    (dataclasses.replace(FLOW, latent_format="Flux", model="Flux", shift=1.0), "flux"),
    (dataclasses.replace(FLOW, latent_format="Flux", model="HiDream", shift=1.0), "flow"),
    (ModelFacts("flow", "ModelSamplingFlux", 1.0, 0.0003), "flux"),
    (ModelFacts("flow", "ModelSamplingFlux", 1.0, 0.0003, latent_format="Wan21"), "flow"),
])
def test_models_that_resemble_another(facts, family):
    assert choose(facts, ALL).taken == family


@pytest.mark.parametrize("name, available, taken", [
    ("sdxl", ["sd15", "flow", "demo-sdxl"], "sd15"),
    ("sdxl", ["sd15", "eps"], "eps"),
    ("eps", ["sd15", "sdxl"], "sdxl"),
    ("sdxl-refiner", ["sd15", "sdxl", "eps"], "sdxl"),
    ("sd3", ["flux", "eps"], "flux"),
    ("flow", ["flux", "sd3"], "sd3"),
])
def test_the_nearest_family_stands_in_and_it_is_said(name, available, taken):
    choice = choose(MODELS[name], available)
    assert (choice.family.name, choice.taken) == (name, taken)
    assert f"there is no schedule for {name}, and {taken} is the nearest" in choice.reason


@pytest.mark.parametrize("name", MODELS)
def test_no_schedule_near_says_what_to_do(name):
    other = SHARE if MODELS[name].meaning == ADDED else ADDED
    wrong = [family.name for family in FAMILIES if family.meaning == other]
    with pytest.raises(ValueError, match=f"family, {name} .*learn one on this model with ART Train"):
        choose(MODELS[name], wrong)


@pytest.mark.parametrize("name", MODELS)
def test_a_recording_remembers_its_family(name):
    """What describe_model writes into a file is enough; a made-up class name is not."""
    facts, kinds = MODELS[name], {"eps": "EPS", "v": "V_PREDICTION", "edm": "EDM", "flow": "CONST"}
    known = {"model_sampling": f"{facts.levels} + {kinds[facts.prediction]}", "sigma_max": facts.sigma_max,
             "sigma_min": facts.sigma_min, "model": facts.model, "latent_format": facts.latent_format}
    assert choose(ModelFacts.of_record(known), ALL).family.name == name
    zero_snr = ModelFacts.of_record({**known, "sigma_max": 4518.8})
    assert zero_snr.zero_snr == facts.levels.startswith("ModelSamplingDiscrete")
    with pytest.raises(ValueError, match="of another pack"):
        choose(ModelFacts.of_record({**known, "model_sampling": "TheirSampling"}), ALL)


@pytest.mark.parametrize("shift, family", [(1.0, "flux"), (3.0, "flow")])
def test_a_recording_of_schnell_is_known_by_its_shift(shift, family):
    known = {"model_sampling": "ModelSamplingDiscreteFlow + CONST", "sigma_max": 1.0, "sigma_min": 0.001,
             "model": "Flux", "latent_format": "Flux", "shift": shift}
    assert choose(ModelFacts.of_record(known), ALL).taken == family


@pytest.mark.parametrize("table, few", [(199, True), (200, False), (None, False)])
def test_tables_of_few_levels(table, few):
    assert dataclasses.replace(TABLE, table=table).few_levels is few


def test_a_recording_of_a_wide_range_need_not_reach_zero_snr():
    known = {"model_sampling": "ModelSamplingDiscrete + EPS", "sigma_max": 200.0, "sigma_min": 0.03,
             "model": "HunyuanDiT", "latent_format": "SDXL"}
    assert choose(ModelFacts.of_record(known), ALL).taken == "eps"


@pytest.mark.parametrize("name, line", [
    ("flux", "it is a rectified flow, sigma 1 to 0.000316, shift 1.15, latents of Flux"),
    ("svd", "it predicts v, sigma 700 to 0.002, latents of SD15"),
    ("eps", "it predicts noise, sigma 14.6146 to 0.0292"),
])
def test_a_choice_tells_what_it_was_made_from(name, line):
    assert choose(MODELS[name], ALL).reason.endswith(f"): {line}")


def test_stand_ins_mean_the_same_by_sigma():
    for family in FAMILIES:
        assert all(BY_NAME[near].meaning == family.meaning for near in family.nearest)
        assert family.name not in family.nearest
        assert not any(near.startswith("demo") for near in family.nearest), "garments stand for no picture model"


@pytest.mark.parametrize("change, match", [
    ({"prediction": "img_to_img"}, "has none; use its own scheduler"),
    ({"prediction": "unknown", "levels": "TheirSampling"}, "TheirSampling, of another pack; learn"),
    ({"sigma_max": float("inf")}, "range of sigma.* connect the model from before"),
    ({"sigma_max": float("nan")}, "range of sigma"),
    ({"sigma_min": 0.0}, "range of sigma"),
    ({"sigma_min": 20.0}, "range of sigma"),
])
def test_models_that_no_schedule_can_serve(change, match):
    with pytest.raises(ValueError, match=match):
        choose(dataclasses.replace(TABLE, **change), ALL)


@given(st.sampled_from(sorted(MODELS)), st.sets(st.sampled_from(ALL)))
def test_a_choice_is_available_and_means_the_same(name, available):
    try:
        choice = choose(MODELS[name], available)
    except ValueError:
        assert not available & {name, *BY_NAME[name].nearest}
        return
    assert choice.taken in available and BY_NAME[choice.taken].meaning == MODELS[name].meaning
    assert choice.taken == name or name not in available


@pytest.mark.parametrize("top, provenance, meaning", [
    (14.6, {}, ADDED), (1.0, {}, SHARE), (1.0, {"family": "sdxl"}, ADDED), (0.9, {"family": "nobody"}, SHARE),
    (1.0005, {}, SHARE), (1.01, {}, ADDED),
    (1.0, {"model_sampling": "ModelSamplingDiscrete + EPS"}, ADDED), (80.0, {"model_sampling": 3}, ADDED),
    (80.0, {"model_sampling": "ModelSamplingFlux + CONST", "family": "sdxl"}, SHARE),
])
def test_what_sigma_means_in_a_schedule(top, provenance, meaning):
    assert schedule_meaning(schedules.schedule(top=top, **provenance)) == meaning


SDXL_FILE, FLUX_FILE = schedules.schedule(top=14.6146, family="sdxl"), schedules.schedule(top=1.0, family="flux")


@pytest.mark.parametrize("facts, schedule, match", [
    (MODELS["sdxl"], FLUX_FILE, "share of noise in this schedule and the added noise in this model: .* wrong"),
    (MODELS["flux"], SDXL_FILE, "added noise in this schedule and the share of noise"),
    (dataclasses.replace(MODELS["sdxl"], sigma_max=4518.8, zero_snr=True), SDXL_FILE, "4518.8.*starts at 14.6146"),
    (dataclasses.replace(MODELS["sdxl"], table=50), SDXL_FILE, "distilled to 50 noise levels"),
    (dataclasses.replace(MODELS["sdxl"], prediction="lcm", table=None), SDXL_FILE, "distilled to few noise levels"),
    (dataclasses.replace(FLOW, shift=1.0, model="Flux", latent_format="Flux"), FLUX_FILE, "Schnell"),
])
def test_what_may_go_wrong_is_said(facts, schedule, match):
    [caution] = cautions(facts, schedule)
    assert re.search(match, caution)


def test_what_was_learned_on_such_a_model_is_no_cause_for_caution():
    zero_snr = dataclasses.replace(MODELS["sdxl"], sigma_max=4518.8, zero_snr=True)
    for top in (4518.8, 4200.0):  # tables differ a little in where they end
        assert not cautions(zero_snr, schedules.schedule(top=top, family="sdxl"))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_family_needs_no_caution(name):
    assert cautions(MODELS[name], schedules.schedule(top=MODELS[name].sigma_max, family=name)) == []


def test_a_model_without_a_shift_and_with_flux_latents_need_not_be_schnell():
    hidream = dataclasses.replace(FLOW, shift=1.0, model="HiDream", latent_format="Flux")
    assert cautions(hidream, schedules.schedule(top=1.0, family="flow")) == []
