"""ART Compare in a real ComfyUI over HTTP."""

import contextlib
import io
import struct

import numpy as np
import pytest
import requests
import websocket
from PIL import Image

from benchmarks.comfy.server import HostError, HostInterrupted
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
TEXT_EVENT = 3  # of the host's binary messages


@pytest.fixture
def host(server):
    """The running host; what the tests save in it is removed afterwards."""
    yield server
    schedules.remove_host_files()


def compare_node(vae=True, **settings) -> dict:
    """Node "compare" on node "demo": outputs 0 table, 1 plot, 2 pictures."""
    inputs = {
        "model": ["demo", 0], "positive": ["demo", 1], "negative": ["demo", 2], "latent_image": ["demo", 3],
        "cfg": 1.0, "seed": 3, "seeds": 1, "sampler_name": "euler", "steps": "2, 3", "schedules": "karras, normal",
        "reference_steps": 20, **({"vae": ["demo", 4]} if vae else {}), **settings,
    }
    return {"compare": {"class_type": "ARTCompare", "inputs": inputs}}


def comparing(dress=workflows.SDXL, **settings) -> dict:
    return {**workflows.demo_model(dress), **compare_node(**settings)}


def images(server, node) -> list[np.ndarray]:
    """The pictures of a node's output, each uint8 (H, W, 3)."""
    return [np.asarray(Image.open(io.BytesIO(server.view(**image))).convert("RGB")) for image in node["images"]]


def test_models_in_half_precision_are_compared(host):
    shown = host.run({**comparing(model=["half", 0]), **workflows.half_precision()}, timeout=120)["compare"]
    assert {curve["name"] for curve in shown["art_compare"][0]["curves"]} == {"karras", "normal"}


def test_the_node_describes_itself(host):
    info = host.object_info("ARTCompare")["ARTCompare"]
    assert (info["display_name"], info["category"], info["output_node"]) == ("ART Compare", "ART", True)
    assert info["output"] == ["STRING", "IMAGE", "IMAGE"]
    assert info["output_name"] == ["table", "plot", "pictures"]
    inputs = {**info["input"]["required"], **info["input"]["optional"]}
    assert list(inputs) == [
        "model", "positive", "negative", "latent_image", "cfg", "seed", "seeds", "sampler_name", "steps", "schedules",
        "reference_steps", "schedule", "sigmas", "vae",
    ]
    assert all(options["tooltip"] for _, options in inputs.values())
    assert inputs["sampler_name"][1]["default"] == "euler" and "uni_pc" in str(inputs["sampler_name"])


def test_train_then_compare(host):
    """The whole way: a schedule is learned, compared as ART_SCHEDULE, as SIGMAS and by name, and the rest used."""
    name = schedules.fresh_name()
    train = {**workflows.demo_model(workflows.SDXL), **schedules.train_node(name, steps=4)}
    host.run(train, timeout=120)
    settings = {"schedule": ["train", 0], "sigmas": ["train", 1], "schedules": f"karras\n{name}", "steps": "2, 3"}
    workflow = {
        **train, **compare_node(**settings),
        "text": {"class_type": "PreviewAny", "inputs": {"source": ["compare", 0]}},
        **{f"save{i}": {"class_type": "SaveImage", "inputs": {"images": ["compare", i], "filename_prefix": "art-test"}}
           for i in (1, 2)},
    }
    outputs = host.run(workflow, timeout=120)
    [table] = outputs["compare"]["text"]
    assert outputs["text"]["text"] == [table]
    lines = [line.split() for line in table.splitlines() if "|" in line][2:]
    found = {line[0]: [cell for cell in line if "0." in cell] for line in lines}
    assert set(found) == {"ART", "SIGMAS", "karras", name}
    learned, connected = found["ART"], found[name]
    assert [cell.strip("*") for cell in learned] == [cell.strip("*") for cell in connected] and len(learned) == 6
    assert found["SIGMAS"][0].strip("*") == learned[4].strip("*")  # its own 4 steps are the last column
    assert table.count("*") == 1 + 3  # the explanation, and each column
    plot, pictures = images(host, outputs["compare"])
    assert plot.shape == (560, 1000, 3) and pictures.shape[0] > 5 * 112 and pictures.std() > 20
    assert np.array_equal(images(host, outputs["save1"])[0], plot)
    assert np.array_equal(images(host, outputs["save2"])[0], pictures)


def test_without_a_vae(host):
    outputs = host.run({
        **comparing(vae=False), "save": {"class_type": "SaveImage",
                                         "inputs": {"images": ["compare", 2], "filename_prefix": "art-test"}},
    }, timeout=60)
    assert len(outputs["compare"]["images"]) == 1  # the plot alone
    assert images(host, outputs["save"])[0].shape == (64, 320, 3)


def texts(socket, last: str | None) -> list[str]:
    """What is said on the node, up to the text that begins with a last line, or until nothing comes for a second."""
    told = []
    with contextlib.suppress(websocket.WebSocketTimeoutException if last is None else ()):
        while last is None or not any(line.startswith(last) for text in told for line in text.splitlines()):
            message = socket.recv()
            if isinstance(message, bytes) and struct.unpack(">I", message[:4])[0] == TEXT_EVENT:
                length = struct.unpack(">I", message[4:8])[0]
                assert message[8:8 + length] == b"compare"
                told.append(message[8 + length:].decode())
    return told


def test_the_cost_is_told_before_it_starts_to_who_asked(host):
    """Another page may have quite another node of that id open."""
    address = host.url.replace("http", "ws", 1) + "/ws?clientId="
    with contextlib.closing(websocket.create_connection(address + "asks", timeout=60)) as asks, \
            contextlib.closing(websocket.create_connection(address + "looks-on", timeout=1)) as other:
        queued = requests.post(host.url + "/prompt", timeout=60, json={
            "prompt": comparing(vae=False, seed=1234), "client_id": "asks"})
        assert queued.ok, queued.text
        told = texts(asks, "done in")
        assert texts(other, None) == []
    assert told[0] == "40 model calls of 2 samples each, 1 batch of noise"
    assert told[1].startswith(told[0] + "\ncall 5, about") and told[-1].startswith(told[0] + "\ndone in ")


@pytest.mark.parametrize("settings, words", [
    ({"sampler_name": "euler_ancestral"}, "sampler_name must.*adds noise of its own"),
    ({"schedules": "karras, nope"}, "schedules must be names that exist; got 'nope'"),
    ({"steps": "6, x"}, "steps must be whole numbers"), ({"steps": "6"}, "set it to 24 or more"),
])
def test_bad_input_fails_before_the_model_is_called(host, settings, words):
    seen = []
    with pytest.raises(HostError, match=words) as caught:
        host.run(comparing(**settings), timeout=60, on_progress=seen.append)
    assert caught.value.node_type == "ARTCompare" and not seen


def test_interrupt(host):
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == 3:
            host.interrupt()

    with pytest.raises(HostInterrupted, match="ARTCompare"):
        host.run(comparing(seeds=64, seed=99), timeout=120, on_progress=stop)
    values = [progress.value for progress in seen]
    assert values == sorted(values) and values[-1] < seen[-1].total / 2
    host.run(comparing(seed=98), timeout=60)


def test_a_schedule_that_was_trained_anew_is_compared_anew(host):
    """Compared by name: the host must not answer from its cache."""
    name = schedules.fresh_name()
    path = schedules.host_folder() / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    workflow = comparing(schedules=name, vae=False)
    tables = []
    for rate in (1.0, 3.0):
        schedules.schedule(14.6, rate).save(path)
        tables.append(host.run(workflow, timeout=60)["compare"]["text"][0].split("took")[0])
    assert tables[0] != tables[1]
