"""The benchmark of how many orbits a recording needs."""

import numpy as np
import torch

from art_nodes.core import record_orbits
from art_nodes.core.exact import image_gaussian
from benchmarks import orbits


def test_more_orbits_give_a_better_clock_and_all_of_them_the_best():
    noise = 14.6 * torch.randn(16, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    bank = record_orbits(image_gaussian(), noise, 14.6, 0.03, nodes=16)
    few, many = (np.median(orbits.costs(bank, count, np.random.default_rng(0))) for count in (1, 8))
    [whole, *_] = orbits.costs(bank, len(noise), np.random.default_rng(0))
    assert whole <= many <= few and 1 - 1e-6 <= whole < 1.05

