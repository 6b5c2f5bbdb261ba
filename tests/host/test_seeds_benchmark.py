"""The benchmark of trials of several seeds: what its page says, and what it refuses to compare with."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import seeds
from benchmarks.chunks import save_whole
from benchmarks.matched import SECOND, trials
from benchmarks.matched_cells import BATCH, PLACES, Cell

pytestmark = pytest.mark.host
SDXL = PLACES[0]
SIZES = (0.8, 1.0, 1.3)  # of the errors of each seed's grid, over those of karras


def save(cell, folder, size, chunks=SECOND):
    """Errors of a cell: those of the noise times its size, give or take a little."""
    base, rng = np.random.default_rng(0), np.random.default_rng(round(100 * cell.sigmas[1]))
    for number in range(chunks):
        save_whole(cell.path(folder, number),
                   errors=size * base.uniform(0.9, 1.1, BATCH) * rng.uniform(0.9, 1.1, BATCH))


@pytest.fixture
def cells(tmp_path):
    """karras and a poor built-in in one column, and what trials of three seeds found."""
    built_in = [Cell(SDXL, "heun", 6, name, (14.6, 1.0 + size, 0.0)) for name, size in (("karras", 1.0), ("beta", 2.0))]
    jobs = [replace(job, seed=seed) for seed in seeds.SEEDS for job in trials([SDXL], ["heun"], [6])]
    for job in jobs:
        job.path(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        job.path(tmp_path).write_text(f'{{"sigmas": [14.6, {4.0 + job.seed}, 0.0]}}')
    found = seeds.cells_of(jobs, tmp_path)
    for cell, size in zip([*built_in, *found], (1.0, 2.0, *SIZES), strict=True):
        save(cell, tmp_path, size)
    return [*built_in, *found]


def test_each_seed_is_compared_with_the_strongest(cells, tmp_path):
    assert len({cell.folder(tmp_path) for cell in cells}) == 5
    found = seeds.measured(cells, tmp_path)
    assert [row[:5] for row in seeds.summary(found)[1:]] == [
        ["heun", "0", *"100"], ["heun", "1", *"010"], ["heun", "2", *"001"]]
    [_, [place, ratios]] = seeds.table(found, "heun", seeds.total)
    assert place == SDXL.title and [ratio[-1] for ratio in ratios.split()] == ["w", "t", "l"]
    assert [float(ratio[:-1]) for ratio in ratios.split()] == pytest.approx(SIZES, rel=0.02)


def test_seeds_agree_only_where_all_say_the_same(cells, tmp_path):
    """One wins, one is tied, one loses; then all but the last win."""
    assert seeds.agreement(seeds.measured(cells, tmp_path))[1] == ["heun", "1", "0", "0", "1", "0"]
    save(cells[3], tmp_path, 0.7)
    assert seeds.agreement(seeds.measured(cells, tmp_path))[1] == ["heun", "1", "0", "1", "0", "0"]


def test_the_page_tells_every_seed(cells, tmp_path):
    seeds.write(cells, tmp_path)
    page = (tmp_path / seeds.PAGE).read_text()
    assert "seeds --places sdxl-cfg1 --samplers heun --docs" in page and page.count("| heun |") == 4


def test_control_a_seed_that_was_not_measured_in_full_is_left_out(cells, tmp_path):
    """Negative control: its first noises alone would win."""
    half = replace(cells[4], sigmas=(14.6, 0.5, 0.0))
    save(half, tmp_path, 0.1, SECOND // 2)
    found = seeds.measured([*cells[:4], half], tmp_path)
    assert [row[1] for row in seeds.summary(found)[1:]] == ["0", "1"]
    assert seeds.agreement(found)[1] == ["heun", "0", "0", "0", "0", "0"]


def test_without_the_built_in_schedules_it_says_what_to_run(comfy, tmp_path, monkeypatch):
    monkeypatch.setattr(seeds, "built_in", lambda *_: [Cell(SDXL, "heun", 6, "karras", (14.6, 2.0, 0.0))])
    with pytest.raises(SystemExit, match="run `python -m benchmarks matched`"):
        seeds.main(["--places", "sdxl-cfg1", "--samplers", "heun", "--steps", "6", "--folder", str(tmp_path)])
