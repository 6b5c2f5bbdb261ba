"""The node ART Sigmas."""

from comfy_api.latest import io

from ..host.page import node_place
from ..host.sigmas import choices, read_sigmas
from .by_name import ByName
from .newer import found_by


class ARTSigmas(ByName):
    """The sigmas of a learned schedule, at any number of steps."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTSigmas",
            display_name="ART Sigmas",
            category="ART",
            description="The sigmas of a learned schedule, for SamplerCustom and SamplerCustomAdvanced.",
            **found_by("scheduler", "learned scheduler", "step schedule", "align your steps", "AYS", "GITS"),
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[
                io.Combo.Input("schedule_name", options=choices(),
                               tooltip="A schedule that comes with the pack or one of yours; auto takes the "
                                       "bundled one of the connected model's family for Euler and says which, "
                                       "auto-dpmpp_2m that for DPM++ 2M and the like, auto-clock that for Heun. A "
                                       "connected schedule is used instead."),
                io.Int.Input("steps", default=10, min=1, max=10000,
                             tooltip="How many steps are sampled; the output always has exactly so many."),
                io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01,
                               tooltip="1 samples from pure noise. Less starts later, as in BasicScheduler: "
                                       "the last 'steps' of steps/denoise steps."),
                io.Custom("ART_SCHEDULE").Input("schedule", optional=True,
                                                tooltip="A schedule from ART Train, ART Load Schedule or ART Merge "
                                                        "Schedules; wins over the name."),
                io.Model.Input("model", optional=True,
                               tooltip="Fits the schedule to the sigma range of this model, and warns if it was "
                                       "learned on another kind of model. auto needs it."),
            ],
            outputs=[io.Sigmas.Output(display_name="sigmas", tooltip="One sigma for each step, and a final 0.")],
        )

    @classmethod
    def execute(cls, schedule_name, steps, denoise, schedule=None, model=None):
        reading = read_sigmas(schedule_name, steps, denoise, schedule, model)
        choice = schedule_name if isinstance(schedule_name, str) else None  # anything may come over a wire
        record = {**reading.record, **node_place(cls.hidden), "choice": choice}
        return io.NodeOutput(reading.sigmas, ui={"text": [reading.text], "art_sigmas": [record]})
