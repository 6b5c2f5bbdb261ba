"""Which family of models a MODEL belongs to, and whether a schedule suits it.

Decisions on plain facts, without the host: families_reading.py reads the facts off a MODEL.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from ..core import Schedule

# What sigma means: the noise added to a picture, x0 + sigma eps, or the share of noise in (1 - sigma) x0 + sigma eps.
ADDED, SHARE = "added noise", "share of noise"
# Prediction types as families_reading.py names them; the others have no noise levels that steps could be placed on.
MEANING = {"eps": ADDED, "v": ADDED, "edm": ADDED, "x0": ADDED, "lcm": ADDED, "cosmos": ADDED, "flow": SHARE}
PREDICTS = {"eps": "predicts noise", "v": "predicts v", "edm": "predicts with EDM's scaling", "x0": "predicts x0",
            "lcm": "is a consistency model", "cosmos": "is a rectified flow in units of added noise",
            "flow": "is a rectified flow"}
SD_SIGMA_MAX = 14.6146  # of the table of noise levels that SD 1.x and SDXL share
# Class names of prediction types in the host: the first one found counts, since most derive from others.
PREDICTIONS = {
    "LCM": "lcm", "COSMOS_RFLOW": "cosmos", "IMG_TO_IMG_FLOW": "img_to_img", "IMG_TO_IMG_VELOCITY": "img_to_img",
    "IMG_TO_IMG": "img_to_img",
    "CONST": "flow", "X0": "x0", "EDM": "edm", "V_PREDICTION": "v",
    "V_PREDICTION_DDPM": "v", "EPS": "eps",
}
IMG_TO_IMG = "turns a picture into another and has none; use its own scheduler, mostly normal"
FEW_LEVELS = 200  # a table with fewer entries belongs to a model distilled to few steps
ZERO_SNR_SIGMA = 1000.0  # the largest noise level of a table that reaches zero signal-to-noise ratio lies above
HIGHEST_SHARE = 1.001


def prediction_of(names: Collection[str]) -> str:
    """The prediction type of a model_sampling with these class names among its bases."""
    return next((kind for name, kind in PREDICTIONS.items() if name in names), "unknown")


@dataclass(frozen=True)
class ModelFacts:
    """What a choice is made from; None where it is not known.

    prediction: a key of MEANING, "img_to_img" or "unknown". levels: class of the noise levels in the host.
    sigma_max, sigma_min: range of sigma. table: how many noise levels the model knows, if only those of a table.
    zero_snr: whether the table was rescaled to zero terminal signal-to-noise ratio.
    shift: of a rectified flow's noise levels. model, latent_format: class names in the host.
    """

    prediction: str
    levels: str
    sigma_max: float
    sigma_min: float
    table: int | None = None
    zero_snr: bool = False
    shift: float | None = None
    model: str | None = None
    latent_format: str | None = None

    @classmethod
    def of_record(cls, known: dict) -> "ModelFacts":
        """From what a recording or a schedule remembers of its model; how many noise levels it knew is not told."""
        levels, *kinds = str(known.get("model_sampling", "")).split(" + ")
        high, shift = float(known["sigma_max"]), known.get("shift")
        return cls(prediction_of(kinds), levels, high, float(known["sigma_min"]),
                   zero_snr=levels.startswith("ModelSamplingDiscrete") and high > ZERO_SNR_SIGMA,
                   shift=shift, model=known.get("model"), latent_format=known.get("latent_format"))

    @property
    def meaning(self) -> str | None:
        """ADDED or SHARE; None where sigma has no meaning known here."""
        return MEANING.get(self.prediction)

    @property
    def few_levels(self) -> bool:
        """Whether the model was distilled to few noise levels."""
        return self.prediction == "lcm" or (self.table is not None and self.table < FEW_LEVELS)

    @property
    def line(self) -> str:
        """The facts in a line of text."""
        shift = "" if self.shift is None else f", shift {self.shift:g}"
        latents = "" if self.latent_format is None else f", latents of {self.latent_format}"
        return f"it {PREDICTS.get(self.prediction, self.prediction)}, sigma {self.sigma_max:g} to {self.sigma_min:g}" \
               f"{shift}{latents}"


@dataclass(frozen=True)
class Family:
    """Models that share a bundled schedule, the file learned_schedules/<name>.safetensors.

    nearest: families whose schedules may stand in, the nearest first. All are of the same meaning of sigma.
    """

    name: str
    title: str
    meaning: str
    fits: Callable[[ModelFacts], bool]
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """`family` is the model's own, `taken` the name of the schedule that is used, `reason` says why in a sentence."""

    family: Family
    taken: str
    reason: str


def _sd_table(facts: ModelFacts) -> bool:
    """Noise levels of SD 1.x and SDXL, as they are, rescaled to zero SNR, or thinned out for a distilled model."""
    same_top = math.isclose(facts.sigma_max, SD_SIGMA_MAX, rel_tol=0.01)
    return facts.levels.startswith("ModelSamplingDiscrete") and (same_top or facts.zero_snr or facts.few_levels)


def _latents(name: str, facts: ModelFacts) -> bool:
    return facts.latent_format == name


def _flux(facts: ModelFacts) -> bool:
    """Flux's noise levels, or Schnell's; other models of its latents have others."""
    if facts.levels == "ModelSamplingFlux":
        return facts.latent_format in ("Flux", None)
    return _schnell(facts)


def _schnell(facts: ModelFacts) -> bool:
    """Flux without a shift; HiDream has none either, and Flux's latents."""
    return (_latents("Flux", facts) and facts.model in ("Flux", None) and facts.shift == 1.0
            and facts.levels == "ModelSamplingDiscreteFlow")


# The first that fits is a model's family: the particular ones come first.
FAMILIES = (
    Family("demo-edm", "the demo model, EDM", ADDED,
           lambda facts: facts.model == "DemoModel" and facts.prediction == "edm"),
    Family("demo-sdxl", "the demo model, SDXL's noise levels", ADDED,
           lambda facts: facts.model == "DemoModel" and _sd_table(facts)),
    Family("sdxl-refiner", "SDXL refiner", ADDED, lambda facts: facts.model == "SDXLRefiner" and _sd_table(facts),
           ("sdxl", "eps", "sd15")),
    Family("sdxl", "SDXL", ADDED, lambda facts: _latents("SDXL", facts) and _sd_table(facts), ("eps", "sd15")),
    Family("sd15", "Stable Diffusion 1.x and 2.x", ADDED, lambda facts: _latents("SD15", facts) and _sd_table(facts),
           ("eps", "sdxl")),
    Family("svd", "SVD and other models with continuous noise levels", ADDED,
           lambda facts: facts.levels.startswith(("ModelSamplingContinuous", "ModelSamplingCosmos"))),
    Family("eps", "models with a table of noise levels", ADDED, lambda facts: True, ("sdxl", "sd15")),
    Family("flux", "Flux", SHARE, _flux, ("flow", "sd3")),
    Family("sd3", "Stable Diffusion 3 and 3.5", SHARE, lambda facts: _latents("SD3", facts), ("flow", "flux")),
    Family("flow", "rectified flows", SHARE, lambda facts: True, ("sd3", "flux")),
)
BY_NAME = {family.name: family for family in FAMILIES}


def family_of(facts: ModelFacts) -> Family:
    """The family of a model; ValueError for one whose noise levels mean nothing here."""
    if facts.prediction == "img_to_img":
        raise ValueError(f"auto must have noise levels to place steps on; this model {IMG_TO_IMG}")
    if facts.meaning is None:
        raise ValueError(f"auto must know what sigma means; this model's sampling is {facts.levels}, of another pack; "
                         "learn a schedule on it with ART Train, or choose one by name")
    if not (math.isfinite(facts.sigma_max) and 0 < facts.sigma_min < facts.sigma_max):
        raise ValueError(f"auto must have a range of sigma; this model's runs from {facts.sigma_max:g} to "
                         f"{facts.sigma_min:g}; connect the model from before the node that changed its sampling")
    return next(family for family in FAMILIES if family.meaning == facts.meaning and family.fits(facts))


def choose(facts: ModelFacts, available: Collection[str]) -> Choice:
    """The family of a model, and the nearest one of the `available` that has a schedule.

    Raises ValueError for a model without a family, and where neither the family nor one near it has a schedule.
    """
    family = family_of(facts)
    taken = next((name for name in (family.name, *family.nearest) if name in available), None)
    if taken is None:
        near = f", nor for one near it ({', '.join(family.nearest)})" if family.nearest else ""
        raise ValueError(f"auto must find a schedule for the model's family, {family.name} ({family.title}: "
                         f"{facts.line}); there is none{near}; learn one on this model with ART Train and choose it by "
                         "name, or use another scheduler")
    reason = f"the model is of the family {family.name} ({family.title}): {facts.line}"
    if taken != family.name:
        reason += f"; there is no schedule for {family.name}, and {taken} is the nearest that has one"
    return Choice(family, taken, reason)


def schedule_meaning(schedule: Schedule) -> str:
    """What sigma means in a schedule, ADDED or SHARE: by its model_sampling, else by its family, else by its range."""
    sampling, family = schedule.provenance.get("model_sampling"), schedule.provenance.get("family")
    if isinstance(sampling, str):
        return SHARE if "CONST" in sampling.split(" + ") else ADDED
    if isinstance(family, str) and family in BY_NAME:
        return BY_NAME[family].meaning
    return SHARE if schedule.sigma_max <= HIGHEST_SHARE else ADDED


def cautions(facts: ModelFacts, schedule: Schedule) -> list[str]:
    """What may go wrong with a schedule on a model, one sentence each; empty if nothing is known to."""
    found = []
    if facts.meaning not in (None, schedule_meaning(schedule)):
        found.append(f"sigma is the {schedule_meaning(schedule)} in this schedule and the {facts.meaning} in this "
                     "model: the pictures will be wrong; choose auto, or a schedule of a model like this one")
    if facts.zero_snr and schedule.sigma_max < 0.9 * facts.sigma_max:
        found.append(f"the model's noise levels reach zero signal-to-noise ratio (sigma {facts.sigma_max:g}), the "
                     f"schedule starts at {schedule.sigma_max:g}: very dark and very bright pictures are lost; learn a "
                     "schedule on this model")
    if facts.few_levels:
        known = "few" if facts.table is None else str(facts.table)
        found.append(f"the model was distilled to {known} noise levels, which a schedule for a full model does not "
                     "meet; use the scheduler that its makers name, mostly sgm_uniform or simple")
    if _schnell(facts):
        found.append("Flux without a shift is Schnell, which was distilled to 1 to 4 steps; use simple there")
    return found
