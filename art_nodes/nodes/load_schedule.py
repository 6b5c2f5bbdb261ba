"""The node ART Load Schedule."""

from comfy_api.latest import io

from ..host.library import load_schedule
from ..host.schedule_tools import names
from .by_name import ByName


class ARTLoadSchedule(ByName):
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
                               tooltip="A schedule that comes with the pack, or one in models/art_schedules. One of "
                                       "yours that has the name of a bundled one is called trained/NAME."),
            ],
            outputs=[io.Custom("ART_SCHEDULE").Output(display_name="schedule", tooltip="The schedule.")],
        )

    @classmethod
    def execute(cls, schedule_name):
        return io.NodeOutput(load_schedule(schedule_name))
