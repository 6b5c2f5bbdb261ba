"""What nodes have in common that take a schedule of the library by its name."""

from comfy_api.latest import io

from ..host.sigmas import fingerprint


class ByName(io.ComfyNode):
    """A node with the input `schedule_name`."""

    @classmethod
    def validate_inputs(cls, schedule_name=None):
        """Takes over from the host's check of the choices: a name may be new, and a connected schedule wins."""
        return True

    @classmethod
    def fingerprint_inputs(cls, schedule_name=None, **_others):
        """So that the node runs again when the file has changed."""
        return fingerprint(schedule_name)
