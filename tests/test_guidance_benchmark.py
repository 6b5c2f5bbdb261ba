"""The tables of `python -m benchmarks guidance`, and what the docs quote of its page."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from art_nodes.core.objectives import SamplerError
from benchmarks import guidance, seed_tables
from benchmarks.matched_cells import Cell
from tests.core import targets

DOCS = Path(__file__).parents[1] / "docs"


def test_a_row_tells_every_seeds_ratio_to_the_strongest_built_in(monkeypatch, tmp_path):
    """Of errors made up: the built-in that is least rules, one that is not finite is no rival."""
    place, noise = guidance.PLACES[0], np.random.default_rng(0).uniform(0.9, 1.1, 64)
    sizes = {"karras": 2.0, "beta": 1.0, "broken": np.nan}
    sizes |= {seed_tables.title(kind, seed): size * (1 + 0.01 * seed) for seed in guidance.SEEDS
              for kind, size in zip(guidance.KINDS, (1.5, 0.7, 0.5, 0.6, 0.99), strict=True)}
    cells = [Cell(place, sampler, steps, name, (1.0, 0.0)) for sampler in guidance.SAMPLERS for steps in guidance.STEPS
             for name in sizes]
    monkeypatch.setattr(Cell, "load", lambda cell, folder: noise * sizes[cell.schedule])
    rows = seed_tables.rows_of(cells, guidance.KINDS, tmp_path, guidance.CHUNKS)
    assert len(rows) == 1 + len(guidance.SAMPLERS) * len(guidance.STEPS)
    assert rows[1][3:] == ["beta", f"{np.sqrt((noise**2).mean()):.3f}", "1.50, 1.51, 1.53", "0.70, 0.71, 0.71",
                           "0.50, 0.50, 0.51", "0.60, 0.61, 0.61", "0.99, 1.00, 1.01"]
    [_, told] = seed_tables.summary(rows)
    assert told == [place.title, "1.51, 0 of 6", "0.71, 6 of 6", "0.50, 6 of 6", "0.61, 6 of 6", "1.00, 0 of 6"]
    assert [row[0] for row in seed_tables.summary(rows, by=1)] == ["sampler", *guidance.SAMPLERS]


def test_a_power_of_the_cfg_is_that_of_another_cfg():
    """What grids are fitted with: R divided by it."""
    bank, reaches = targets.bank("image"), []
    told = dataclasses.replace(bank, metadata={"cfg": 7.0})
    for power in guidance.POWERS.values():
        reaches.append(SamplerError(guidance.as_of_power(told, power), "end:euler").reach)
    plain = SamplerError(bank, "end:euler").reach
    assert reaches == pytest.approx([plain / 7**power for power in guidance.POWERS.values()])
    assert reaches[2] == SamplerError(told, "end:euler").reach


def tables(page: str) -> list[list[str]]:
    """Rows of a page's tables."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (DOCS / page).read_text().splitlines()
            if line.startswith("|")]


def test_what_is_quoted_is_what_the_page_has():
    titles, known = [place.title for place in guidance.PLACES], guidance.KINDS.index(guidance.KNOWN)
    found, quoted = ({row[0]: row[1:] for row in tables(page) if len(row) == 1 + len(guidance.KINDS)
                      and row[0] in titles} for page in ("guidance.md", "measured.md"))
    assert list(found) == list(quoted) == titles
    assert {place: [cell.removesuffix(" of 6") for cell in row] for place, row in found.items()} == quoted
    readme = " ".join((DOCS.parent / "README.md").read_text().split())
    demo = {place: row[known] for place, row in found.items() if not place.startswith("labelled")}
    exact = [row[known].split(", ") for place, row in found.items() if place not in demo]
    assert len(demo) == 4 and all(cell.endswith("6 of 6") for cell in demo.values())
    won, told = re.search(r"every seed is in (\d+) of 48, at (0\.\d\d) times", readme).groups()
    assert int(won) == sum(int(cell.split()[0]) for _, cell in exact) and len(exact) == 8
    assert float(told) == pytest.approx(mean_of(ratio for ratio, _ in exact), abs=0.0051)
    told = re.search(r"at (0\.\d\d) times its error with SDXL's noise levels and (0\.\d\d) with EDM's", readme)
    for word, dress in zip(told.groups(), ("SDXL", "EDM"), strict=True):
        ratios = [cell.split(",")[0] for place, cell in demo.items() if place.startswith(dress)]
        assert float(word) == pytest.approx(mean_of(ratios), abs=0.0051)


def mean_of(ratios) -> float:
    """The geometric one."""
    return float(np.exp(np.mean(np.log([float(ratio) for ratio in ratios]))))
