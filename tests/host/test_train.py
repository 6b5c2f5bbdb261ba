"""ART Train in a real ComfyUI over HTTP: files, pictures, the list, interrupts."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from art_nodes.core import Schedule, TrainConfig
from benchmarks.comfy.server import HostError, HostInterrupted
from tests.host import schedules, workflows

pytestmark = pytest.mark.host


@pytest.fixture
def host(server):
    """The running host; what the tests save in it is removed afterwards."""
    yield server
    schedules.remove_host_files()


def saved_files() -> set[str]:
    """Everything in the folder of trained schedules, temporary files too."""
    folder = schedules.host_folder()
    return {path.name for path in folder.rglob("*")} if folder.exists() else set()


def training(name, dress=workflows.EDM, **settings) -> dict:
    return {**workflows.demo_model(dress), **schedules.train_node(name, **settings)}


def sampled_with(sigmas, cfg=1.0) -> dict:
    """Nodes that sample node "demo" with the sigmas of a link and save the pictures."""
    nodes = {**workflows.sampler_custom(cfg=cfg), **workflows.pictures(["sample", 0])}
    del nodes["sigmas"]
    nodes["sample"]["inputs"]["sigmas"] = sigmas
    return nodes


def images(server, node) -> np.ndarray:
    """The pictures of a node's output as uint8 (B, H, W, 3)."""
    return np.stack([np.asarray(Image.open(io.BytesIO(server.view(**image))).convert("RGB"))
                     for image in node["images"]])


def test_the_node_describes_itself(host):
    info = host.object_info("ARTTrain")["ARTTrain"]
    assert (info["display_name"], info["category"], info["output_node"]) == ("ART Train", "ART", True)
    assert info["output"] == ["ART_SCHEDULE", "SIGMAS", "IMAGE", "STRING"]
    inputs = info["input"]["required"]
    assert list(inputs) == [
        "model", "positive", "negative", "latent_image", "cfg", "seed", "orbits", "nodes", "steps", "name", "method",
        "iterations", "episodes", "clock_nodes", "lam", "learning_rate", "trace", "penalty", "knots",
    ]
    # added later: prompts that were saved without it still run
    assert list(info["input"]["optional"]) == ["budget", "objective", "trial_calls", "references"]
    inputs = {**inputs, **info["input"]["optional"]}
    assert all(options["tooltip"] for _, options in inputs.values())
    # a number of steps has a grid of its own unless the user asks for the paper's clock alone
    defaults = dataclasses.replace(TrainConfig(), objective="end:euler")
    assert inputs.pop("trial_calls")[1]["default"] == 0 and inputs.pop("references")[0] == "LATENT"
    for name in list(inputs)[11:]:
        assert inputs[name][1]["default"] == getattr(defaults, name)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_train_then_sample(host, dress, cfg):
    """The file appears, is listed without a restart, and its sigmas are those of the SIGMAS output."""
    name = schedules.fresh_name()
    outputs = host.run({**training(name, dress, cfg=cfg), **sampled_with(["train", 1], cfg)}, timeout=120)
    pictures = images(host, outputs["save"])
    assert pictures.shape == (2, 28, 28, 3) and pictures.std(axis=(1, 2, 3)).min() > 5

    known = Schedule.load(schedules.host_folder() / f"{name}.safetensors").provenance
    assert (known["model"], known["cfg"], known["orbits"], known["nodes"]) == ("DemoModel", cfg, 2, 8)
    assert name in str(host.object_info("ARTSigmas")["ARTSigmas"]["input"]["required"]["schedule_name"])

    by_name = {**workflows.demo_model(dress), **schedules.sigmas_node(name), **sampled_with(["sigmas", 0], cfg)}
    assert np.array_equal(images(host, host.run(by_name, timeout=120)["save"]), pictures)


def test_the_budget_may_be_kept_as_in_the_paper(host):
    name = schedules.fresh_name()
    host.run(training(name, budget="price"), timeout=120)
    config = Schedule.load(schedules.host_folder() / f"{name}.safetensors").provenance["config"]
    assert config["budget"] == "price" and config["state_dependent"] is None


def test_grids_are_tried_on_the_model_when_asked_for(host):
    name = schedules.fresh_name()
    shown = host.run(training(name, orbits=6, nodes=24, objective="end:euler", trial_calls=400), timeout=120)["train"]
    known = Schedule.load(schedules.host_folder() / f"{name}.safetensors").provenance["trial"]
    assert 0 < known["sample_calls"] <= 400 and "tried with euler on the model" in shown["text"][0]


def test_a_model_in_half_precision_may_be_trained_again(host):
    """What such a recording tells of itself is fit for the page and for the file, which the second run finds."""
    name = schedules.fresh_name()
    prompt = {**training(name, model=["half", 0]), **workflows.half_precision()}
    for _ in range(2):
        [record] = host.run(prompt, timeout=120)["train"]["art_train"]
        host.free()  # else the second run would be answered from the host's cache
        assert (record["phase"], record["name"], record["calls"]) == ("finished", name, 18)


def test_pictures_to_aim_at_may_be_connected(host):
    """Sampled ones here: as sharp as four steps of Euler are, which the schedule and the report know."""
    name = schedules.fresh_name()
    sampler = {"class_type": "KSampler", "inputs": {
        "model": ["demo", 0], "positive": ["demo", 1], "negative": ["demo", 2], "latent_image": ["demo", 3], "seed": 1,
        "steps": 4, "cfg": 1.0, "sampler_name": "euler", "scheduler": "karras", "denoise": 1.0}}
    shown = host.run({**training(name, objective="spectrum:dpmpp_2m", nodes=24, references=["sampler", 0]),
                      "sampler": sampler}, timeout=120)["train"]
    known = Schedule.load(schedules.host_folder() / f"{name}.safetensors").provenance
    assert known["objective"] == "spectrum:dpmpp_2m" and known["references"] == 2
    assert "the power at each frequency of dpmpp_2m, aiming at that of 2 references" in shown["text"][0]


def test_what_the_page_is_shown(host):
    name = schedules.fresh_name()
    shown = host.run(training(name), timeout=120)["train"]
    assert images(host, shown).shape == (1, 420, 1000, 3)
    [report] = shown["text"]
    assert report.startswith(f'schedule "{name}" saved')


def test_a_connected_schedule_wins_over_any_name(host):
    name = schedules.fresh_name()
    workflow = {**training(name), **schedules.sigmas_node("no such schedule", schedule=["train", 0]),
                **sampled_with(["sigmas", 0])}
    linked = images(host, host.run(workflow, timeout=120)["save"])
    direct = images(host, host.run({**training(name), **sampled_with(["train", 1])}, timeout=120)["save"])
    assert np.array_equal(linked, direct)


@pytest.mark.parametrize("name", ["../x", "", "<img src=x>"])
def test_bad_names_fail_before_the_model_is_called(host, name):
    before, seen = saved_files(), []
    with pytest.raises(HostError, match="name must") as caught:
        host.run(training(name), timeout=60, on_progress=seen.append)
    assert caught.value.node_type == "ARTTrain"
    assert not seen and saved_files() == before


def test_progress_runs_forward_over_both_phases(host):
    seen = []
    settings = {"orbits": 6, "nodes": 16, "iterations": 60, "seed": 21}
    host.run(training(schedules.fresh_name(), **settings), timeout=120, on_progress=seen.append)
    values = [progress.value for progress in seen if progress.node == "train"]
    assert values == sorted(values) and values[-1] == 1000
    assert {progress.total for progress in seen} == {1000}
    assert 3 <= len(values) <= 3 * 16 + 60 + 1  # some on the way, at most each model call, each iteration, the end


@pytest.mark.parametrize("phase, stop_after", [("recording", 5), ("learning", 8 + 20)])
def test_interrupt_leaves_nothing_behind(host, phase, stop_after):
    name, before, seen = schedules.fresh_name(), saved_files(), []

    def stop(progress):
        seen.append(progress)
        if len(seen) == stop_after:
            host.interrupt()

    slow = {"nodes": 400, "orbits": 8} if phase == "recording" else {"iterations": 20000}
    with pytest.raises(HostInterrupted, match="ARTTrain"):
        host.run(training(name, **slow), timeout=120, on_progress=stop)
    assert seen[-1].value < 900 and saved_files() == before
    host.run(training(name), timeout=120)
    assert saved_files() == before | {f"{name}.safetensors"}
