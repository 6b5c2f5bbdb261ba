"""The host's code imported into this process, on the CPU unless ART_HOST_GPU=1 and there is a GPU."""

import functools
import sys

import torch

from benchmarks.comfy import install, launch


def on_gpu() -> bool:
    """Whether the host in this process samples on a GPU."""
    return install.wants_gpu() and torch.cuda.is_available()


class BareModel:
    """A denoiser (x, sigma) -> x0 as the host's samplers want their model: some ask it what sigma means."""

    def __init__(self, denoiser):
        self.denoiser = denoiser
        self.inner_model, self.model_patcher, self.model_sampling = self, self, None

    def get_model_object(self, _name):
        """Nothing is known, and so noise is added to x0."""

    def __call__(self, x, sigma, **_options):
        return self.denoiser(x, sigma)


@functools.cache
def import_host():
    """The package `comfy` of the installed host; HostMissingError says what to run where there is none.

    It runs in this Python, whatever COMFYUI_PYTHON is, and needs what the host requires there.
    """
    install.check_installed()
    launch.install_hook()
    # At the end of the path: the tree has modules with names as common as `utils` and `nodes`.
    sys.path.append(str(install.tree()))
    try:
        import comfy.cli_args

        # Read when comfy.model_management is imported, so it must be set before.
        comfy.cli_args.args.cpu = not on_gpu()
        import comfy.model_management
        import comfy.samplers
    except ModuleNotFoundError as error:
        raise install.HostMissingError(f"{sys.executable} must have what {install.tree()} requires; got {error}; run "
                                       ".ci/setup without COMFYUI_PYTHON, or install it there") from error
    return comfy
