"""Independent oracles for the mathematics."""

import importlib
import sys
import types
from importlib import metadata

import pytest


@pytest.fixture(scope="session")
def k_diffusion_sampling():
    """k-diffusion's sampling module alone: the package's own __init__ asks for clip, wandb and more."""
    folder = next(file for file in metadata.files("k-diffusion") if file.name == "sampling.py").locate().parent
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    sys.modules["k_diffusion"] = package
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    sys.modules["k_diffusion.utils"] = utils
    yield importlib.import_module("k_diffusion.sampling")
    for name in [name for name in sys.modules if name.split(".")[0] == "k_diffusion"]:
        del sys.modules[name]
