"""The node ART Demo Model."""

from comfy_api.latest import io

from ..host.demo_model import CLASS_CHOICES, DRESSES, demo_outputs


class ARTDemoModel(io.ComfyNode):
    """The bundled 28x28 garment model with everything a sampler node asks for."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTDemoModel",
            display_name="ART Demo Model",
            category="ART",
            description="A small diffusion model of 28x28 garments (Fashion-MNIST) that comes with the pack: "
                        "learn and compare step schedules in seconds, without a download.",
            inputs=[
                io.Combo.Input("dress", options=list(DRESSES), default=next(iter(DRESSES)),
                               tooltip="How ComfyUI sees the network: as an EDM model with sigma from 0.002 to 80, or "
                                       "like SDXL with noise prediction and sigma from 0.0292 to 14.61. The network "
                                       "and its pictures are the same."),
                io.Combo.Input("garment", options=list(CLASS_CHOICES), default=CLASS_CHOICES[0],
                               tooltip="The class of the positive output. 'all classes in turn' gives each picture "
                                       "of the batch the next class."),
                io.Int.Input("batch_size", default=16, min=1, max=4096,
                             tooltip="How many pictures the latent holds."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The demo model, for any sampler or guider node."),
                io.Conditioning.Output(display_name="positive", tooltip="The class that was chosen."),
                io.Conditioning.Output(display_name="negative", tooltip="No class, for classifier-free guidance."),
                io.Latent.Output(display_name="latent", tooltip="An empty latent of the model's size, 28x28."),
                io.Vae.Output(display_name="vae", tooltip="Turns the model's latents into pictures and back."),
            ],
        )

    @classmethod
    def execute(cls, dress, garment, batch_size):
        return io.NodeOutput(*demo_outputs(dress, garment, batch_size))
