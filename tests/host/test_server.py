"""The harness around the host: clear errors, and no host left behind."""

import signal
import subprocess
import sys
import time

import pytest

from benchmarks.comfy import install
from benchmarks.comfy.server import ComfyServer, HostError
from tests.host import workflows

pytestmark = pytest.mark.host
STARTER = """
import time
from benchmarks.comfy.server import ComfyServer
with ComfyServer() as server:
    print(server.pid, flush=True)
    time.sleep(120)
"""


def is_running(pid) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_host_ends_with_its_starter():
    """Even when the starter is killed and can clean up nothing."""
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(command, cwd=install.ROOT, stdout=subprocess.PIPE, text=True) as starter:
        host = int(starter.stdout.readline())
        assert is_running(host)
        starter.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while is_running(host) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(host)


def test_failed_start_shows_the_log():
    with pytest.raises(HostError, match="exit code 2(.|\n)*unrecognized arguments: --no-such-option"):
        ComfyServer(("--no-such-option",)).start()


def test_stop_can_be_repeated():
    server = ComfyServer()
    server.stop()
    with pytest.raises(ValueError, match="call start"):
        _ = server.pid


def test_wrong_path_names_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(install.HostMissingError, match="COMFYUI_PATH.*run .ci/setup"):
        ComfyServer().start()


def test_installed_pack_is_what_git_would_give(server):
    """Also: nothing of the checkout's own build folders or of the host's byte code ends up in it."""
    pack = install.base_directory() / "custom_nodes" / install.PACK_NAME
    assert (pack / "art_nodes" / "demo" / "fashion_unet.safetensors").is_file()
    for unwanted in (".git", ".venv", ".comfyui", "build", "__pycache__"):
        assert not (pack / unwanted).exists()
    assert not list(pack.rglob("*.pyc"))
    (pack / "left_over.py").write_text("")
    install.install_pack()
    assert not (pack / "left_over.py").exists()


def test_refused_workflow_names_the_node(server):
    workflow = {**workflows.demo_model(batch_size=0), **workflows.ksampler(), **workflows.pictures(["sample", 0])}
    with pytest.raises(HostError, match=r"node demo \(ARTDemoModel\).*batch_size"):
        server.run(workflow)
    workflow["demo"]["class_type"] = "NoSuchNode"
    with pytest.raises(HostError, match="NoSuchNode"):
        server.run(workflow)


def test_wait_for_an_older_prompt(server):
    """Two workflows are queued; the one that ended long ago can still be asked for."""
    first, second = (
        server.submit({**workflows.demo_model(), **workflows.ksampler(seed=seed), **workflows.pictures(["sample", 0])})
        for seed in (1001, 1002)
    )
    assert server.wait(second, timeout=60)["save"]["images"]
    assert server.wait(first, timeout=60)["save"]["images"]
    with pytest.raises(TimeoutError, match="within 0.5 s"):
        server.wait("unknown", timeout=0.5)
