"""The host's code imported into this process, on the CPU."""

import functools
import sys

from benchmarks.comfy import install, launch


@functools.cache
def import_host():
    """The package `comfy` of the installed host; HostMissingError says what to run where there is none."""
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
