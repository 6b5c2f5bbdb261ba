"""The entry "art" of the KSampler's schedulers: in this process, and beside other packs in a real ComfyUI."""

import logging
import textwrap
import types

import pytest
import torch

from benchmarks.comfy import install
from benchmarks.comfy.server import ComfyServer, HostError
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
TOP = 14.6146
# A pack that copies the host's list when it is imported, as several do, and samples with what it finds there.
COPIER = """
    import comfy.samplers
    import nodes

    COPY = list(comfy.samplers.KSampler.SCHEDULERS)

    class CopiedKSampler(nodes.KSampler):
        @classmethod
        def INPUT_TYPES(cls):
            declared = nodes.KSampler.INPUT_TYPES()
            declared["required"]["scheduler"] = (COPY,)
            return declared

    NODE_CLASS_MAPPINGS = {"CopiedKSampler": CopiedKSampler}
"""
# A pack that brings a scheduler of its own.
APPENDER = """
    import comfy.samplers
    import torch

    def falling(model_sampling, steps):
        return torch.linspace(float(model_sampling.sigma_max), 0, steps + 1)

    comfy.samplers.SCHEDULER_HANDLERS["theirs"] = comfy.samplers.SchedulerHandler(falling, use_ms=True)
    comfy.samplers.SCHEDULER_NAMES.append("theirs")
    NODE_CLASS_MAPPINGS = {}
"""


def for_all_tables(**more):
    return schedules.schedule(top=TOP, family="eps", **more)


@pytest.fixture
def dropdown(library, tmp_path):
    """The module, registered, with a schedule for the family eps; the host's lists are as before afterwards."""
    import comfy.samplers

    from art_nodes.host import dropdown as module

    for_all_tables().save(tmp_path / "bundled" / "eps.safetensors")
    module._tell_once.cache_clear()
    yield module
    comfy.samplers.SCHEDULER_HANDLERS.pop("art", None)
    while "art" in comfy.samplers.SCHEDULER_NAMES:
        comfy.samplers.SCHEDULER_NAMES.remove("art")


@pytest.fixture(scope="module")
def model(comfy):
    from art_nodes.host.demo_model import build_model

    return build_model(workflows.SDXL)


def ksampler(model, steps, sampler="euler", denoise=None):
    import comfy.samplers

    return comfy.samplers.KSampler(model, steps, torch.device("cpu"), sampler, "art", denoise)


def test_it_is_appended_once_and_nothing_else_changes(dropdown):
    import comfy.samplers

    names, before = comfy.samplers.SCHEDULER_NAMES, list(comfy.samplers.SCHEDULER_NAMES)
    handlers, old = comfy.samplers.SCHEDULER_HANDLERS, dict(comfy.samplers.SCHEDULER_HANDLERS)
    assert dropdown.register_scheduler() and dropdown.register_scheduler()
    assert comfy.samplers.SCHEDULER_NAMES is names and comfy.samplers.KSampler.SCHEDULERS is names
    assert names == [*before, "art"] and comfy.samplers.SCHEDULER_HANDLERS is handlers
    assert {name: handlers[name] for name in old} == old


@pytest.mark.parametrize("value", ["0", "off", " No ", "FALSE"])
def test_the_environment_switches_it_off(dropdown, monkeypatch, value):
    import comfy.samplers

    monkeypatch.setenv("ART_KSAMPLER_SCHEDULER", value)
    assert not dropdown.register_scheduler()
    assert "art" not in comfy.samplers.SCHEDULER_NAMES and "art" not in comfy.samplers.SCHEDULER_HANDLERS
    monkeypatch.setenv("ART_KSAMPLER_SCHEDULER", "1")
    assert dropdown.register_scheduler()


def test_a_scheduler_of_that_name_is_left_alone(dropdown, monkeypatch):
    import comfy.samplers

    theirs = comfy.samplers.SchedulerHandler(lambda sampling, steps: None)
    monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, "art", theirs)
    assert not dropdown.register_scheduler()
    assert comfy.samplers.SCHEDULER_HANDLERS["art"] is theirs and "art" not in comfy.samplers.SCHEDULER_NAMES


@pytest.mark.parametrize("missing", ["SCHEDULER_HANDLERS", "SchedulerHandler"])
def test_a_host_that_takes_no_further_schedulers_is_left_alone(dropdown, monkeypatch, missing):
    import comfy.samplers

    with monkeypatch.context() as older:
        older.delattr(comfy.samplers, missing)
        assert not dropdown.register_scheduler()
    assert "art" not in comfy.samplers.SCHEDULER_NAMES


def test_a_list_that_was_replaced_gets_it_too(dropdown, monkeypatch):
    import comfy.samplers

    own = [*comfy.samplers.SCHEDULER_NAMES, "theirs"]
    monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", own)
    assert dropdown.register_scheduler()
    assert own[-1] == "art" and comfy.samplers.SCHEDULER_NAMES[-1] == "art"


@pytest.mark.parametrize("steps", [1, 2, 7, 30, 999])
def test_a_fresh_cpu_tensor_each_time(dropdown, model, steps):
    sampling = model.get_model_object("model_sampling")
    first, second = dropdown.art_scheduler(sampling, steps), dropdown.art_scheduler(sampling, steps)
    assert first.shape == (steps + 1,) and first.dtype == torch.float32 and first.device.type == "cpu"
    assert (first.diff() < 0).all() and first[-1] == 0 and float(first[0]) == pytest.approx(TOP, rel=1e-5)
    assert first.data_ptr() != second.data_ptr()
    second.fill_(-1)
    assert torch.equal(dropdown.art_scheduler(sampling, steps), first)


@pytest.mark.parametrize("sampler", ["euler", "dpm_2", "uni_pc"])
@pytest.mark.parametrize("denoise", [None, 0.5, 0.33])
def test_the_host_reads_it_as_its_own(dropdown, model, sampler, denoise):
    """dpm_2 and uni_pc ask for a step more and drop the last but one; a denoise below 1 asks for a longer run."""
    dropdown.register_scheduler()
    total = int(6 / denoise) if denoise else 6
    whole = for_all_tables().sigmas(total + (sampler != "euler"))
    if sampler != "euler":
        whole = torch.cat([whole[:-2], whole[-1:]])
    assert torch.allclose(ksampler(model, 6, sampler, denoise).sigmas, whole[-7:], rtol=1e-5)


def test_a_sampler_may_write_into_it(dropdown, model):
    """KSamplerAdvanced sets the last sigma to 0 in place."""
    dropdown.register_scheduler()
    sampler = ksampler(model, 6)
    sampler.sigmas[:-1][-1] = 0
    assert ksampler(model, 6).sigmas[-2] > 0


def test_a_model_without_a_schedule_is_told_what_to_do(dropdown, comfy):
    import comfy.model_base as base

    flow = base.model_sampling(types.SimpleNamespace(sampling_settings={}), base.ModelType.FLOW)
    with pytest.raises(ValueError, match="family, flow .*ART Train.*or use another scheduler"):
        dropdown.art_scheduler(flow, 10)


def test_what_it_took_is_logged_once(dropdown, model, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            dropdown.art_scheduler(model.get_model_object("model_sampling"), 5)
    assert len(caplog.records) == 1 and "scheduler art: took eps: the model is of the family eps" in caplog.text


def test_a_distilled_model_is_warned_about(dropdown, model, caplog):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    turbo = ModelSamplingDiscrete().patch(model, "lcm", False)[0]
    with caplog.at_level(logging.WARNING):
        dropdown.art_scheduler(turbo.get_model_object("model_sampling"), 4)
    assert "distilled to 50 noise levels" in caplog.text


def test_of_a_flow_another_multiplier_is_warned_about_and_another_shift_is_not(dropdown, comfy, tmp_path, caplog):
    import comfy.model_base as base

    learned = {"family": "flow", "model": "SD3", "model_sampling": "ModelSamplingDiscreteFlow + CONST", "shift": 3.0,
               "multiplier": 1000.0}
    schedules.schedule(top=1.0, **learned).save(tmp_path / "bundled" / "flow.safetensors")

    def read(**settings):
        caplog.clear()
        told = types.SimpleNamespace(sampling_settings=settings)
        with caplog.at_level(logging.WARNING):
            return dropdown.art_scheduler(base.model_sampling(told, base.ModelType.FLOW), 6)

    for shift in (3.0, 8.0):
        assert torch.equal(read(shift=shift), schedules.schedule(top=1.0).sigmas(6)) and not caplog.records
    assert len(read(shift=3.0, multiplier=1.0)) == 7
    assert "learned on multiplier 1000.0, this model has 1.0" in caplog.text


@pytest.fixture(params=["others first", "ours first"])
def crowded(request, tmp_path):
    """A host with two other packs, loaded before ours or after it; yields it and whether they came first.

    Within one folder the host loads packs in the file system's order, folder after folder in the order it is told.
    """
    install.install_pack()
    first, second = tmp_path / "base" / "custom_nodes", tmp_path / "more_nodes"
    models = tmp_path / "base" / "models" / "art_schedules"
    for folder in (first, second, models, *(tmp_path / "base" / name for name in install.BASE_FOLDERS)):
        folder.mkdir(parents=True, exist_ok=True)
    others, ours = (first, second) if request.param == "others first" else (second, first)
    for name, source in (("copier", COPIER), ("appender", APPENDER)):
        (others / f"{name}.py").write_text(textwrap.dedent(source))
    (ours / install.PACK_NAME).symlink_to(install.base_directory() / "custom_nodes" / install.PACK_NAME)
    for_all_tables().save(models / "eps.safetensors")
    paths = tmp_path / "paths.yaml"
    paths.write_text(f"more:\n    base_path: {tmp_path}\n    custom_nodes: more_nodes\n")
    arguments = ("--base-directory", str(tmp_path / "base"), "--extra-model-paths-config", str(paths))
    with ComfyServer(arguments, log=tmp_path / "host.log") as server:
        yield server, request.param == "others first"


def choices(server, node) -> list[str]:
    """The schedulers that a node offers."""
    declared = server.object_info(node)[node]["input"]["required"]["scheduler"]
    return declared[0] if isinstance(declared[0], list) else declared[1]["options"]


def test_other_packs_keep_working_in_both_load_orders(crowded):
    server, others_first = crowded
    offered, copied = choices(server, "KSampler"), choices(server, "CopiedKSampler")
    assert offered.count("art") == 1 and offered.count("theirs") == 1
    assert (offered.index("theirs") < offered.index("art")) == others_first
    assert ("art" in copied) != others_first, "a copy has what was there when it was made"
    own = offered[:min(offered.index("art"), offered.index("theirs"))]
    assert own == copied[:len(own)] and own[0] == "simple"
    known = {"CopiedKSampler": set(copied), "KSampler": set(offered)}
    for node, scheduler in [("KSampler", "art"), ("KSampler", "theirs"), ("KSampler", "karras"),
                            ("CopiedKSampler", "karras"), ("CopiedKSampler", "art"), ("CopiedKSampler", "theirs")]:
        workflow = {**workflows.demo_model(workflows.SDXL), **workflows.ksampler(scheduler=scheduler),
                    **workflows.pictures(["sample", 0])}
        workflow["sample"]["class_type"] = node
        if scheduler in known[node]:
            assert server.run(workflow, timeout=120)["save"]["images"]
        else:
            with pytest.raises(HostError, match="scheduler"):
                server.run(workflow, timeout=120)



def test_our_own_entry_is_no_rival_of_ours(dropdown, model):
    """Neither the report of a training nor "all" of a comparison counts it among the host's schedules."""
    from art_nodes.host.comparing_grids import find_entries
    from art_nodes.host.report import host_grids

    assert dropdown.register_scheduler()
    assert "art" not in host_grids(model, "euler", 6)
    assert "art" not in [entry.name for entry in find_entries(model, "euler", "all")]
    assert [entry.name for entry in find_entries(model, "euler", "art")] == ["art"]  # by name it can be had


def test_it_starts_where_a_smaller_model_does(comfy):
    import comfy.model_sampling

    from art_nodes.host.dropdown import art_scheduler

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
        pass

    smaller = Sampling()
    smaller.set_sigmas(smaller.sigmas[:900].clone())
    assert float(art_scheduler(smaller, 6)[0]) == pytest.approx(float(smaller.sigma_max))
    assert float(art_scheduler(Sampling(), 6)[0]) == pytest.approx(TOP, rel=1e-4)
