"""The node ART Schedule Info."""

from comfy_api.latest import io, ui

from ..host.page import told
from ..host.schedule_tools import describe, names, pick
from .by_name import ByName


class ARTScheduleInfo(ByName):
    """Shows a schedule: its curve, where it comes from, and its sigmas."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTScheduleInfo",
            display_name="ART Schedule Info",
            category="ART",
            description="Shows what a learned schedule is: its curve, on which model and how it was learned, for which "
                        "sampler, and its sigmas at the numbers of steps you name.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[
                io.Combo.Input("schedule_name", options=names(),
                               tooltip="A schedule of the library. A connected schedule is shown instead."),
                io.String.Input("steps", default="6, 10, 20",
                                tooltip="The numbers of steps whose sigmas are listed. The largest is drawn as ART, up "
                                        "to three others beside it."),
                io.Custom("ART_SCHEDULE").Input("schedule", optional=True,
                                                tooltip="A schedule from ART Train, ART Load Schedule or ART Merge "
                                                        "Schedules; wins over the name."),
            ],
            outputs=[
                io.Image.Output(display_name="curve", tooltip="Sigma over the steps on a logarithmic axis."),
                io.String.Output(display_name="text", tooltip="Provenance and sigmas, to read or to save."),
            ],
        )

    @classmethod
    def execute(cls, schedule_name, steps, schedule=None):
        chosen, name = pick(schedule_name, schedule)
        curve, text = describe(chosen, name, steps)
        return io.NodeOutput(curve, text, ui={**ui.PreviewImage(curve, cls=cls).as_dict(), **told(cls.hidden, text)})
