"""The benchmark on fresh noise: what is measured again, and what its page says of both noises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import fresh, matched
from benchmarks.chunks import save_whole
from benchmarks.duels import Duel
from benchmarks.matched import SECOND
from benchmarks.matched_cells import ART, BATCH, FRESH, HELD_OUT, PLACES, Cell, FreshCell, Worker, own

pytestmark = pytest.mark.host
SDXL = PLACES[0]
MINE = ART + own("heun") + ", tried"


def save(cell, folder, size, chunks=SECOND):
    """Errors of a cell: those of the noise times its size, give or take a little."""
    base, rng = np.random.default_rng(cell.first), np.random.default_rng(round(100 * cell.sigmas[1]))
    for number in range(chunks):
        save_whole(cell.path(folder, number),
                   errors=size * base.uniform(0.9, 1.1, BATCH) * rng.uniform(0.9, 1.1, BATCH))


@pytest.fixture
def found(tmp_path):
    """A column of ours, two built-ins, and one that is beaten by both; ours wins by a tenth."""
    sizes = {MINE: 0.9, "karras": 1.0, "beta": 1.02, "normal": 2.0}
    cells = [Cell(SDXL, "heun", 6, name, (14.6, 1.0 + size, 0.0)) for name, size in sizes.items()]
    for cell, size in zip(cells, sizes.values(), strict=True):
        save(cell, tmp_path, size)
    return matched.columns(cells)


def test_what_decides_a_column_is_measured_on_other_noise(found, tmp_path):
    cells = fresh.deciders(found, tmp_path)
    assert [cell.schedule for cell in cells] == [MINE, "karras", "beta"]
    [column] = found.values()
    for cell, before in zip(cells, column, strict=False):
        assert cell.sigmas == before.sigmas and cell.folder(tmp_path) != before.folder(tmp_path)
    [(_, numbers), *_] = matched.missing(cells, SECOND, tmp_path)
    assert numbers == (0,) and not len(cells[0].load(tmp_path))


def test_a_column_without_ours_or_two_built_ins_is_not(found, tmp_path):
    [column] = found.values()
    for kept in (column[1:], column[:2]):
        assert fresh.deciders(matched.columns(kept), tmp_path) == []


def test_a_chunk_is_of_the_seeds_of_its_cell(tmp_path):
    """The samples and the fine solution that they are compared with."""
    asked = []

    class Told(Worker):
        def __init__(self):
            self.root = tmp_path

        def stage(self, place, *_, **__):
            return self

        def end(self, sampler, sigmas, *seeds):
            asked.append(seeds)
            return torch.zeros(len(seeds) * BATCH, 1)

        def references(self, place, seeds):
            asked.append(tuple(seeds))
            return dict.fromkeys(seeds, 1.0)

    cell = FreshCell(SDXL, "heun", 6, MINE, (14.6, 1.0, 0.0))
    Told().compute((cell, (0, 3)))
    Told().compute((Cell(**vars(cell)), (3,)))
    assert asked == [(FRESH, FRESH + 3)] * 2 + [(HELD_OUT + 3,)] * 2


def test_the_page_tells_what_became_of_each_verdict(found, tmp_path):
    cells = fresh.deciders(found, tmp_path)
    assert fresh.pairs(found, cells, tmp_path) == {}
    for cell, size in zip(cells, (1.1, 1.0, 1.02), strict=True):
        save(cell, tmp_path, size)
    both = fresh.pairs(found, cells, tmp_path)
    [(before, after)] = both.values()
    assert (before.verdict, after.verdict) == ("wins", "loses") and before.rival == after.rival == "karras"
    fresh.write(both, tmp_path)
    page = (tmp_path / fresh.PAGE).read_text()
    assert "| heun | 1 | 1 | 0 | 0 | 0.9" in page and "| 0 | 0 | 1 | 1.1" in page
    assert "| wins | 0 | 0 | 1 |" in page and "0.90w → 1.10l" in page


def test_control_half_of_the_noises_tell_nothing(found, tmp_path):
    """Negative control: they would turn the verdict."""
    cells = fresh.deciders(found, tmp_path)
    for cell, size in zip(cells, (1.1, 1.0, 1.02), strict=True):
        save(cell, tmp_path, size, SECOND if cell.schedule != "beta" else SECOND // 2)
    assert fresh.pairs(found, cells, tmp_path) == {}


def test_means_and_counts_are_of_each_sampler():
    duels = [(Duel("karras", 0.5, 0.4, 0.6), Duel("beta", 0.6, 0.5, 0.7)),
             (Duel("karras", 2.0, 0.9, 3.0), Duel("karras", 2.4, 1.1, 4.0))]
    both = {(SDXL, "euler", steps): pair for steps, pair in zip((4, 5), duels, strict=True)}
    both[replace(SDXL, cfg=3.0), "heun", 5] = duels[0]
    assert fresh.summary(both)[1:] == [
        ["euler", "2", *"110", "1.000", *"101", "1.200", "1.200"],
        ["heun", "1", *"100", "0.500", *"100", "0.600", "1.200"]]
    assert fresh.moves(both)[1:] == [["wins", *"200"], ["tied", *"001"], ["loses", *"000"]]
    assert fresh.table(both, "euler") == [["steps", "4", "5"], [SDXL.title, "0.50w → 0.60w", "2.00t → 2.40l"]]


def test_without_the_comparison_it_says_what_to_run(comfy, tmp_path, monkeypatch):
    monkeypatch.setattr(fresh, "built_in", lambda *_: [Cell(SDXL, "heun", 6, "karras", (14.6, 2.0, 0.0))])
    with pytest.raises(SystemExit, match="run `python -m benchmarks matched`"):
        fresh.main(["--places", "sdxl-cfg1", "--samplers", "heun", "--steps", "6", "--folder", str(tmp_path)])
