"""`python -m benchmarks make-bundled` against a real ComfyUI, with the demo model as the checkpoint."""

import json
import os
import re

import pytest
import torch

from art_nodes.core import OrbitBank, Schedule
from art_nodes.demo.unet import CLASSES
from benchmarks import make_bundled
from benchmarks.bundle_demo import FOLDER
from benchmarks.comfy import install
from benchmarks.comfy.server import HostError
from benchmarks.make_bundled_graph import PREFIX, RECIPES
from tests.host import workflows

pytestmark = pytest.mark.host


@pytest.fixture
def host(server):
    """The running host; recordings in its output folder are removed afterwards."""
    yield server
    for path in (install.base_directory() / "output").glob(f"{PREFIX}*"):
        path.unlink()


def quick(tmp_path, host, *more) -> list[str]:
    return ["--comfyui", host.url, "--checkpoint", "demo-sdxl", "--count", "3", "--seeds", "2", "--nodes", "16",
            "--iterations", "20", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "bundled"), *more]


def test_from_recordings_to_auto(host, library, tmp_path, capsys, monkeypatch):
    """Record in the host, learn here, rewrite a bundled file, and have auto take it."""
    from art_nodes.host.demo_model import build_model
    from art_nodes.host.sigmas import read_sigmas

    (tmp_path / "bundled" / "demo-sdxl.safetensors").write_bytes((FOLDER / "demo-sdxl.safetensors").read_bytes())
    assert make_bundled.main(quick(tmp_path, host)) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in said[:3]] == [f"{i + 1} of 3: {CLASSES[i]}" for i in range(3)]
    assert re.search(r"demo-sdxl.safetensors: J/J\* 1\.\d+ on 6 orbits; by prompt", said[3])
    made = Schedule.load(tmp_path / "bundled" / "demo-sdxl.safetensors")
    known = made.provenance
    assert (known["checkpoint"], known["model"], known["model_sampling"]) \
        == ("demo-sdxl", "DemoModel", "ModelSamplingDiscrete + EPS")
    assert known["model_calls"] == 3 * 2 * 16 and known["nodes"] == 16 and known["comfyui"] != "unknown"
    assert made.sigma_max == pytest.approx(14.6146, rel=1e-5) and made.sigmas(8).shape == (9,)
    reading = read_sigmas("auto", 8, 1.0, model=build_model(workflows.SDXL))
    assert reading.name == "demo-sdxl" and torch.equal(reading.sigmas, made.sigmas(8)) and not reading.warnings
    assert "Learned on: demo-sdxl in ComfyUI" in reading.text

    def no_run(self, graph, **options):
        raise AssertionError("recordings are kept")

    monkeypatch.setattr(make_bundled.Client, "run", no_run)
    assert make_bundled.main(quick(tmp_path, host, "--objective", "end:dpmpp_2m")) == 0
    fitted = Schedule.load(tmp_path / "bundled" / "demo-sdxl-dpmpp_2m.safetensors")
    assert fitted.provenance["objective"] == "end:dpmpp_2m" and 6 in fitted.grids
    assert Schedule.load(tmp_path / "bundled" / "demo-sdxl.safetensors").provenance == known
    assert "there is: demo-sdxl-dpmpp_2m" in read_sigmas("demo-sdxl", 8, 1.0).text


def test_the_recording_is_what_a_recording_in_this_process_is(host, comfy, tmp_path):
    from art_nodes.host.demo_model import build_model, class_conditioning, empty_latent
    from art_nodes.host.recording import record

    args = make_bundled.parse(quick(tmp_path, host, "--seed", "5", "--count", "1"))
    [sent] = make_bundled.record_all(host, make_bundled.make_plan(args), tmp_path / "work", print)
    conditions = class_conditioning(CLASSES[0]), class_conditioning("no class")
    here = record(build_model(workflows.SDXL), *conditions, empty_latent(1), cfg=1.0, seed=5, orbits=2, nodes=16)
    torch.testing.assert_close(torch.from_numpy(sent.stiffness), torch.from_numpy(here.stiffness), rtol=1e-3, atol=0)
    assert sent.metadata == json.loads(json.dumps(here.metadata)) and sent.gram.shape == (2, 17, 17)
    other = record(build_model(workflows.SDXL), *conditions, empty_latent(1), cfg=1.0, seed=6, orbits=2, nodes=16)
    assert not torch.allclose(torch.from_numpy(other.stiffness), torch.from_numpy(here.stiffness), rtol=1e-2)


@pytest.mark.parametrize("family", [family for family in RECIPES if not family.startswith("demo")])
def test_a_checkpoints_graph_is_refused_for_the_missing_file_only(host, tmp_path, family):
    """No checkpoint can be had here: the host checks nodes, inputs and links, and stops at the file's name."""
    arguments = ["--comfyui", host.url, "--checkpoint", "no-such.safetensors", "--family", family, "--count", "1"]
    made = make_bundled.make_plan(make_bundled.parse(arguments))
    make_bundled.check_host(host, family)
    with pytest.raises(HostError, match="ckpt_name: 'no-such.safetensors' not in") as caught:
        host.run(made.graph(0), timeout=60)
    assert str(caught.value).count("\nnode ") == 1


def test_the_node_refuses_a_bad_prefix_and_overwrites_nothing(host):
    def record(prefix):
        links = {"model": ["half", 0], "positive": ["demo", 1], "negative": ["demo", 2], "latent_image": ["demo", 3]}
        inputs = {**links, "cfg": 1.0, "seed": 0, "orbits": 1, "nodes": 8, "filename_prefix": prefix}
        return host.run({**workflows.demo_model(batch_size=1), **workflows.half_precision(),
                         "record": {"class_type": "ARTRecordOrbits", "inputs": inputs}}, timeout=60)["record"]

    for bad in ("../out", "a/b", "", "%date%"):
        with pytest.raises(HostError, match="filename_prefix must be letters"):
            record(bad)
    name = record(PREFIX)["recordings"][0]["filename"]
    path = install.base_directory() / "output" / name
    before = path.read_bytes()
    assert len(OrbitBank.load(path).stiffness) == 1
    assert OrbitBank.load(path).rounding.any()
    host.free()  # the host would else answer from its cache
    assert record(f"{PREFIX}-2")["recordings"][0]["filename"] != name and path.read_bytes() == before


def test_an_interrupt_leaves_no_file(comfy, monkeypatch, tmp_path):
    import comfy.model_management as management
    import folder_paths

    from art_nodes.host import recordings
    from art_nodes.host.demo_model import build_model, class_conditioning, empty_latent

    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    conditions = class_conditioning(CLASSES[0]), class_conditioning("no class")
    given = [build_model(workflows.EDM), *conditions, empty_latent(1)]
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        recordings.record_to_file(*given, 1.0, 0, 1, 8, "orbits")
    assert not list(tmp_path.iterdir())
    file, text = recordings.record_to_file(*given, 1.0, 0, 1, 8, "orbits")
    assert file["filename"] == "orbits_00001_.safetensors" and "1 orbits x 8 nodes, 8 model calls" in text
    assert recordings.record_to_file(*given, 1.0, 0, 1, 8, "orbits")[0]["filename"] == "orbits_00002_.safetensors"
    # A file system that knows no capitals, as macOS has: the host counts by names, and Orbits_00001_ is taken there.
    there = {path.name.lower() for path in tmp_path.iterdir()}
    monkeypatch.setattr("os.path.lexists", lambda path: os.path.basename(path).lower() in there)
    assert recordings.record_to_file(*given, 1.0, 0, 1, 8, "Orbits")[0]["filename"] == "Orbits_00003_.safetensors"
    with pytest.raises(ValueError, match="filename_prefix must not be a device name of Windows"):
        recordings.record_to_file(*given, 1.0, 0, 1, 8, "nul.2026")
