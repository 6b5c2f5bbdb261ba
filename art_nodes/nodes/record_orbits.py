"""The node ART Record Orbits."""

from comfy_api.latest import io

from ..host.page import told
from ..host.recordings import record_to_file
from .newer import SEED_CONTROL


class ARTRecordOrbits(io.ComfyNode):
    """Records orbits of a model as a file, to learn on elsewhere."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTRecordOrbits",
            display_name="ART Record Orbits",
            category="ART",
            description="Follows a few orbits of the model from noise to picture and saves the recording in the output "
                        "folder. For learning one schedule on many prompts, as python -m benchmarks make-bundled in a "
                        "git clone does; for a single prompt use ART Train.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[
                io.Model.Input("model", tooltip="The model to record, with its LoRAs, shift and other patches."),
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="The negative prompt; to a model that takes none connect the "
                                                          "positive again."),
                io.Latent.Input("latent_image", tooltip="Only its size counts, and its batch size: so many pictures go "
                                                        "into one model call."),
                io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, round=0.01,
                               tooltip="The guidance that will be sampled with."),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=SEED_CONTROL,
                             tooltip="Of the noise of the first batch; the next ones take seed + 1 and so on."),
                io.Int.Input("orbits", default=4, min=1, max=1024,
                             tooltip="How many pictures are followed from pure noise."),
                io.Int.Input("nodes", default=64, min=8, max=1024, tooltip="Model calls along each orbit."),
                io.String.Input("filename_prefix", default="orbits",
                                tooltip="Start of the file's name: letters, digits, '.', '_' and '-', a letter or "
                                        "digit first."),
            ],
            outputs=[],
        )

    @classmethod
    def execute(cls, **inputs):
        file, text = record_to_file(**inputs)
        return io.NodeOutput(ui={"recordings": [file], **told(cls.hidden, text)})
