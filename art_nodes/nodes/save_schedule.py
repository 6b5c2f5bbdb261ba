"""The node ART Save Schedule."""

from comfy_api.latest import io

from ..host.library import times_lost
from ..host.page import told
from ..host.schedule_tools import save


class ARTSaveSchedule(io.ComfyNode):
    """Saves a schedule in the library."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTSaveSchedule",
            display_name="ART Save Schedule",
            category="ART",
            description="Saves a schedule in models/art_schedules, so that ART Sigmas can use it by name. No other "
                        "schedule is overwritten. To delete or rename one, use your file manager.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[
                io.Custom("ART_SCHEDULE").Input("schedule", tooltip="The schedule, mostly from ART Merge Schedules; "
                                                                    "ART Train saves its own."),
                io.String.Input("name", default="my_schedule",
                                tooltip="Letters, digits, '.', '_' and '-', a letter or digit first. If it is taken by "
                                        "another schedule, _2, _3 ... is appended."),
            ],
            outputs=[io.String.Output(display_name="saved_name", tooltip="The name that it was saved under.")],
        )

    @classmethod
    def fingerprint_inputs(cls, name=None, **_others):
        """So that it runs again when what it saved is gone."""
        return times_lost(name)

    @classmethod
    def execute(cls, schedule, name):
        saved, text = save(schedule, name)
        return io.NodeOutput(saved, ui=told(cls.hidden, text))
