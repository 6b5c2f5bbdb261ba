"""The real ComfyUI for the tests of this folder: over HTTP, and imported into this process.

Nothing is skipped when it is missing: HostMissingError says what to run.
"""

import pytest

from benchmarks.comfy import install
from benchmarks.comfy.inprocess import import_host
from benchmarks.comfy.server import ComfyServer
from tests.host import schedules


@pytest.fixture(scope="session")
def server():
    """A running host with the pack installed as a user would have it."""
    with ComfyServer() as running:
        yield running
    for picture in (install.base_directory() / "output").glob("art-test*"):
        picture.unlink()


@pytest.fixture(scope="session")
def comfy():
    """The package `comfy` of the host's tree, on the CPU, in this process."""
    return import_host()


@pytest.fixture
def watch_bar(comfy, monkeypatch):
    """Installs what sees all updates of progress bars, as the server does: hook(value, total, preview, **ids)."""
    import comfy.utils

    def install(hook):
        monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
        for least in ("INTERVAL", "PERCENT"):  # newer hosts leave out updates that come soon
            monkeypatch.setattr(comfy.utils, f"PROGRESS_THROTTLE_MIN_{least}", 0.0, raising=False)

    return install


@pytest.fixture
def library(comfy, monkeypatch, tmp_path):
    """The module of the schedule library, on folders of its own."""
    with schedules.own_library(comfy, monkeypatch, tmp_path) as module:
        yield module


@pytest.fixture(scope="session")
def recording(comfy):
    from art_nodes.host import recording

    return recording


@pytest.fixture
def training(library):
    """The module, which saves into a library of its own."""
    from art_nodes.host import training

    return training


@pytest.fixture
def comparing(library):
    """The module, which reads a library of its own."""
    from art_nodes.host import comparing

    return comparing
