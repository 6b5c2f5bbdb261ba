"""The real ComfyUI for the tests of this folder: over HTTP, and imported into this process.

Nothing is skipped when it is missing: HostMissingError says what to run.
"""

import sys

import pytest

from benchmarks.comfy import install, launch
from benchmarks.comfy.server import ComfyServer


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
    install.check_installed()
    launch.install_hook()
    # At the end of the path: the tree has modules with names as common as `utils` and `nodes`.
    sys.path.append(str(install.tree()))
    import comfy.cli_args

    # Read when comfy.model_management is imported, so it must be set before.
    comfy.cli_args.args.cpu = True
    import comfy.model_management
    import comfy.samplers

    return comfy
