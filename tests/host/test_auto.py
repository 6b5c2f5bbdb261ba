"""auto in ART Sigmas: what the real host's classes tell, and what the node says."""

import dataclasses
import io
import logging
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from art_nodes.core import Schedule
from art_nodes.host.families import FAMILIES
from benchmarks.comfy.server import HostError
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
# (ModelType of the host, settings) -> family and facts by the model_sampling alone.
BY_SAMPLING = {
    "EPS": ("eps", "eps"), "V_PREDICTION": ("v", "eps"), "V_PREDICTION_EDM": ("v", "svd"), "EDM": ("edm", "svd"),
    "FLOW": ("flow", "flow"), "FLUX": ("flow", "flux"), "STABLE_CASCADE": ("eps", "eps"),
    "V_PREDICTION_CONTINUOUS": ("v", "svd"), "FLOW_COSMOS": ("cosmos", "svd"),
}
NEWER = {"V_PREDICTION_DDPM": ("v", "eps"), "FLOW_AV": ("flow", "flow")}  # of hosts that have them


@pytest.fixture
def bundle(library, tmp_path):
    """Puts made-up bundled schedules into the library: bundle(family=top)."""
    def put(**tops):
        for family, top in tops.items():
            provenance = {"family": family, "objective": "euler", "learned_on": "photo patches",
                          "carried_over": "yes, by data scale", "meant_for": f"{family} from sigma {top:g}"}
            schedules.schedule(top=top, **provenance).save(tmp_path / "bundled" / f"{family}.safetensors")

    return put


@pytest.fixture(scope="module")
def models(comfy):
    from art_nodes.host.demo_model import build_model

    return {dress: build_model(dress) for dress in workflows.DRESSES}


def disguised(model, sampling=None, name="SDXL", latents=None):
    """A MODEL that looks like another one to whoever reads it."""
    objects = {"model_sampling": sampling or model.get_model_object("model_sampling"),
               "latent_format": latents or model.get_model_object("latent_format")}
    return types.SimpleNamespace(model=type(name, (), {})(), get_model_object=objects.__getitem__,
                                 model_dtype=lambda: torch.float16)


def sdxl(comfy, sampling=None):
    import comfy.model_base

    plain = types.SimpleNamespace(sampling_settings={})
    made = comfy.model_base.model_sampling(plain, comfy.model_base.ModelType.EPS)
    return disguised(None, sampling or made, latents=comfy.latent_formats.SDXL())


def test_the_hosts_own_kinds(comfy):
    import comfy.model_base as base

    from art_nodes.host.families import family_of
    from art_nodes.host.families_reading import sampling_facts

    names = {kind.name for kind in base.ModelType}
    assert set(BY_SAMPLING) <= names
    for kind, expected in (BY_SAMPLING | {kind: NEWER[kind] for kind in NEWER if kind in names}).items():
        sampling = base.model_sampling(types.SimpleNamespace(sampling_settings={}), base.ModelType[kind])
        facts = sampling_facts(sampling)
        assert (facts.prediction, family_of(facts).name) == expected, kind
        assert facts.sigma_max == float(sampling.sigma_max) and not facts.few_levels and not facts.zero_snr
        assert facts.table == (1000 if type(sampling).__bases__[0].__name__ == "ModelSamplingDiscrete" else None)
        assert (facts.model, facts.latent_format) == (None, None)


@pytest.mark.parametrize("kind, bases, expected", [
    ("V_PREDICTION_DDPM", "ModelSamplingDiscrete", NEWER["V_PREDICTION_DDPM"]),
    ("CONST", "ModelSamplingDiscreteFlow", NEWER["FLOW_AV"]),
])
def test_kinds_of_newer_hosts_by_their_names(comfy, kind, bases, expected):
    """CogVideoX's prediction is no class of this host's; the levels of video with sound derive from a flow's."""
    import comfy.model_sampling as host

    from art_nodes.host.families import family_of
    from art_nodes.host.families_reading import sampling_facts

    levels = type("ModelSamplingNew", (getattr(host, bases),), {})
    sampling = type("ModelSampling", (levels, type(kind, (), {})), {})(types.SimpleNamespace(sampling_settings={}))
    facts = sampling_facts(sampling)
    assert (facts.prediction, family_of(facts).name) == expected


def test_every_kind_of_the_host_is_known(comfy):
    import comfy.model_base as base

    assert {kind.name for kind in base.ModelType} - {*BY_SAMPLING, *NEWER} <= {"IMG_TO_IMG", "IMG_TO_IMG_FLOW"}
    from art_nodes.host.families import family_of
    from art_nodes.host.families_reading import sampling_facts

    sampling = base.model_sampling(types.SimpleNamespace(sampling_settings={}), base.ModelType.IMG_TO_IMG)
    with pytest.raises(ValueError, match="turns a picture into another"):
        family_of(sampling_facts(sampling))


def test_a_newer_hosts_model_that_turns_pictures_into_others_has_no_family(comfy):
    """Its class derives from a flow's, whose schedules would misplace its steps."""
    import comfy.model_sampling as host

    from art_nodes.host.families import family_of
    from art_nodes.host.families_reading import sampling_facts

    kind = type("IMG_TO_IMG_VELOCITY", (host.CONST,), {})
    levels = type("ModelSampling", (host.ModelSamplingDiscreteFlow, kind), {})
    sampling = levels(types.SimpleNamespace(sampling_settings={}))
    with pytest.raises(ValueError, match="turns a picture into another"):
        family_of(sampling_facts(sampling))


@pytest.mark.parametrize("settings, expected", [
    (("eps", True), {"zero_snr": True, "few_levels": False, "prediction": "eps"}),
    (("v_prediction", True), {"zero_snr": True, "prediction": "v"}),
    (("lcm", False), {"table": 50, "few_levels": True, "prediction": "lcm"}),
    (("x0", False), {"prediction": "x0", "zero_snr": False}),
])
def test_the_nodes_that_change_a_table(models, settings, expected):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    from art_nodes.host.families_reading import model_facts

    facts = model_facts(ModelSamplingDiscrete().patch(models[workflows.SDXL], *settings)[0])
    assert {name: getattr(facts, name) for name in expected} == expected
    assert facts.model == "DemoModel" and facts.latent_format == "DemoLatentFormat"


def test_the_nodes_that_shift(models):
    from comfy_extras.nodes_model_advanced import ModelSamplingFlux, ModelSamplingSD3

    from art_nodes.host.families_reading import model_facts

    sd3 = model_facts(ModelSamplingSD3().patch(models[workflows.SDXL], 5.0)[0])
    flux = model_facts(ModelSamplingFlux().patch(models[workflows.SDXL], 1.15, 0.5, 1024, 1024)[0])
    assert (sd3.prediction, sd3.shift, sd3.levels) == ("flow", 5.0, "ModelSamplingDiscreteFlow")
    assert flux.shift == pytest.approx(1.15) and flux.levels == "ModelSamplingFlux"


def test_a_table_too_short_to_record_on_is_few(comfy):
    import comfy.model_base as base

    from art_nodes.host.families_reading import sampling_facts

    settings = types.SimpleNamespace(sampling_settings={"timesteps": 4})
    facts = sampling_facts(base.model_sampling(settings, base.ModelType.EPS))
    assert facts.table == 4 and facts.few_levels


def test_a_wide_range_is_zero_snr_in_a_table_only(comfy):
    import comfy.model_base as base

    from art_nodes.host.families_reading import sampling_facts

    settings = types.SimpleNamespace(sampling_settings={"sigma_min": 0.002, "sigma_max": 2000.0})
    facts = sampling_facts(base.model_sampling(settings, base.ModelType.EDM))
    assert facts.sigma_max == pytest.approx(2000) and not facts.zero_snr


def test_auto_takes_the_family_and_says_so(comfy, bundle, caplog):
    from art_nodes.host.sigmas import read_sigmas

    bundle(sdxl=14.6146, flux=1.0, sd15=14.6)
    with caplog.at_level(logging.WARNING):
        reading = read_sigmas("auto", 8, 1.0, model=sdxl(comfy))
    assert not caplog.records and reading.warnings == ()
    assert reading.name == "sdxl" and torch.equal(reading.sigmas, read_sigmas("sdxl", 8, 1.0, model=sdxl(comfy)).sigmas)
    for words in ("auto took sdxl: the model is of the family sdxl (SDXL)", "it predicts noise, sigma 14.6146",
                  "Learned on: photo patches.", "Carried over: yes, by data scale.", "Meant for: sdxl from sigma",
                  "The paper's clock, made for no sampler and no number of steps."):
        assert words in reading.text
    assert "Warning" not in reading.text and reading.record["name"] == "sdxl"
    assert reading.record["sigmas"] == reading.sigmas.tolist()


def test_auto_without_a_file_falls_back_or_says_what_to_do(comfy, bundle):
    from art_nodes.host.sigmas import read_sigmas

    with pytest.raises(ValueError, match="family, sdxl .* there is none, nor .*eps, sd15.* ART Train"):
        read_sigmas("auto", 8, 1.0, model=sdxl(comfy))
    bundle(flux=1.0)
    with pytest.raises(ValueError, match="family, sdxl"):
        read_sigmas("auto", 8, 1.0, model=sdxl(comfy))
    bundle(sd15=14.6146)
    reading = read_sigmas("auto", 8, 1.0, model=sdxl(comfy))
    assert "there is no schedule for sdxl, and sd15 is the nearest" in reading.text


@pytest.mark.parametrize("kind, sampler", [("dpmpp_2m", "dpmpp_2m"), ("clock", "euler")])
def test_auto_for_another_sampler_takes_the_one_beside_it_or_says_that_there_is_none(comfy, bundle, tmp_path, kind,
                                                                                    sampler):
    from art_nodes.host.sigmas import fingerprint, read_sigmas

    bundle(sdxl=14.6146, flux=1.0)
    reading = read_sigmas(f"auto-{kind}", 8, 1.0, model=sdxl(comfy))
    assert reading.name == "sdxl" and f"there is no sdxl-{kind}, and sdxl stands in" in reading.text
    before = fingerprint(f"auto-{kind}"), fingerprint("auto")
    path = tmp_path / "bundled" / f"sdxl-{kind}.safetensors"
    schedules.schedule(top=14.6146, rate=2.0, objective=f"end:{sampler}", family="sdxl").save(path)
    reading = read_sigmas(f"auto-{kind}", 8, 1.0, model=sdxl(comfy))
    assert reading.text.startswith(f"auto-{kind} took sdxl-{kind}: the model is of the family sdxl")
    assert reading.name == f"sdxl-{kind}" and f"sampler {sampler}" in reading.text
    assert torch.equal(reading.sigmas, Schedule.load(path).sigmas(8, sigma_max=reading.sigmas[0].item()))
    assert read_sigmas("auto", 8, 1.0, model=sdxl(comfy)).name == "sdxl"
    assert fingerprint(f"auto-{kind}") != before[0] and fingerprint("auto") == before[1]
    with pytest.raises(ValueError, match=f"auto-{kind} needs the model"):
        read_sigmas(f"auto-{kind}", 8, 1.0)


@pytest.mark.parametrize("kind, taken", [("auto-clock", "sd3"), ("auto-dpmpp_2m", "sd3-dpmpp_2m")])
def test_the_clock_of_a_rectified_flow_is_passed_over_for_the_grids_for_euler(comfy, bundle, kind, taken):
    import comfy.model_base as base

    from art_nodes.host.sigmas import read_sigmas

    sampling = base.model_sampling(types.SimpleNamespace(sampling_settings={"shift": 3.0}), base.ModelType.FLOW)
    sd3 = disguised(None, sampling, name="SD3", latents=comfy.latent_formats.SD3())
    bundle(**{"sd3": 1.0, "sd3-clock": 1.0, "sd3-dpmpp_2m": 1.0, "sdxl": 14.6146, "sdxl-clock": 14.6146})
    reading = read_sigmas(kind, 8, 1.0, model=sd3)
    assert reading.name == taken and reading.text.startswith(f"{kind} took {taken}: the model is of the family sd3")
    assert ("it is what Heun gets in place of sd3-clock" in reading.text) == (taken == "sd3")
    assert read_sigmas("sd3-clock", 8, 1.0, model=sd3).name == "sd3-clock", "asked for by name it is there"
    assert read_sigmas("auto-clock", 8, 1.0, model=sdxl(comfy)).name == "sdxl-clock"


def test_every_family_has_every_kind_of_auto(comfy):
    from art_nodes.host.library import AUTOS

    bundled = {path.stem for path in (Path(__file__).parents[2] / "learned_schedules").glob("*.safetensors")}
    assert {family.name + ending for family in FAMILIES for ending in AUTOS.values()} == bundled


def test_auto_needs_the_model_unless_a_schedule_is_connected(bundle):
    from art_nodes.host.sigmas import read_sigmas

    bundle(sdxl=14.6146)
    with pytest.raises(ValueError, match="auto needs the model; .* or choose one of: sdxl"):
        read_sigmas("auto", 8, 1.0)
    own = schedules.schedule(top=7.0)
    reading = read_sigmas("auto", 5, 1.0, own)
    assert torch.equal(reading.sigmas, own.sigmas(5)) and reading.name is None
    assert "connected" in reading.text and "does not say which sampler" in reading.text


def test_a_mismatch_is_a_warning_in_the_text(models, bundle, caplog):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3

    from art_nodes.host.sigmas import read_sigmas

    bundle(flux=1.0, sdxl=14.6146)
    zero_snr = ModelSamplingDiscrete().patch(models[workflows.SDXL], "v_prediction", True)[0]
    turbo = ModelSamplingDiscrete().patch(models[workflows.SDXL], "lcm", False)[0]
    flow = ModelSamplingSD3().patch(models[workflows.SDXL], 3.0)[0]
    for name, model, match in [("flux", models[workflows.SDXL], "pictures will be wrong"), ("sdxl", flow, "be wrong"),
                               ("sdxl", zero_snr, "zero signal-to-noise"), ("sdxl", turbo, "distilled to 50")]:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            reading = read_sigmas(name, 6, 1.0, model=model)
        assert f"Warning: {reading.warnings[-1]}" in reading.text and match in reading.warnings[-1]
        assert match in caplog.text and len(reading.sigmas) == 7


def test_too_many_sigmas_are_not_sent_to_the_page(bundle):
    from art_nodes.host.sigmas import read_sigmas

    bundle(sdxl=14.6146)
    assert len(read_sigmas("sdxl", 999, 1.0).record["sigmas"]) == 1000
    assert read_sigmas("sdxl", 1000, 1.0).record["sigmas"] == []


def test_a_sampler_it_was_fitted_to_is_named_with_the_others_there_are(bundle, tmp_path):
    from art_nodes.host.sigmas import read_sigmas

    bundle(sdxl=14.6146)
    for name in ("sdxl-dpmpp_2m", "sdxl-refiner", "sdxl-notes"):
        fitted = dataclasses.replace(schedules.schedule(top=14.6, objective="end:dpmpp_2m"), grids={2: [14.6, 2.0, 0]})
        fitted.save(tmp_path / "bundled" / f"{name}.safetensors")
    assert read_sigmas("sdxl", 6, 1.0).text.endswith("For other samplers there is: sdxl-dpmpp_2m.")
    assert "the sampler dpmpp_2m, with a grid of its own" in read_sigmas("sdxl-dpmpp_2m", 6, 1.0).text


def test_a_schedule_saved_here_counts_only_if_it_says_its_family(library, tmp_path):
    from art_nodes.host.families_reading import family_schedules

    library.save_schedule(schedules.schedule(top=14.6), "sdxl")
    library.save_schedule(schedules.schedule(top=14.6, family="sd15"), "sd15")
    (tmp_path / "trained" / "flux.safetensors").write_bytes(b"damaged")
    assert family_schedules() == {"sd15": "sd15"}
    schedules.schedule(top=14.6).save(tmp_path / "bundled" / "sdxl.safetensors")  # ours need not say it
    assert family_schedules() == {"sdxl": "sdxl", "sd15": "sd15"}


def test_the_fingerprint_of_auto_follows_every_family(bundle):
    from art_nodes.host.sigmas import fingerprint

    seen = [fingerprint("auto")]
    for tops in ({"sdxl": 14.6}, {"sdxl": 14.7}, {"flux": 1.0}):
        bundle(**tops)
        seen.append(fingerprint("auto"))
    assert len(set(seen)) == 4


def test_the_fingerprint_of_a_kind_of_auto_follows_what_stands_in(bundle):
    """Where a family has no schedule for the other sampler its own is taken."""
    from art_nodes.host.sigmas import fingerprint

    bundle(sdxl=14.6)
    before = fingerprint("auto-clock")
    bundle(sdxl=14.7)
    assert fingerprint("auto-clock") != before


def test_auto_is_no_schedules_name(library, tmp_path):
    with pytest.raises(ValueError, match="name must not be auto"):
        library.save_schedule(schedules.schedule(), "Auto")
    with pytest.raises(ValueError, match="name must not be .*auto-clock.* as my_auto-clock"):
        library.save_schedule(schedules.schedule(), "auto-clock")
    (tmp_path / "trained").mkdir(exist_ok=True)
    schedules.schedule().save(tmp_path / "trained" / "auto.safetensors")
    assert library.schedule_names() == ["trained/auto"]


def pixels(server, outputs) -> np.ndarray:
    """The first saved picture; its file also holds the workflow."""
    return np.asarray(Image.open(io.BytesIO(server.view(**outputs["save"]["images"][0]))).convert("RGB"))


@pytest.mark.parametrize("dress, name", [(workflows.EDM, "demo-edm"), (workflows.SDXL, "demo-sdxl")])
def test_the_node_in_the_running_host(server, dress, name):
    """auto on the demo model: the bundled file is taken, the node says which, and pictures come out of it."""
    def run(chosen, **links):
        workflow = {**workflows.demo_model(dress), **workflows.sampler_custom(), **workflows.pictures(["sample", 0]),
                    **schedules.sigmas_node(chosen, **links)}
        return server.run(workflow, timeout=120)

    outputs = run("auto", model=["demo", 0])
    [text], [record] = outputs["sigmas"]["text"], outputs["sigmas"]["art_sigmas"]
    assert text.startswith(f"auto took {name}: ") and record["name"] == name and record["warnings"] == []
    by_name = run(name, model=["demo", 0])
    assert by_name["sigmas"]["art_sigmas"][0]["sigmas"] == record["sigmas"]
    first, second = (pixels(server, entry) for entry in (outputs, by_name))
    assert np.array_equal(first, second) and first.std() > 5
    with pytest.raises(HostError, match="auto needs the model"):
        run("auto")


def test_auto_is_the_first_choice_of_a_new_node(server):
    declared = server.object_info("ARTSigmas")["ARTSigmas"]["input"]["required"]["schedule_name"]
    choices = declared[0] if isinstance(declared[0], list) else declared[1]["options"]
    assert choices[:3] == ["auto", "auto-dpmpp_2m", "auto-clock"] and {"demo-edm", "demo-sdxl"} < set(choices)
