"""The node ART Load Schedule."""

from comfy_api.latest import io

from ..host.library import load_schedule
from ..host.schedule_tools import names
from ..host.sigmas import fingerprint


class ARTLoadSchedule(io.ComfyNode):
    """A schedule of the library as ART_SCHEDULE."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTLoadSchedule",
            display_name="ART Load Schedule",
            category="ART",
            description="Loads a learned schedule by name, to merge it, to look at it, or to compare it.",
            inputs=[
                io.Combo.Input("schedule_name", options=names(),
                               tooltip="A schedule that comes with the pack or that was saved here."),
            ],
            outputs=[io.Custom("ART_SCHEDULE").Output(display_name="schedule", tooltip="The schedule.")],
        )

    @classmethod
    def validate_inputs(cls, schedule_name):
        """Takes over from the host's check of the choices: a name may be new."""
        return True

    @classmethod
    def fingerprint_inputs(cls, schedule_name=None):
        return fingerprint(schedule_name)

    @classmethod
    def execute(cls, schedule_name):
        return io.NodeOutput(load_schedule(schedule_name))
