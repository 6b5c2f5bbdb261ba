"""The README's code runs as it stands, and what it and docs/measured.md quote is what the pages of results say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BEFORE = """
import torch
from art_nodes.core.exact import gaussian
denoiser, sigma_max, sigma_min = gaussian(), 14.6, 0.03
noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
"""
AFTER = """
assert sigmas.shape == (11,) and sigmas[-1] == 0 and 10 in schedule.grids and schedule.cost(bank) < 1.02
"""


def test_the_code_runs_as_it_stands(tmp_path):
    code = re.search(r"## In Python.+?```python\n(.+?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    done = subprocess.run([sys.executable, "-c", BEFORE + code + AFTER], cwd=tmp_path, text=True, capture_output=True,
                          env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.safetensors").is_file()


SAMPLERS = ("euler", "heun", "dpmpp_2m", "res_multistep", "deis", "uni_pc")
MAIN = SAMPLERS[:3]
PAGES = ("results.md", "results-exact.md")


def rows(text: str, after: str) -> list[list[str]]:
    """The cells of the first table after some words, without its head."""
    lines = text[text.index(after):].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = lines[first:next(i for i, line in enumerate([*lines[first:], ""]) if not line.startswith("|")) + first]
    return [[cell.strip().replace("*", "") for cell in line.strip("|").split("|")] for line in table[2:]]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.fixture(scope="module")
def verdicts() -> dict[tuple[str, str], list[list[str]]]:
    """(sampler, objective) -> of each page: wins, tied, loses, mean, worst; by medians without worst."""
    told = {}
    for name in PAGES:
        for sampler, schedule, *numbers in rows(page(name), "## Who wins"):
            told.setdefault((sampler, schedule.removeprefix("ART ")), []).append(numbers)
    return told


def test_the_table_of_all_samplers_is_that_of_the_pages(verdicts):
    quoted = {cells[0]: cells[1:] for cells in rows((ROOT / "README.md").read_text(), "**All samplers**")}
    assert tuple(quoted) == SAMPLERS
    for sampler, cells in quoted.items():
        for numbers, part in zip(verdicts[sampler, f"end:{sampler}, tried"], (cells[:4], cells[4:]), strict=True):
            assert part == [*numbers[:3], f"{float(numbers[3]):.2f}"], sampler


def test_what_is_told_of_cfg_3_is_what_its_page_has():
    found = {sampler: numbers for sampler, _, *numbers in rows(page("results-guided.md"), "## Who wins")}
    quoted = {sampler: cells for sampler, *cells in rows(page("measured.md"), "Made anew for three samplers")}
    assert tuple(found) == tuple(quoted) == MAIN
    for sampler, cells in quoted.items():
        wins, tied, loses, mean, _worst, *medians = found[sampler]
        assert cells == [wins, tied, loses, f"{float(mean):.2f}", ", ".join(medians[:3])], sampler
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert "Euler wins 16 of 16 there (mean ratio 0.77), Heun and DPM++ 2M 13 each with 3 tied (0.52 and 0.67)" \
           in readme


def test_the_table_with_and_without_a_trial_is_that_of_the_pages(verdicts):
    quoted = rows(page("measured.md"), "# ")
    for sampler, objective, *cells in quoted:
        for numbers, part in zip(verdicts[sampler, objective], (cells[:5], cells[5:]), strict=True):
            assert part[:3] == numbers[:3] and abs(float(part[3]) - float(numbers[3])) < 0.0051, (sampler, objective)
            assert part[4] == ", ".join(numbers[5:8]), (sampler, objective)
    assert len(quoted) == 2 * len(SAMPLERS)


def test_what_is_told_of_where_ours_is_not_the_best_is_that_of_the_pages():
    listed = [rows(page(name), "## Where ours, tried, is not the best") for name in PAGES]
    found = [[(sampler, place, int(steps), float(ratio.split()[0]), verdict)
              for sampler, place, steps, ratio, _, verdict in part] for part in listed]
    told = " ".join(page("measured.md").split())
    worse = [[each for each in part if each[0] not in MAIN and each[3] > 1.02] for part in found]
    assert f"Of the other 216 columns {sum(map(len, worse))} are more than 2 % above the best built-in, " \
           f"{len(worse[0])} of them on trained models" in told
    for sampler, words in (("res_multistep", "RES multistep"), ("deis", "DEIS"), ("uni_pc", "UniPC")):
        assert f"- {words} {sum(each[0] == sampler for part in worse for each in part)}:" in told
        named = told[told.index(f"- {words} "):].split(";" if sampler == "uni_pc" else " - ")[0]
        for *_, ratio, _ in (each for each in worse[0] if each[0] == sampler):
            assert f"{ratio:.2f}" in named, (sampler, ratio)
    lost = [each for part in found for each in part if each[0] in MAIN and each[4] == "loses"]
    assert [(each[0], each[2]) for each in lost] == [("heun", 4), ("dpmpp_2m", 5)]
    assert "Heun's 4 steps on the digits (1.44 times beta57) and DPM++ 2M's 5 there (1.07" in told
    tied = [each[2] for each in found[1] if each[0] == "dpmpp_2m" and each[4] == "tied"]
    assert "tied DPM++ 2M's " + ", ".join(map(str, tied[:-1])) + f" and {tied[-1]} there" in told


def test_what_is_told_of_the_advice_by_fid_is_what_its_page_has():
    tables = {sampler: {name: [float(cell) for cell in cells if cell] for name, *cells in
                        rows(page("fid.md"), f"### {sampler}, 280 samples")} for sampler in ("euler", "dpmpp_2m")}
    euler, dpmpp = tables.values()
    for name in ("GITS", "AYS SD1", "AYS SDXL", "beta57", "kl_optimal"):
        assert all(theirs < ours for theirs, ours in zip(euler[name], euler["ART end:euler"], strict=True)), name
    best = [min(column) for column in zip(*(cells for name, cells in dpmpp.items()
                                            if not name.startswith("ART") and len(cells) == 4), strict=True)]
    for kind in ("end", "detail", "spectrum"):
        assert all(theirs < ours for theirs, ours in zip(best, dpmpp[f"ART {kind}:dpmpp_2m"], strict=True)), kind
    told = " ".join(page("measured.md").split())
    for name, table in (("end:euler", euler), ("end:dpmpp_2m", dpmpp), ("spectrum:dpmpp_2m", dpmpp)):
        first, *middle, last = (f"{value:.2f}" for value in table[f"ART {name}"])
        assert any(f"{first}, {', '.join(middle)}{word}{last}" in told for word in (", ", " and ")), name
