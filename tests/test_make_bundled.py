"""`python -m benchmarks make-bundled` without a host: plans, graphs, resuming, and what the file says of itself."""

import dataclasses

import numpy as np
import pytest

from art_nodes.core import OrbitBank, Schedule, TrainConfig, recording_grid
from art_nodes.host.families import BY_NAME
from benchmarks import make_bundled
from benchmarks.comfy.client import HostError
from benchmarks.make_bundled_graph import DEMO_DRESSES, NOT_FROM_PROMPTS, RECIPES, needed_nodes, read_prompts, recipe_of

SDXL = {"model": "SDXL", "model_sampling": "ModelSamplingDiscrete + EPS", "sigma_max": 14.6146, "sigma_min": 0.0292,
        "latent_format": "SDXL", "cfg": 6.0, "comfyui": "0.3.75"}
QUICK = TrainConfig(iterations=10, episodes=8, clock_nodes=16)


def bank(number=0, **metadata) -> OrbitBank:
    """A made-up recording, another one for each prompt."""
    sigmas = recording_grid(14.6146, 0.0292, 16)
    return OrbitBank(sigmas, np.ones((2, 1)) * (1 + 0.2 * number * sigmas) / sigmas, calls=16, sample_calls=32,
                     metadata={**SDXL, **metadata})


class FakeClient:
    """Answers each workflow with the recording of its seed, and can be stopped after some."""

    url = "http://nowhere"

    def __init__(self, folder, stop_after=100, **metadata):
        self.folder, self.stop_after, self.metadata, self.graphs = folder, stop_after, metadata, []
        self.damaged = False

    def object_info(self):
        return dict.fromkeys(needed_nodes("sdxl"), {})

    def run(self, graph, timeout):
        if len(self.graphs) == self.stop_after:
            raise HostError("the host has gone")
        self.graphs.append(graph)
        return {"record": {"recordings": [{"filename": str(len(self.graphs)), "subfolder": "", "type": "output"}]}}

    def view(self, filename, subfolder, type):  # noqa: A002, the host's word
        if self.damaged:
            return b"half a file"
        bank(int(filename), **self.metadata).save(self.folder / "sent.safetensors")
        return (self.folder / "sent.safetensors").read_bytes()

    def close(self):
        """Nothing to close."""


def arguments(tmp_path, *more):
    return make_bundled.parse(["--comfyui", "http://nowhere", "--checkpoint", "x.safetensors", "--work",
                               str(tmp_path / "work"), "--out", str(tmp_path / "out"), *more])


def plan(tmp_path, *more):
    return make_bundled.make_plan(arguments(tmp_path, "--family", "sdxl", "--count", "3", *more))


def test_64_different_prompts():
    prompts = read_prompts("sdxl")
    assert len(prompts) == len({prompt.lower() for prompt in prompts}) == 64
    assert all(prompt.isascii() and 2 <= len(prompt.split()) <= 20 for prompt in prompts)
    words = [set(prompt.split()) - {"a", "of", "the", "in", "on", "with", "and", "at"} for prompt in prompts]
    alike = max(len(one & other) / min(len(one), len(other)) for i, one in enumerate(words) for other in words[:i])
    assert alike < 0.7, "two prompts ask for the same"


def test_every_family_has_a_recipe_or_a_reason():
    assert set(RECIPES) | set(NOT_FROM_PROMPTS) == set(BY_NAME) and not set(RECIPES) & set(NOT_FROM_PROMPTS)
    for family in NOT_FROM_PROMPTS:
        with pytest.raises(ValueError, match="sampled from prompts.*ART Train in your own workflow"):
            recipe_of(family)
    with pytest.raises(ValueError, match="one of: sd15, sdxl"):
        recipe_of("sd9")


@pytest.mark.parametrize("family", RECIPES)
def test_the_graph_is_wired_up(tmp_path, family):
    made = make_bundled.make_plan(arguments(tmp_path, "--family", family, "--count", "2", "--seeds", "3"))
    first, second = made.graph(0), made.graph(1)
    assert first["record"]["inputs"]["seed"] == 0 and second["record"]["inputs"]["seed"] == 3
    assert first["record"]["inputs"]["orbits"] == 3 and first["record"]["inputs"]["cfg"] == RECIPES[family].cfg
    for node in first.values():
        links = [value for value in node["inputs"].values() if isinstance(value, list)]
        assert all(source in first and isinstance(slot, int) for source, slot in links)
    used = str(second)
    assert made.prompts[1] in used and made.prompts[0] not in used
    if family not in DEMO_DRESSES:
        assert first["model"]["inputs"]["ckpt_name"] == "x.safetensors"
        assert first["latent"]["inputs"]["width"] == RECIPES[family].width
    assert ("FluxGuidance" in needed_nodes(family)) == (family == "flux")


@pytest.mark.parametrize("more, match", [
    ((), "--family must be given"), (("--family", "svd"), "start from a picture"),
    (("--family", "sdxl", "--count", "0"), "a prompt and a seed"),
    (("--family", "sdxl", "--seeds", "0"), "a prompt and a seed"),
])
def test_bad_command_lines(tmp_path, more, match):
    with pytest.raises(ValueError, match=match):
        make_bundled.make_plan(arguments(tmp_path, *more))


def test_own_settings_win_and_change_the_key(tmp_path):
    usual = plan(tmp_path)
    assert (usual.recipe.cfg, usual.recipe.width) == (6.0, 1024)
    changed = [plan(tmp_path, *option) for option in (["--cfg", "3"], ["--width", "512"], ["--seeds", "2"],
                                                      ["--seed", "5"], ["--nodes", "32"], ["--batch", "2"])]
    assert changed[0].recipe.cfg == 3.0 and changed[1].recipe.width == 512
    assert len({usual.key, *(each.key for each in changed)}) == 7
    assert plan(tmp_path).key == usual.key


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    made, work, said = plan(tmp_path), tmp_path / "work", []
    client = FakeClient(tmp_path, stop_after=2)
    with pytest.raises(HostError, match="has gone"):
        make_bundled.record_all(client, made, work, said.append)
    assert len(said) == 2 and said[0] == f"1 of 3: {made.prompts[0]} (16 model calls)"
    again = FakeClient(tmp_path)
    banks = make_bundled.record_all(again, made, work, said.append)
    assert len(banks) == 3 and [graph["positive"]["inputs"]["text"] for graph in again.graphs] == [made.prompts[2]]
    broken = next(work.rglob("001.safetensors"))
    broken.write_bytes(b"damaged")
    make_bundled.record_all(again, made, work, said.append)
    assert len(again.graphs) == 2 and len(OrbitBank.load(broken).stiffness) == 2


def test_half_a_file_is_not_kept(tmp_path):
    client = FakeClient(tmp_path)
    client.damaged = True
    with pytest.raises(ValueError, match="damaged"):
        make_bundled.record_all(client, plan(tmp_path), tmp_path / "work", print)
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_a_checkpoint_of_another_family_is_refused(tmp_path):
    client = FakeClient(tmp_path, latent_format="SD15")
    with pytest.raises(ValueError, match="must be of the family sdxl; the model is of sd15: .*pass --family sd15"):
        make_bundled.record_all(client, plan(tmp_path), tmp_path / "work", print)
    assert len(client.graphs) == 1, "found out at the first prompt"
    make_bundled.check_family(bank(latent_format="SD15"), "eps")
    with pytest.raises(ValueError, match="family flow"):
        make_bundled.check_family(bank(), "flow")


def test_a_host_without_the_nodes_is_named(tmp_path):
    client = FakeClient(tmp_path)
    with pytest.raises(HostError, match="lacks EmptySD3LatentImage, FluxGuidance; install this version"):
        make_bundled.check_host(client, "flux")
    make_bundled.check_host(client, "sdxl")


def test_the_file_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(make_bundled, "Client", lambda url: FakeClient(tmp_path))
    path = make_bundled.run(arguments(tmp_path, "--family", "sdxl", "--count", "3", "--iterations", "10",
                                      "--objective", "euler"), print)
    assert path == tmp_path / "out" / "sdxl-clock.safetensors"
    made = Schedule.load(path)
    known = made.provenance
    assert (known["family"], known["checkpoint"], known["prompts"], known["seeds"]) == ("sdxl", "x.safetensors", 3, 4)
    assert known["carried_over"].startswith("no")
    assert known["learned_on"].startswith("x.safetensors in ComfyUI 0.3.75: 3 prompts with 4 seeds each, 1024x1024")
    assert known["model"] == "SDXL" and known["orbits"] == 6 and known["sample_calls"] == 96
    assert known["objective"] == "euler" and known["config"]["iterations"] == 10 and made.sigma_max == 14.6146
    assert "SDXL, sigma 14.6146 to 0.0292" in known["meant_for"]
    assert 1 <= known["cost_by_prompt"]["median"] <= known["cost_by_prompt"]["worst"]


def test_the_cost_by_prompt_tells_prompts_apart(tmp_path):
    """The negative control: one prompt far from the others shows in the worst."""
    made = plan(tmp_path)
    alike = make_bundled.learn_on([bank(1), bank(1), bank(1)], made, "euler", QUICK).provenance["cost_by_prompt"]
    odd = dataclasses.replace(bank(1), stiffness=np.ones((2, 16)))
    mixed = make_bundled.learn_on([bank(1), bank(1), odd], made, "euler", QUICK).provenance["cost_by_prompt"]
    assert alike["worst"] == pytest.approx(alike["median"]) and mixed["worst"] > 1.2 * mixed["median"]


@pytest.mark.parametrize("objective, name", [("euler", "sdxl-clock.safetensors"),
                                             ("end:dpmpp_2m", "sdxl-dpmpp_2m.safetensors"),
                                             ("end:euler", "sdxl.safetensors")])
def test_where_it_is_saved(objective, name):
    assert make_bundled.file_name("sdxl", objective) == name


def test_nothing_at_the_address(capsys):
    assert make_bundled.main(["--comfyui", "http://127.0.0.1:9", "--checkpoint", "demo-edm"]) == 1
    assert "nothing answers at http://127.0.0.1:9; start it" in capsys.readouterr().out
    assert make_bundled.main(["--comfyui", "http://127.0.0.1:9", "--checkpoint", "x"]) == 1
    assert "--family must be given" in capsys.readouterr().out
