"""The node ART Merge Schedules."""

from comfy_api.latest import io

from ..host.schedule_tools import merge


class ARTMergeSchedules(io.ComfyNode):
    """The average of two schedules."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTMergeSchedules",
            display_name="ART Merge Schedules",
            category="ART",
            description="Averages two schedules of models of the same kind: the geometric mean of sigma at equal "
                        "shares of the clock. For a merged checkpoint, or for prompts of two sorts. Merge schedules "
                        "that were learned for the same sampler.",
            inputs=[
                io.Custom("ART_SCHEDULE").Input("first", tooltip="A schedule."),
                io.Custom("ART_SCHEDULE").Input("second", tooltip="Another one, over the same range of sigma. If one "
                                                                  "starts higher, only its later part counts."),
                io.Float.Input("share", default=0.5, min=0.0, max=1.0, step=0.05, round=0.001,
                               tooltip="How much of the second: 0 is the first alone, 1 the second alone."),
            ],
            outputs=[io.Custom("ART_SCHEDULE").Output(display_name="schedule", tooltip="The merged schedule; it names "
                                                                                       "both as its sources.")],
        )

    @classmethod
    def execute(cls, first, second, share):
        return io.NodeOutput(merge(first, second, share))
