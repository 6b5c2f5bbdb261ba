"""What is known of the latents and noise levels that each family of models samples, and where it is known from."""

import math
from dataclasses import dataclass

SD_VAE_STD = (4.17, 4.62, 3.71, 3.28)  # by channel, of raw latents of ImageNet at 512x512
SDXL_VAE_STD = (8.4927, 5.9022, 6.5498, 5.2299)
SD_SCALE, SDXL_SCALE = 0.18215, 0.13025
SD_RANGE = (14.6146, 0.0292)
SD_SOURCE = ("spread of the SD autoencoder's latents on ImageNet-512, by channel, from EDM2's published encoder "
             "(NVlabs/edm2, training/encoders.py, raw_std), times SD 1.x's published scaling factor 0.18215")
SDXL_SOURCE = ("spread of the SDXL autoencoder's latents, by channel, from Playground v2.5's published configuration "
               "(latents_std; in ComfyUI's latent_formats.py), times SDXL's scaling factor 0.13025")
UNIT_SOURCE = ("published scaling and shift factors (in ComfyUI's latent_formats.py) are there to bring latents to "
               "unit variance; no spread by channel is published that we know of")


@dataclass(frozen=True)
class Latents:
    """What a family's models sample.

    spread: standard deviation of each channel as the model sees it (after the host's process_latent_in), without
        the channels' means. size: height and width for the family's usual picture. high, low: range of sigma.
    share: whether sigma is the share of noise of a rectified flow. shift: of its noise levels.
    starts_late: why `high` lies below the range of the host's model_sampling, if it does.
    """

    family: str
    spread: tuple[float, ...]
    source: str
    size: tuple[int, int]
    high: float
    low: float
    share: bool = False
    shift: float | None = None
    starts_late: str | None = None

    @property
    def data_std(self) -> float:
        """Root mean square over the channels."""
        return math.sqrt(sum(value**2 for value in self.spread) / len(self.spread))


def _scaled(raw: tuple[float, ...], scale: float) -> tuple[float, ...]:
    return tuple(round(value * scale, 4) for value in raw)


SD, SDXL = _scaled(SD_VAE_STD, SD_SCALE), _scaled(SDXL_VAE_STD, SDXL_SCALE)
# Ranges are those of the host's model_sampling classes with each family's settings. The refiner knows the first 200
# of the 1000 noise levels.
FAMILIES = {known.family: known for known in (
    Latents("sd15", SD, SD_SOURCE, (64, 64), *SD_RANGE),
    Latents("sdxl", SDXL, SDXL_SOURCE, (128, 128), *SD_RANGE),
    Latents("sdxl-refiner", SDXL, SDXL_SOURCE, (128, 128), 0.5693, SD_RANGE[1],
            starts_late="the refiner was trained on the last 200 of 1000 noise levels; give it a picture with so much "
                        "noise: a finished one in SamplerCustom with add_noise, or one that the base left there"),
    Latents("svd", SD, SD_SOURCE, (72, 128), 700.0, 0.002),
    Latents("eps", (1.0,), "nothing is known of the model: unit variance", (64, 64), *SD_RANGE),
    Latents("sd3", (1.0,), UNIT_SOURCE, (128, 128), 1.0, 0.002994, share=True, shift=3.0),
    Latents("flux", (1.0,), UNIT_SOURCE, (128, 128), 1.0, 0.000316, share=True, shift=1.15),
    Latents("flow", (1.0,), "nothing is known of the model: unit variance", (64, 64), 1.0, 0.001, share=True),
)}
