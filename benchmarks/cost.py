"""What ART Train costs beside sampling, on networks of full size; `python -m benchmarks cost`.

The host's own networks of SD 1.5, SDXL and Flux as their checkpoints build them, at the size of picture that they are
for, with random weights: what they paint is nothing, but calls take as long and memory is as much. ART Train with its
defaults is timed between sampling 2 pictures of 30 Euler steps and 2 more, of which 8 take about as many model calls.
With ART_HOST_GPU=1 on an NVIDIA GPU, else on the CPU, where a call takes seconds to minutes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.comfy.inprocess import import_host, on_gpu
from benchmarks.machine import this_machine
from benchmarks.options import chosen
from benchmarks.pages import as_text

PICTURES, STEPS, SAMPLER = 2, 30, "euler"
ALIKE = 8  # pictures, of as many model calls as training
PRECISION = {"SD 1.5": torch.float16, "SDXL": torch.float16, "Flux": torch.bfloat16}
CFG = {"SD 1.5": 7.0, "SDXL": 7.0, "Flux": 1.0}


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of work, and the most of a GPU's memory meanwhile, in GiB; 0 on a CPU."""
    if on_gpu():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    work()
    if not on_gpu():
        return time.perf_counter() - began, 0.0
    torch.cuda.synchronize()
    return time.perf_counter() - began, torch.cuda.max_memory_allocated() / 2**30


class Bench:
    """A network with its inputs, one picture a model call."""

    def __init__(self, name: str):
        import_host()
        from benchmarks.comfy import networks

        self.name, self.cfg = name, CFG[name]
        *self.given, self.latent = networks.inputs(name, PRECISION[name], batch=1, full=True)
        self.bank_bytes, self.recording = 0, 0.0

    def sample(self, pictures: int, steps: int) -> None:
        """Pictures one after another, each of so many steps."""
        import comfy.samplers

        from art_nodes.host.comparing_samplers import sample
        from art_nodes.host.recording import gaussian

        empty = self.latent["samples"]
        sampling = self.given[0].get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", steps)
        for seed in range(pictures):
            sample(*self.given, self.cfg, gaussian(empty, seed), empty, SAMPLER, sigmas, seed, lambda sigma: None)

    def train(self, **settings) -> None:
        """ART Train, saved where nothing is kept; `recording` are the seconds of its model calls."""
        import folder_paths

        from art_nodes.host import library, training

        kept = training.record

        def record(*args, **more):
            began = time.perf_counter()
            bank = kept(*args, **more)
            self.recording = time.perf_counter() - began
            self.bank_bytes = sum(part.nbytes for of in (bank, bank.spectrum) if of for part in vars(of).values()
                                  if isinstance(part, np.ndarray))
            return bank

        with tempfile.TemporaryDirectory() as folder:
            places = {library.FOLDER: ([folder], {".safetensors"})}
            with patch.dict(folder_paths.folder_names_and_paths, places), patch.object(training, "record", record):
                settings = {"orbits": 4, "nodes": 64, **settings}
                training.train(*self.given, self.latent, cfg=self.cfg, seed=1, steps=10, name="cost", **settings)


def row(bench: Bench, pictures: int = PICTURES, steps: int = STEPS, **settings) -> list[str]:
    """Of the table."""
    bench.sample(1, 2)  # loads the network, and lets libraries choose their kernels
    sampling, plain = timed(lambda: bench.sample(pictures, steps))
    training, memory = timed(lambda: bench.train(**settings))
    again, _ = timed(lambda: bench.sample(pictures, steps))
    size = "by".join(str(8 * side) for side in bench.latent["samples"].shape[-2:])
    seconds = min(sampling, again) * ALIKE / pictures
    return [bench.name, size, str(PRECISION[bench.name]).removeprefix("torch."), f"{bench.cfg:g}",
            f"{ALIKE * steps / seconds:.1f}", f"{seconds:.1f}", f"{bench.recording:.1f}",
            f"{training - bench.recording:.1f}", f"{training / seconds:.2f}", f"{plain:.2f}", f"{memory:.2f}",
            f"{bench.bank_bytes / 2**20:.1f}"]


HEAD = ["network", "pixels", "precision", "cfg", "calls a second", f"{ALIKE} pictures, s", "recording, s",
        "learning, s", "ratio", "GPU memory sampling, GiB", "training", "bank, MiB"]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks cost", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(CFG), help=f"of {', '.join(CFG)}")
    args = parser.parse_args(argv)
    rows = [HEAD]
    with torch.inference_mode():
        for name in chosen(parser, args.networks, CFG):
            rows.append(row(Bench(name)))
            print(as_text([HEAD, rows[-1]]), flush=True)
    print(f"\n{as_text(rows)}\n{this_machine()}")
