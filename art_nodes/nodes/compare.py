"""The node ART Compare."""

import comfy.samplers
from comfy_api.latest import io, ui

from ..host.comparing import compare
from ..host.comparing_grids import fingerprint_names
from ..host.page import node_place
from ..host.progress import node_text
from .newer import SEED_CONTROL, found_by

SCHEDULES = "karras, normal, simple, sgm_uniform, beta"


class ARTCompare(io.ComfyNode):
    """Measures schedules on the connected model: error against a fine reference from the same noise."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTCompare",
            display_name="ART Compare",
            category="ART",
            description="Which schedule comes closest to the exact solution on this model, with this sampler and so "
                        "many steps? Samples the same noise with each and measures how far it ends from a fine "
                        "reference.",
            **found_by("compare schedulers", "scheduler comparison", "sampler error", "xy plot"),
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[*model_inputs(), *comparison_inputs(), *optional_inputs()],
            outputs=[
                io.String.Output(display_name="table", tooltip="Errors of every schedule, the least of each column "
                                                               "marked, and how sure that is."),
                io.Image.Output(display_name="plot", tooltip="Error against model calls, both axes logarithmic."),
                io.Image.Output(display_name="pictures", tooltip="What each schedule makes of the first noises, beside "
                                                                 "the reference; needs a VAE."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, schedules=None, **_others):
        return fingerprint_names(schedules)

    @classmethod
    def execute(cls, **inputs):
        compared = compare(**inputs, tell=node_text(cls.hidden.unique_id))
        shown = [compared.plot] if inputs.get("vae") is None else [compared.plot, compared.pictures]
        images = [image for picture in shown for image in ui.PreviewImage(picture, cls=cls).as_dict()["images"]]
        return io.NodeOutput(*compared.outputs, ui={
            "images": images, "text": [compared.table], "art_compare": [compared.record | node_place(cls.hidden)]})


def model_inputs() -> list:
    """What is sampled. New inputs go to the very end of the node: saved workflows count on the order."""
    return [
        io.Model.Input("model", tooltip="The model to compare on, with its LoRAs, shift and other patches."),
        io.Conditioning.Input("positive", tooltip="The prompt."),
        io.Conditioning.Input("negative", tooltip="The negative prompt; to a model that takes none connect the "
                                                  "positive again."),
        io.Latent.Input("latent_image", tooltip="Only its size counts, and its batch size: so many pictures go into "
                                                "one model call."),
        io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, round=0.01,
                       tooltip="The guidance you will sample with."),
        io.Int.Input("seed", default=1000, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=SEED_CONTROL,
                     tooltip="Of the first batch of noise; the next ones take seed + 1 and so on. Keep clear of those "
                             "of training, which counts up from its own seed in the same way."),
    ]


def comparison_inputs() -> list:
    """What is compared."""
    return [
        io.Int.Input("seeds", default=4, min=1, max=4096,
                     tooltip="How many batches of noise: batch number i is drawn from seed + i. With fewer than 8 "
                             "noises in all, chance decides."),
        io.Combo.Input("sampler_name", options=list(comfy.samplers.KSampler.SAMPLERS), default="euler",
                       tooltip="A sampler that solves the ODE, as euler, heun, dpmpp_2m or uni_pc. One that adds noise "
                               "of its own, or does not keep to the sigmas it is given, is refused: its distance to "
                               "the reference says nothing."),
        io.String.Input("steps", default="6, 10, 20", tooltip="The numbers of steps to compare at."),
        io.String.Input("schedules", default=SCHEDULES, multiline=True,
                        tooltip="Names separated by commas or new lines: ComfyUI's schedulers, its nodes' (AYS SD1, "
                                "AYS SDXL, AYS SVD, GITS, OptimalSteps FLUX, OptimalSteps Wan, OptimalSteps Chroma, "
                                "polyexponential, laplace, beta57), and schedules of ART Train. A name that both "
                                "ComfyUI and the library have is ComfyUI's; write library/NAME for the other. auto, "
                                "auto-dpmpp_2m and auto-clock stand for the bundled one of the model's family, all for "
                                "ComfyUI's schedulers and the AYS tables that fit the model."),
        io.Int.Input("reference_steps", default=100, min=20, max=10000,
                     tooltip="Steps of the reference that each end is compared with, at least 4 times the largest "
                             "number of steps."),
    ]


def optional_inputs() -> list:
    """What may be connected."""
    return [
        io.Custom("ART_SCHEDULE").Input("schedule", optional=True, tooltip="A schedule to compare too."),
        io.Sigmas.Input("sigmas", optional=True,
                        tooltip="Any SIGMAS to compare too; their number of steps is added to 'steps'."),
        io.Vae.Input("vae", optional=True, tooltip="Connect it to see the pictures too."),
    ]
