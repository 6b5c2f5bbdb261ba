"""How far the fine solutions themselves are off that `matched` measures by; `python -m benchmarks reference`.

RMS difference, in units of the data's deviation, of DPM++ 2M on karras at several numbers of steps from the same at
FINEST and from RES multistep there, on one batch of held-out noise.
"""

import argparse

import torch

from art_nodes.core.scores import total
from benchmarks.machine import this_machine
from benchmarks.matched_cells import BATCH, HELD_OUT, MEASURED, Place, Stage
from benchmarks.options import named
from benchmarks.pages import as_text

STEPS, FINEST = (160, 640), 1280
OTHER = "res_multistep"


def drift(place: Place, steps: tuple[int, ...] = STEPS, finest: int = FINEST) -> list[float]:
    """RMS difference of each number of steps, and of the other sampler at the finest, from the finest."""
    stage = Stage(place)
    from art_nodes.host.comparing import REFERENCE_SAMPLER, reference_grid

    def end(sampler: str, count: int) -> torch.Tensor:
        return stage.end(sampler, reference_grid(stage.sampling, count).tolist(), HELD_OUT).clone()

    truth = end(REFERENCE_SAMPLER, finest)
    ends = [*(end(REFERENCE_SAMPLER, count) for count in steps), end(OTHER, finest)]
    return [total((one - truth).flatten(1).double().square().mean(1).sqrt().numpy()) for one in ends]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks reference", description=__doc__.splitlines()[0])
    parser.add_argument("--places", default=",".join(place.name for place in MEASURED))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = [["place", *(f"{steps} steps" for steps in STEPS), f"{OTHER}, {FINEST}", "measured by"]]
    for place in named(parser, args.places, MEASURED):
        found = (f"{one:.6f}" for one in drift(place))
        rows.append([place.title, *found, f"{place.reference_steps} steps"])
        print("  ".join(rows[-1]), flush=True)
    print(f"\n{this_machine()}; {BATCH} noises, from {FINEST} steps\n{as_text(rows)}")


if __name__ == "__main__":
    main()
