"""`python -m benchmarks NAME [options]`: runs one of the scripts of this folder."""

import importlib
import sys

from threadpoolctl import threadpool_limits

COMMANDS = {
    "table1": "the paper's one-dimensional table against ART-RL and the closed form",
    "learn": "how well and how fast ART-RL learns, against the closed form",
    "state-dependence": "what an actor that sees x gains over one clock for all",
    "orbits": "how many orbits a recording needs",
    "half": "what is learned of a network that computes in half precision",
    "cost": "what ART Train costs beside sampling, on networks of full size",
    "demo": "train and compare on the demo model in a real ComfyUI",
    "make-bundled": "learn a bundled schedule on a checkpoint in a running ComfyUI",
    "bundle-demo": "learn the bundled schedules of the demo model",
    "carry-over": "bundled schedules of families whose weights are not here",
    "bundled": "how good schedules are on models that they were not learned on",
    "train-demo": "train the bundled demo model",
    "train-photos": "train the photo model, on 32x32 patches of photographs",
    "bundle-photos": "the photo model's weights in half precision, samples, spectrum and model card",
    "train-classifier": "train the classifier that judges the demo model's samples",
    "judge-demo": "share of the demo model's samples that the classifier takes for the class asked for",
    "mnist-style": "the paper's FID tables, of RK4, Heun and Euler, on the demo model",
    "objectives": "whether our objectives order grids as the true end error does",
    "growth": "whether a recording tells how much errors grow",
    "methods": "other published ways to find a schedule on a model, beside ours",
    "guidance": "end errors under guidance, and what it is worth to know of it",
    "matched": "ours against every built-in schedule at matched model calls, in the host",
    "intervals": "whether 95 % intervals hold the truth in 95 % of cases",
    "reference": "how far the fine solutions are off that `matched` measures by",
    "trial": "what trying grids on the model adds to what was learned on recordings",
    "seeds": "whether what trials found in the matched comparison holds for other seeds",
    "fresh": "whether the matched comparison holds on noise that nothing was judged on before",
    "labels": "whether what trials found holds for labels that they were not made on",
    "attainable": "how good any grid could be, found at a price that no user could pay",
    "fid": "FID of ours and of every built-in schedule at matched model calls, in the host",
    "invert-ays": "whether a published AYS table tells the stiffness of its checkpoint",
    "stochastic": "what a clock is worth to samplers that add noise, exactly",
    "screenshots": "the README's screenshots, from the real page",
    "transfer": "a clock where it was not learned: other step counts, ranges and data",
}
MODULES = {"train-classifier": "classifier"}


def main() -> int:
    """Run the command named on the command line; 2 and a list of what exists for any other name."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        print("usage: python -m benchmarks NAME [options]\n")
        print("\n".join(f"  {command:18s}{text}" for command, text in COMMANDS.items()))
        return 2
    module = importlib.import_module(f"benchmarks.{MODULES.get(name, name.replace('-', '_'))}")
    # On a busy machine the threads of numpy's BLAS wait for each other: learning takes ten times as long.
    with threadpool_limits(1, user_api="blas"):
        return module.main(sys.argv[2:]) or 0


if __name__ == "__main__":
    sys.exit(main())
