"""The node ART Train."""

from comfy_api.latest import io, ui

from ..core.learn import BUDGETS, TrainConfig
from ..core.objectives import OBJECTIVES, split_objective
from ..host.events import TrainingEvents
from ..host.library import times_lost
from ..host.training import METHODS, OBJECTIVE, train
from .newer import SEED_CONTROL, folded, found_by

# RK4 is for the paper's tables; the host has no such sampler. The paper's own comes last: by its name it is easily
# taken for the sampler's.
HOST_OBJECTIVES = [*(name for name in OBJECTIVES if name != "euler" and split_objective(name)[1] != "rk4"), "euler"]


def advanced(kind, name, **options):
    """An input that newer front ends fold away, with TrainConfig's default."""
    options.setdefault("default", getattr(TrainConfig, name, None))
    return kind.Input(name, **options, **folded(kind))


class ARTTrain(io.ComfyNode):
    """Learns a step schedule on the connected model and saves it."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="ARTTrain",
            display_name="ART Train",
            category="ART",
            description="Learns where a sampler should step on this model: follows a few orbits of the model, learns "
                        "a schedule on them, and saves it in models/art_schedules for ART Sigmas.",
            **found_by("learn schedule", "train scheduler", "optimal steps", "step schedule"),
            is_output_node=True,
            hidden=[io.Hidden.unique_id, io.Hidden.extra_pnginfo],
            inputs=[*main_inputs(), *advanced_inputs()],
            outputs=[
                io.Custom("ART_SCHEDULE").Output(display_name="schedule", tooltip="The schedule, for ART Sigmas."),
                io.Sigmas.Output(display_name="sigmas", tooltip="Its sigmas at 'steps' steps, for a custom sampler."),
                io.Image.Output(display_name="plot", tooltip="The sigmas beside karras and normal, and the learning."),
                io.String.Output(display_name="report", tooltip="What it took, and how ComfyUI's schedulers compare."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name=None, **_others):
        """So that it runs again when what it saved is gone."""
        return times_lost(name)

    @classmethod
    def execute(cls, **inputs):
        with TrainingEvents.of_node(cls.hidden) as events:
            trained = train(**inputs, events=events)
        preview = ui.PreviewImage(trained.plot, cls=cls).as_dict()
        return io.NodeOutput(*trained.outputs, ui={**preview, "text": [trained.report], "art_train": [events.record()]})


def main_inputs() -> list:
    """What every user sets."""
    return [
        io.Model.Input("model", tooltip="The model to learn on, with its LoRAs, shift and other patches."),
        io.Conditioning.Input("positive", tooltip="A prompt like those you will use. Better a batch of prompts, with a "
                                                  "latent_image of the same batch size and as many orbits, for trials "
                                                  "three times as many: a model call takes as many prompts as it has "
                                                  "latents."),
        io.Conditioning.Input("negative", tooltip="The negative prompt; to a model that takes none connect the "
                                                  "positive again."),
        io.Latent.Input("latent_image", tooltip="Only its size counts, and its batch size: so many pictures go into "
                                                "one model call."),
        io.Float.Input("cfg", default=7.0, min=0.0, max=100.0, step=0.1, round=0.01,
                       tooltip="The guidance you will sample with."),
        io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=SEED_CONTROL,
                     tooltip="Of the learner and of the first batch of noise; the next ones take seed + 1 and so on. "
                             "The same seed gives the same schedule."),
        io.Int.Input("orbits", default=4, min=1, max=1024,
                     tooltip="How many pictures are followed from pure noise: 4 for Euler, 24 for other samplers or "
                             "trials, 80 for spectrum. More is steadier and takes longer."),
        io.Int.Input("nodes", default=64, min=8, max=1024,
                     tooltip="Model calls along each orbit. More resolves the orbit better and takes longer."),
        io.Int.Input("steps", default=10, min=1, max=10000,
                     tooltip="How many steps you sample with. The schedule serves any number: it is fitted to 3 to 10, "
                             "12, 15, 20, 25, 30 and this one, up to 30; others are read from the nearest. trial_calls "
                             "improve it at this one only."),
        io.String.Input("name", default="my_schedule",
                        tooltip="Name of the saved schedule: letters, digits, '.', '_' and '-', a letter or digit "
                                "first. If it is taken by another schedule, _2, _3 ... is appended."),
    ]


def advanced_inputs() -> list:
    """The learner's settings, then objective, trials and references. New inputs go last: saved workflows need it."""
    return [
        advanced(io.Combo, "method", options=list(METHODS), default=METHODS[0],
                 tooltip="How the paper's clock is made: ART-RL learns it by actor-critic, closed form computes the "
                         "best one that all recorded orbits can share. Only with the objective euler is it used for "
                         "sampling; all others sample with grids that are fitted by descent."),
        advanced(io.Int, "iterations", min=10, max=100000,
                 tooltip="Actor-critic updates of the paper's clock. This and all down to budget make a difference "
                         "with the objective euler and the method ART-RL only."),
        advanced(io.Int, "episodes", min=2, max=4096, tooltip="Parallel roll-outs in each update."),
        advanced(io.Int, "clock_nodes", min=8, max=1024, tooltip="Steps of the clock that is learned."),
        advanced(io.Float, "lam", min=0.0001, max=1.0, step=0.01, round=0.0001,
                 tooltip="Temperature: its square root is the relative noise of the policy. 0.05 to 0.1 works."),
        advanced(io.Float, "learning_rate", min=0.001, max=1.0, step=0.05, round=0.001,
                 tooltip="The actor's first step as a share of a Newton step; annealed to 0."),
        advanced(io.Float, "trace", min=0.0, max=1.0, step=0.01, round=0.001,
                 tooltip="Decay of the lambda-returns in a 64th of the clock's time."),
        advanced(io.Float, "penalty", min=0.01, max=1000.0, step=0.5, round=0.01,
                 tooltip="Weight of missing the time budget, with the budget kept by price. Large values bias the "
                         "clock."),
        advanced(io.Int, "knots", min=4, max=256, tooltip="Hat functions that shape the speed over the clock."),
        advanced(io.Combo, "budget", options=list(BUDGETS), optional=True,
                 tooltip="What keeps the time budget: feedback on the time left, which is the more accurate, or the "
                         "paper's price alone."),
        io.Combo.Input("objective", options=HOST_OBJECTIVES, default=OBJECTIVE, optional=True,
                       tooltip="Choose end:<the sampler you use>: its pictures come out nearest to the exact ones. "
                               "detail: the same, with fine structure counting for more. spectrum: pictures come out "
                               "as sharp as they should, the only kind for samplers that add noise. residual: what "
                               "single steps leave, not for multistep samplers such as dpmpp_2m. If yours is not "
                               "listed, take end:euler. euler is not for the sampler of that name: it is the paper's, "
                               "one clock for every number of steps. None of them takes further model calls."),
        advanced(io.Int, "trial_calls", default=0, min=0, max=1000000, step=256, optional=True,
                 tooltip="Extra model calls, of which a batch of 4 counts as 4, for trying lists of 'steps' sigmas "
                         "with the objective's sampler on the model itself, ComfyUI's schedules among them. 0 tries "
                         "none; 512 choose the best, 4096 also improve it (spectrum only chooses). Record 8 orbits or "
                         "more for it, better 24. Not with the objective euler, nor for samplers that add noise."),
        io.Latent.Input("references", optional=True,
                        tooltip="For spectrum:<sampler>: encoded pictures as sharp as you want yours, of the size of "
                                "latent_image; a few dozen. Without them the aim is the model's own finely "
                                "sampled ones."),
    ]
