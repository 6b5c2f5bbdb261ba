"""What the host tells of a MODEL, as the plain facts of families.py, and the schedules there are for families."""

import dataclasses
from pathlib import Path

from ..core import Schedule, ScheduleFileError
from ..core.checks import MIN_NODES
from . import library
from .families import FAMILIES, SHARE, ZERO_SNR_SIGMA, Choice, ModelFacts, choose, prediction_of
from .recording import noise_table, sampling_name

CLOCK = library.AUTOS[f"{library.AUTO}-clock"]  # how names of the paper's clocks end


def sampling_facts(sampling, **known) -> ModelFacts:
    """What a model_sampling tells by itself; `known` are further fields of ModelFacts."""
    bases = {base.__name__ for base in type(sampling).__mro__}
    table, high, shift = _table_size(sampling), float(sampling.sigma_max), getattr(sampling, "shift", None)
    return ModelFacts(
        prediction=prediction_of(bases),
        levels=sampling_name(sampling).split(" + ")[0], sigma_max=high, sigma_min=float(sampling.sigma_min),
        table=table,
        # A rescaled table need not say that it was: nodes may set it from outside.
        zero_snr=table is not None and high > ZERO_SNR_SIGMA,
        shift=None if shift is None else float(shift), **known,
    )


def _table_size(sampling) -> int | None:
    """How many noise levels a model knows, if only those of a table."""
    table = noise_table(sampling)
    if table is not None:
        return len(table)
    # Too short a table to record orbits on is a table all the same.
    known = getattr(sampling, "sigmas", None)
    return len(known) if known is not None and len(known) < MIN_NODES else None


def model_facts(model) -> ModelFacts:
    """What a MODEL tells, with all its patches."""
    return sampling_facts(model.get_model_object("model_sampling"), model=type(model.model).__name__,
                          latent_format=type(model.get_model_object("latent_format")).__name__)


def family_schedules(ending: str = "") -> dict[str, str]:
    """Family -> name in the library of its schedule: the family's own, or the one beside it with this ending.

    A file that was saved here under such a name counts only if it says that it is for the family.
    """
    files = library.schedule_files()
    names = {family.name: family.name + ending for family in FAMILIES}
    return {family: name for family, name in names.items() if name in files and _is_for(family, files[name])}


def _is_for(family: str, path: Path) -> bool:
    if path.parent == library.BUNDLED:
        return True
    try:
        return Schedule.load(path).provenance.get("family") == family
    except ScheduleFileError:
        return False


def choose_schedule(facts: ModelFacts, ending: str = "") -> tuple[Choice, Schedule]:
    """The choice for a model and its schedule, of `library.AUTOS` the one with this ending.

    A family without such a one gives its own, and the reason says so; so does a rectified flow asked for its clock.
    ValueError says what to do where there is none.
    """
    own = family_schedules()
    choice, remark = choose(facts, own), ""
    name = (own | family_schedules(ending))[choice.taken]
    if not name.endswith(ending):
        remark = f"; there is no {choice.taken}{ending}, and {name} stands in"
    elif ending == CLOCK and choice.family.meaning == SHARE:  # what docs/bundled.md measures Heun with
        remark = f"; on a rectified flow it is what Heun gets in place of {name}"
        name = own[choice.taken]
    return dataclasses.replace(choice, taken=name, reason=choice.reason + remark), library.load_schedule(name)
