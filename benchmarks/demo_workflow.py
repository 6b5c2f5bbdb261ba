"""The demo's workflow in ComfyUI's API format: train, then render the same noise with every schedule."""

from dataclasses import dataclass

MODEL = "SDXL (EPS, sigma 0.0292-14.61)"
ART = "ART"
AYS = "AYS"
# The host's own schedules in the order of the table; all but AYS come from BasicScheduler. Of the
# ones left out (exponential, kl_optimal, ddim_uniform, linear_quadratic) none beats beta on this model.
BUILT_IN = ("karras", "normal", "simple", "sgm_uniform", "beta", AYS)
SCHEDULES = (ART, *BUILT_IN)
REFERENCE = "reference"
NEEDED = (
    "ARTDemoModel", "ARTTrain", "ARTSigmas", "AlignYourStepsScheduler", "BasicScheduler", "CFGGuider",
    "KSamplerSelect", "PreviewAny", "RandomNoise", "SamplerCustomAdvanced", "SaveImage", "SaveLatent",
)


@dataclass(frozen=True)
class Settings:
    """What the demo does. The defaults are those of `make demo`."""

    pictures: int = 128  # rendered with each schedule, all ten classes in turn
    shown: int = 10  # the first of them, one of each class
    steps: tuple[int, ...] = (6, 10)  # Euler steps
    cfg: float = 1.5
    # What is learned is ART Train's default.
    objective: str = "end:euler"
    orbits: int = 4
    nodes: int = 64
    iterations: int = 200
    # ART Train never sees the noise that the pictures are rendered from.
    train_seed: int = 1
    render_seed: int = 20_260_707
    # Second order at one call a step; twice the steps move no error in the table by 0.1 % (--check-reference).
    reference_sampler: str = "dpmpp_2m"
    reference_scheduler: str = "karras"
    reference_steps: int = 80
    check_reference: bool = False  # render it with twice the steps too
    name: str = "art-demo"  # of the schedule that is learned, and start of all names in the host's output folder


def sample_node(schedule: str, steps: int) -> str:
    """Id of the node that samples with a schedule."""
    return f"{schedule}-{steps}"


def save_node(schedule: str, steps: int) -> str:
    """Id of the node whose output "latents" names the file with the samples of a schedule."""
    return f"{schedule}-{steps}-save"


def reference_steps(settings: Settings) -> tuple[int, ...]:
    """The steps of the reference, then those of its check if there is one."""
    return (settings.reference_steps, 2 * settings.reference_steps)[:1 + settings.check_reference]


def phases(settings: Settings) -> dict[str, str]:
    """The nodes that take time, {node id: what happens}, in any order."""
    rendered = {sample_node(name, steps): f"render with {name}, {steps} steps"
                for name in SCHEDULES for steps in settings.steps}
    references = {sample_node(REFERENCE, steps): f"render the reference, {steps} steps"
                  for steps in reference_steps(settings)}
    return {"train": "learn the schedule (ART Train)", **references, **rendered}


def build(settings: Settings, known: dict) -> dict:
    """The whole workflow; `known` is the host's description of its nodes, for inputs left at their defaults."""
    workflow = {**_common(settings), **_training(settings, known)}
    for steps in reference_steps(settings):
        workflow |= _render(settings.name, REFERENCE, steps, _basic(settings.reference_scheduler), "fine")
    for steps in settings.steps:
        for name in SCHEDULES:
            workflow |= _render(settings.name, name, steps, _grid(name, known), "euler")
    return workflow


def missing_nodes(known: dict) -> list[str]:
    """Node types that the demo needs and the host does not have."""
    return [name for name in NEEDED if name not in known]


def _node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def _common(settings: Settings) -> dict:
    """Model, noise, guider and samplers, shared by everything that is rendered."""
    return {
        "model": _node("ARTDemoModel", dress=MODEL, garment="all classes in turn", batch_size=settings.pictures),
        "noise": _node("RandomNoise", noise_seed=settings.render_seed),
        "guider": _node("CFGGuider", model=["model", 0], positive=["model", 1], negative=["model", 2],
                        cfg=settings.cfg),
        "euler": _node("KSamplerSelect", sampler_name="euler"),
        "fine": _node("KSamplerSelect", sampler_name=settings.reference_sampler),
    }


def _training(settings: Settings, known: dict) -> dict:
    """ART Train, and the nodes that save its plot and its report."""
    chosen = {
        "model": ["model", 0], "positive": ["model", 1], "negative": ["model", 2], "latent_image": ["model", 3],
        "cfg": settings.cfg, "seed": settings.train_seed, "orbits": settings.orbits, "nodes": settings.nodes,
        "objective": settings.objective,
        "name": settings.name, "iterations": settings.iterations,
    }
    return {
        "train": _node("ARTTrain", **_defaults(known["ARTTrain"]) | chosen),
        "plot": _node("SaveImage", images=["train", 2], filename_prefix=settings.name),
        "report": _node("PreviewAny", source=["train", 3]),
    }


def _defaults(description: dict) -> dict:
    """Every widget of a node at its default: the host fills in none for a workflow that comes over HTTP."""
    inputs = {}
    for name, declared in (description["input"].get("required", {}) | description["input"].get("optional", {})).items():
        kind, options = declared[0], declared[1] if len(declared) > 1 else {}
        choices = kind if isinstance(kind, list) else options.get("options")
        if "default" in options:
            inputs[name] = options["default"]
        elif choices is not None:
            inputs[name] = choices[0] if choices else ""
    return inputs


def _basic(scheduler: str):
    """Makes the BasicScheduler node of a number of steps."""
    return lambda steps: _node("BasicScheduler", model=["model", 0], scheduler=scheduler, steps=steps, denoise=1.0)


def _grid(schedule: str, known: dict):
    """Makes the node whose output is the SIGMAS of a schedule, for a number of steps."""
    if schedule == ART:
        rest = _defaults(known["ARTSigmas"]) | {"schedule": ["train", 0], "model": ["model", 0], "denoise": 1.0}
        return lambda steps: _node("ARTSigmas", **rest | {"steps": steps})
    if schedule == AYS:
        return lambda steps: _node("AlignYourStepsScheduler", model_type="SDXL", steps=steps, denoise=1.0)
    return _basic(schedule)


def _render(prefix: str, schedule: str, steps: int, grid, sampler: str) -> dict:
    """Sigmas, sampling and saving for one schedule; latents, since 8-bit pictures would round the errors."""
    here = sample_node(schedule, steps)
    return {
        f"{here}-sigmas": grid(steps),
        here: _node("SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0], sampler=[sampler, 0],
                    sigmas=[f"{here}-sigmas", 0], latent_image=["model", 3]),
        save_node(schedule, steps): _node("SaveLatent", samples=[here, 0], filename_prefix=f"{prefix}-{here}"),
    }
