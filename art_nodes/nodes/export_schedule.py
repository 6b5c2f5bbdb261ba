"""The node ART Export Schedule."""

from comfy_api.latest import io

from ..host.page import told
from ..host.schedule_tools import FORMATS, export
from ..host.sigmas import choices
from .by_name import ByName


class ARTExportSchedule(ByName):
    """Sigmas as text for other programs."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTExportSchedule",
            display_name="ART Export Schedule",
            category="ART",
            description="Gives the sigmas of a schedule as text, to copy from the node or to save: numbers for the "
                        "ManualSigmas node of newer ComfyUIs, or JSON with what a scheduler of diffusers takes. The "
                        "sigmas are those that ART Sigmas gives.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[
                io.Combo.Input("format", options=list(FORMATS), default=FORMATS[0],
                               tooltip="ManualSigmas takes numbers separated by commas. The JSON names the scheduler, "
                                       "the settings that leave the sigmas as they are, and the sigmas: of a flow "
                                       "model the share of noise in 0 to 1 without the final 0, else the added noise "
                                       "with it."),
                io.Combo.Input("schedule_name", options=choices(),
                               tooltip="A schedule of the library; auto takes the one of the connected model's family "
                                       "for Euler, auto-dpmpp_2m that for DPM++ 2M and the like, auto-clock that for "
                                       "Heun. A connected schedule is used instead."),
                io.Int.Input("steps", default=10, min=1, max=10000, tooltip="The number of steps."),
                io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01,
                               tooltip="As in ART Sigmas: less than 1 gives the last 'steps' of steps/denoise steps."),
                io.Custom("ART_SCHEDULE").Input("schedule", optional=True, tooltip="A schedule; wins over the name."),
                io.Model.Input("model", optional=True,
                               tooltip="Fits the sigmas to the range of this model, and decides whether the JSON is "
                                       "for a flow model. auto needs it."),
            ],
            outputs=[io.String.Output(display_name="text", tooltip="The sigmas as text.")],
        )

    @classmethod
    def execute(cls, format, schedule_name, steps, denoise, schedule=None, model=None):  # noqa: A002, a widget's name
        text = export(format, schedule_name, steps, denoise, schedule, model)
        return io.NodeOutput(text, ui=told(cls.hidden, text))
