"""The library nodes: Info, Load, Save, Merge, Export; in this process, and in a real ComfyUI."""

import dataclasses
import io as memory
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from art_nodes.core import Schedule
from benchmarks.comfy.server import HostError
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
TOLD = {"family": "sdxl", "objective": "euler", "learned_on": "photo patches", "sigma_min": 0.03,
        "config": {"seed": 3, "episodes": 128}, "title": "SDXL, carried over"}


@pytest.fixture
def tools(library):
    """The module behind the nodes, with the schedules "one" (VE), "two" (VE) and "flow" in the library."""
    from art_nodes.host import schedule_tools

    library.save_schedule(schedules.schedule(top=14.6146, **TOLD), "one")
    library.save_schedule(schedules.schedule(top=14.6146, rate=3.0, family="sd15"), "two")
    library.save_schedule(schedules.schedule(top=1.0, family="flux"), "flow")
    return schedule_tools


@pytest.fixture(scope="module")
def models(comfy):
    from art_nodes.host.demo_model import build_model

    return {dress: build_model(dress) for dress in workflows.DRESSES}


def test_info_tells_all(tools):
    plot, text = tools.describe(*tools.pick("one", None), "6, 3")
    assert plot.shape == (1, 420, 1000, 3) and 0 <= plot.min() and plot.max() <= 1 and plot.std() > 0.05
    for words in ("Schedule one: SDXL, carried over", "From sigma 14.6146 to 0; sigma is the added noise.",
                  "32 steps on its clock.", "Learned on: photo patches.", "The paper's clock, made for no sampler",
                  'config: {"seed": 3, "episodes": 128}', "family: sdxl"):
        assert words in text
    lines = dict(line.split(" steps: ") for line in text.splitlines() if " steps: " in line)
    sigmas = schedules.schedule(top=14.6146).sigmas(6)
    assert list(lines) == ["3", "6"] and not re.search(r"\de[-+]\d", text)
    assert torch.equal(torch.tensor([float(value) for value in lines["6"].split(",")]), sigmas)


def test_info_draws_what_it_is_given(tools):
    one, other = (tools.describe(schedules.schedule(rate=rate), None, "6")[0] for rate in (1.0, 4.0))
    assert not torch.equal(one, other)
    assert not torch.equal(one, tools.describe(schedules.schedule(), None, "6, 10")[0])


@pytest.mark.parametrize("steps, beside", [("6", []), ("3, 6", [3]), ("2, 3, 4, 5, 6", [3, 4, 5])])
def test_info_draws_up_to_three_numbers_of_steps_beside_the_largest(tools, monkeypatch, steps, beside):
    drawn = []
    monkeypatch.setattr(tools, "draw_plot", lambda schedule, *given: drawn.append(given))
    tools.describe(schedules.schedule(), None, steps)
    [(most, others, *_)] = drawn
    assert most == 6 and list(others) == [f"{count} steps" for count in beside]


@pytest.mark.parametrize("told, lowest", [(0.03, 0.03), (0.0, None), (-1.0, None), (90.0, None), ("no", None)])
def test_an_axis_ends_at_a_sigma_min_that_may_be_one(tools, monkeypatch, told, lowest):
    drawn, schedule = [], schedules.schedule(sigma_min=told)
    monkeypatch.setattr(tools, "draw_plot", lambda *given: drawn.append(given[-1]))
    tools.describe(schedule, None, "4")
    assert drawn == [lowest or 0.25 * schedule.clock[-2]]


def test_info_tells_of_grids_and_of_entries_of_any_kind(tools):
    grids = {2: [80.0, 9.0, 0.0], 3: [80.0, 9.0, 1.0, 0.0]}
    schedule = Schedule(schedules.schedule().clock, {"k" * 900: {1, 2}}, grids)
    _, text = tools.describe(schedule, None, "4")
    assert "32 steps on its clock, and grids of their own for 2, 3 steps." in text
    assert f"\n{'k' * 500}: " in text and "{1, 2}" in text


def test_info_of_a_foreign_schedule(tools):
    """A file may hold anything: long texts are cut, nothing is asked of it that it may lack."""
    odd = schedules.schedule(top=7.0, sigma_min="no", objective=["?"], learned_on="x" * 5000, title=3, empty=None)
    _, text = tools.describe(odd, None, "4")
    assert "The connected schedule\n" in text and len(text) < 2500 and "does not say which sampler" in text
    assert "says nothing of where" in tools.describe(Schedule(odd.clock), None, "4")[1]
    with pytest.raises(ValueError, match="steps must be whole numbers"):
        tools.describe(odd, None, "six")


def test_names_never_fail(tools, library, tmp_path):
    assert tools.names() == ["flow", "one", "two"]
    for path in (tmp_path / "trained").iterdir():
        path.unlink()
    assert tools.names() == ["(none yet: run ART Train)"]
    with pytest.raises(ValueError, match="there are: none yet"):
        tools.pick("(none yet: run ART Train)", None)


@pytest.mark.parametrize("share, close_to", [(0.0, "one"), (1.0, "two")])
def test_merge_at_the_ends_is_one_of_both(tools, library, share, close_to):
    one, two = library.load_schedule("one"), library.load_schedule("two")
    merged = tools.merge(one, two, share)
    np.testing.assert_allclose(merged.clock, library.load_schedule(close_to).clock, rtol=1e-12)
    half = tools.merge(one, two, 0.25)
    np.testing.assert_allclose(half.clock[:-1], one.clock[:-1] ** 0.75 * two.clock[:-1] ** 0.25)


def test_merge_refuses_what_means_other_things(tools, library):
    one, flow = library.load_schedule("one"), library.load_schedule("flow")
    with pytest.raises(ValueError, match="in the first it is the added noise, in the second the share of noise"):
        tools.merge(one, flow, 0.5)
    with pytest.raises(ValueError, match=r"share must lie in \[0, 1\]; got 2"):
        tools.merge(one, one, 2)
    with pytest.raises(ValueError, match=r"share must lie in \[0, 1\]; got -0.5"):
        tools.merge(one, one, -0.5)


def test_save_overwrites_nothing(tools, library, tmp_path):
    merged = tools.merge(library.load_schedule("one"), library.load_schedule("two"), 0.5)
    assert tools.save(merged, "both") == ("both", f'schedule "both" saved in {tmp_path / "trained"}')
    assert tools.save(merged, "one")[0] == "one_2" and "was taken" in tools.save(schedules.schedule(), "one")[1]
    assert library.load_schedule("both").provenance["merged_from"][0]["weight"] == 0.5
    with pytest.raises(ValueError, match="name must be"):
        tools.save(merged, "../x")


def test_export_for_manual_sigmas_is_what_sigmas_gives(tools, models):
    from art_nodes.host.sigmas import read_sigmas

    for denoise, model in [(1.0, None), (0.5, None), (1.0, models[workflows.SDXL])]:
        text = tools.export(tools.MANUAL, "one", 7, denoise, None, model)
        values = torch.tensor([float(value) for value in text.split(",")])
        assert torch.equal(values, read_sigmas("one", 7, denoise, None, model).sigmas)


def test_export_for_diffusers_knows_a_flow(tools, models):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    flow = json.loads(tools.export(tools.DIFFUSERS, "flow", 6, 1.0))
    assert flow["scheduler"].startswith("FlowMatch") and len(flow["sigmas"]) == 6 and flow["sigmas"][0] == 1.0
    added = json.loads(tools.export(tools.DIFFUSERS, "one", 6, 1.0))
    assert added["scheduler"] == "EulerDiscreteScheduler" and len(added["sigmas"]) == 7 and added["sigmas"][-1] == 0
    unknown = schedules.schedule(top=1.0, family="sdxl")
    assert json.loads(tools.export(tools.DIFFUSERS, "", 6, 1.0, unknown))["scheduler"] == "EulerDiscreteScheduler"
    model = ModelSamplingSD3().patch(models[workflows.SDXL], 3.0)[0]
    by_model = json.loads(tools.export(tools.DIFFUSERS, "", 6, 1.0, unknown, model))
    assert by_model["scheduler"].startswith("FlowMatch"), "the connected model decides"


def test_export_goes_by_the_schedule_where_the_model_does_not_say(tools, models, monkeypatch):
    """As one whose noise levels another pack made."""
    facts = dataclasses.replace(tools.model_facts(models[workflows.SDXL]), prediction="unknown")
    monkeypatch.setattr(tools, "model_facts", lambda model: facts)
    exported = json.loads(tools.export(tools.DIFFUSERS, "flow", 6, 1.0, None, models[workflows.SDXL]))
    assert exported["scheduler"].startswith("FlowMatch")


def test_export_of_auto(tools, library, models, tmp_path):
    schedules.schedule(top=14.6, family="demo-sdxl").save(tmp_path / "bundled" / "demo-sdxl.safetensors")
    text = tools.export(tools.DIFFUSERS, "auto", 6, 1.0, None, models[workflows.SDXL])
    assert json.loads(text)["sigmas"][0] == pytest.approx(14.6)


def test_export_refuses(tools):
    with pytest.raises(ValueError, match="format must be one of: text for ManualSigmas, JSON for diffusers"):
        tools.export("xml", "one", 6, 1.0)
    with pytest.raises(ValueError, match="use a denoise above 0"):
        tools.export(tools.MANUAL, "one", 6, 0.0)
    with pytest.raises(ValueError, match="there are: flow, one, two"):
        tools.export(tools.MANUAL, "nope", 6, 1.0)


# In the running host

OURS = {"ARTScheduleInfo": "ART Schedule Info", "ARTLoadSchedule": "ART Load Schedule",
        "ARTSaveSchedule": "ART Save Schedule", "ARTMergeSchedules": "ART Merge Schedules",
        "ARTExportSchedule": "ART Export Schedule"}


@pytest.fixture
def host(server):
    """The running host; what the tests save in it is removed afterwards."""
    schedules.host_folder().mkdir(exist_ok=True)
    yield server
    schedules.remove_host_files()


def node(kind, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


@pytest.mark.parametrize("kind", OURS)
def test_the_nodes_describe_themselves(host, kind):
    info = host.object_info(kind)[kind]
    assert (info["display_name"], info["category"]) == (OURS[kind], "ART") and len(info["description"]) > 40
    inputs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    assert inputs and all(options["tooltip"] for _, options in inputs.values())
    assert all(info["output_tooltips"])


def test_load_merge_save_info_export_in_a_workflow(host):
    name = schedules.fresh_name()
    workflow = {
        "first": node("ARTLoadSchedule", schedule_name="demo-edm"),
        "second": node("ARTLoadSchedule", schedule_name="demo-edm"),
        "short": node("ARTLoadSchedule", schedule_name="demo-sdxl"),
        "merge": node("ARTMergeSchedules", first=["first", 0], second=["short", 0], share=0.5),
        "save": node("ARTSaveSchedule", schedule=["merge", 0], name=name),
        "info": node("ARTScheduleInfo", schedule_name="demo-edm", steps="4", schedule=["merge", 0]),
        "named": node("ARTScheduleInfo", schedule_name="demo-sdxl", steps="4"),
        "export": node("ARTExportSchedule", format="text for ManualSigmas", schedule_name="auto", steps=4,
                       denoise=1.0, schedule=["merge", 0]),
        **workflows.demo_model(workflows.SDXL),
        "auto": node("ARTExportSchedule", format="JSON for diffusers", schedule_name="auto", steps=4, denoise=1.0,
                     model=["demo", 0]),
    }
    outputs = host.run(workflow, timeout=120)
    saved = Schedule.load(schedules.host_folder() / f"{name}.safetensors")
    assert outputs["save"]["text"] == [f'schedule "{name}" saved in models/art_schedules']
    assert [round(source["weight"], 6) for source in saved.provenance["merged_from"]] == [0.5, 0.5]
    assert saved.sigma_max == pytest.approx(14.6146) and saved.provenance["model"] == "DemoModel"
    [text] = outputs["info"]["text"]
    assert "method: merged" in text and "The connected schedule" in text
    assert outputs["named"]["text"][0].startswith("Schedule demo-sdxl: demo model, SDXL range")
    picture = Image.open(memory.BytesIO(host.view(**outputs["info"]["images"][0])))
    assert picture.size == (1000, 420)
    exported = torch.tensor([float(value) for value in outputs["export"]["text"][0].split(",")])
    assert torch.equal(exported, saved.sigmas(4))
    assert json.loads(outputs["auto"]["text"][0])["timesteps"][0] == 999


def test_unknown_names_are_errors_of_the_node(host):
    for kind, more in [("ARTScheduleInfo", {"steps": "4"}),
                       ("ARTExportSchedule", {"format": "JSON for diffusers", "steps": 4, "denoise": 1.0})]:
        with pytest.raises(HostError, match="got 'art-test-unknown'; there are: demo-edm") as caught:
            host.run({"it": node(kind, schedule_name="art-test-unknown", **more)}, timeout=60)
        assert caught.value.node_type == kind
