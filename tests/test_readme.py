"""The README's code runs as it stands, and what it and docs/measured.md quote is what the pages of results say."""

import math
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
TRAINED, GUIDED = ("SDXL, cfg 1", "EDM, cfg 1", "photos, SDXL"), ("SDXL, cfg 3", "EDM, cfg 3")
EXACT = ("digits, SDXL", "digits, EDM", "gaussian, SDXL", "gaussian, EDM")
PLACES = {"results.md": (*TRAINED, *GUIDED), "results-exact.md": EXACT}  # by the page that they are quoted from
STEPS = (4, 5, 6, 8, 10, 15, 20, 30)


def rows(text: str, after: str) -> list[list[str]]:
    """The cells of the first table after some words, without its head."""
    lines = text[text.index(after):].splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|"))
    table = lines[first:next(i for i, line in enumerate([*lines[first:], ""]) if not line.startswith("|")) + first]
    return [[cell.strip().replace("*", "") for cell in line.strip("|").split("|")] for line in table[2:]]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.fixture(scope="module")
def duels() -> dict[tuple[str, str, bool, str], list[tuple[float, str]]]:
    """(sampler, place, whether tried, "RMS" or "median") -> ratio of its own objective and verdict at each of STEPS."""
    found = {}
    for name, places in PLACES.items():
        text = page(name)
        for sampler in SAMPLERS:
            for place in places:
                for title, *cells in rows(text, f"### {sampler}, {place}\n"):
                    told = re.fullmatch(rf"ART end:{sampler}(, tried)? / strongest, (\w+)", title)
                    if told:
                        found[sampler, place, bool(told[1]), told[2]] = [
                            (float(cell.split()[0]), cell.rpartition(", ")[2]) for cell in cells]
    return found


def tally(duels, sampler: str, places, tried: bool = True, of: str = "RMS") -> tuple[str, float]:
    """"wins, tied, loses" of some places, and the geometric mean of ratios of two digits."""
    each = [duel for place in places for duel in duels[sampler, place, tried, of]]
    counts = [sum(verdict == word for _, verdict in each) for word in ("wins", "tied", "loses")]
    assert sum(counts) == len(STEPS) * len(places)
    return ", ".join(map(str, counts)), math.prod(max(ratio, 0.005) ** (1 / len(each)) for ratio, _ in each)


def agrees(cell: str, told: tuple[str, float]) -> bool:
    """Whether "wins, tied, loses; mean" is what was counted; the means of pages are of ratios of more digits."""
    counts, _, mean = cell.partition("; ")
    return counts == told[0] and float(mean) == pytest.approx(told[1], abs=0.0151 if told[1] < 0.1 else 0.0101)


def test_the_table_of_all_samplers_is_that_of_the_pages(duels):
    groups = (TRAINED, GUIDED, EXACT[:2], EXACT[2:])
    quoted = {sampler: cells for sampler, *cells in rows((ROOT / "README.md").read_text(), "**All samplers**")}
    assert tuple(quoted) == SAMPLERS
    for sampler, cells in quoted.items():
        for cell, places in zip(cells, groups, strict=True):
            assert agrees(cell, tally(duels, sampler, places)), (sampler, cell, tally(duels, sampler, places))


def test_the_table_of_budgets_is_that_of_the_pages():
    quoted = rows((ROOT / "README.md").read_text(), "*Whatever the sampler.*")
    order = [(name, place) for place in ("SDXL, cfg 1", "SDXL, cfg 3", "EDM, cfg 1", "EDM, cfg 3", "photos, SDXL")
             for name, places in PLACES.items() if place in places]
    for (name, place), (_, *cells) in zip(order, quoted, strict=True):
        told = [re.fullmatch(r"([\d.]+) \(.+\), (\w+)", row[5]).groups() for row in rows(page(name), f"### {place}\n")]
        assert cells == [ratio if verdict == "wins" else f"{ratio}, {verdict}" for ratio, verdict in told], place


def test_the_tables_with_and_without_a_trial_are_those_of_the_pages(duels):
    groups = (TRAINED, EXACT)
    quoted = rows(page("measured.md"), "# ")
    assert len(quoted) == 2 * len(SAMPLERS)
    for sampler, objective, *cells in quoted:
        for (rms, medians), places in zip((cells[:2], cells[2:]), groups, strict=True):
            tried = objective.endswith(", tried")
            assert agrees(rms, tally(duels, sampler, places, tried)), (sampler, objective)
            assert medians == tally(duels, sampler, places, tried, "median")[0], (sampler, objective)
    for sampler, rms, medians in rows(page("measured.md"), "At cfg 3"):
        assert agrees(rms, tally(duels, sampler, GUIDED)), sampler
        assert medians == tally(duels, sampler, GUIDED, of="median")[0], sampler


def test_the_table_of_places_is_that_of_the_pages(duels):
    places = [place for of_page in PLACES.values() for place in of_page]
    lines = page("measured.md").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("*Place by place*"))
    quoted = rows("\n".join(lines[start:]), "*Place")
    assert [cells[0] for cells in quoted] == places
    for place, *cells in quoted:
        for sampler, cell in zip(SAMPLERS, cells, strict=True):
            assert agrees(cell, tally(duels, sampler, [place])), (place, sampler)


def test_what_is_told_of_where_ours_is_not_the_best_is_that_of_the_pages(duels):
    told = " ".join(page("measured.md").split())
    each = [(sampler, place, steps, ratio, verdict) for sampler in SAMPLERS for of_page in PLACES.values()
            for place in of_page
            for steps, (ratio, verdict) in zip(STEPS, duels[sampler, place, True, "RMS"], strict=True)]
    main = [one for one in each if one[0] in MAIN]
    assert not [one for one in main if one[0] == "euler" and one[4] != "wins"]
    lost = [one for one in main if one[4] == "loses"]
    assert [(one[0], one[2]) for one in lost] == [("heun", 4), ("dpmpp_2m", 5)]
    assert "Heun's 4 steps on the digits (1.44 times beta57) and DPM++ 2M's 5 there (1.07" in told
    above = [one for one in main if one[3] > 1.0 and one[4] == "tied"]
    assert f"{len(above)} tied columns of these three are above 1" in told
    worse = [one for one in each if one[0] not in MAIN and one[3] > 1.02]
    trained = [one for one in worse if one[1] not in EXACT]
    assert f"Of the other 216 columns {len(worse)} are more than 2 % above the best built-in, {len(trained)} of them " \
           "on trained models" in told
    for sampler, words in (("res_multistep", "RES multistep"), ("deis", "DEIS"), ("uni_pc", "UniPC")):
        assert f"- {words} {sum(one[0] == sampler for one in worse)}:" in told
        named = told[told.index(f"- {words} "):].split(";" if sampler == "uni_pc" else " - ")[0]
        for *_, ratio, _ in (one for one in trained if one[0] == sampler):
            assert f"{ratio:.2f}" in named, (sampler, ratio)


def test_what_is_told_of_fresh_noise_is_that_of_its_page():
    summary = rows(page("fresh.md"), "# ")
    before, after = ([sum(int(row[first + k]) for row in summary) for k in range(3)] for first in (2, 6))
    assert not any(int(row[8]) for row in summary if row[0] in MAIN) and len(summary) == len(SAMPLERS)
    for text in ((ROOT / "README.md").read_text(), page("measured.md")):
        words = " ".join(text.split())
        assert "{} won, {} tied and {} lost".format(*after) in words
        assert "where they were {}, {} and {}".format(*before) in words
    wins, tied, _ = ([int(cell) for cell in row[1:]] for row in rows(page("fresh.md"), "Columns by"))
    told = " ".join(page("measured.md").split())
    assert f"Of {sum(wins)} won columns {wins[0]} are won again, {wins[1]} are tied and none is lost" in told
    assert f"of the {sum(tied)} tied ones {tied[0]} are won, {tied[2]} are lost" in told and not wins[2]
    for guided, words in ((False, "{} won, {} tied and {} lost of 144, where they were {}, {} and {}"),
                          (True, "{}, {} and {} of 96, where they were {}, {} and {}")):
        cells = [cell.split(" → ") for sampler in SAMPLERS for place, *row in rows(page("fresh.md"), f"## {sampler}\n")
                 for cell in row if ("cfg 3" in place) == guided]
        counts = [sum(cell[noise].endswith(verdict) for cell in cells) for noise in (1, 0) for verdict in "wtl"]
        assert words.format(*counts) in told
    for sampler in SAMPLERS:
        lost = [cell for row in rows(page("fresh.md"), f"## {sampler}\n") for cell in row[1:] if cell.endswith("l")]
        assert all(cell.split()[-1].rstrip("l") in told for cell in lost)


def test_what_is_told_of_flows_and_of_carried_schedules_is_that_of_their_pages():
    readme, measured = (" ".join(text.split()) for text in ((ROOT / "README.md").read_text(), page("measured.md")))
    euler, dpmpp = rows(page("results-flow.md"), "## Who wins")
    assert "{} won, {} tied and {} lost with Euler ({:.2f}), and {}, {} and {} with DPM++ 2M ({:.2f})".format(
        *euler[2:5], float(euler[5]), *dpmpp[2:5], float(dpmpp[5])) in readme
    others = {row[0]: row[2:] for row in rows(page("results-flow-others.md"), "## Who wins")}
    assert "{} with DEIS ({}), {} with RES multistep ({}), {} with UniPC ({}), but {} with Heun ({}).".format(
        *(part for sampler in ("deis", "res_multistep", "uni_pc", "heun") for part in (
            "{}, {} and {}".format(*others[sampler]), f"{float(others[sampler][3]):.2f}"))) in readme
    words = {"euler": "Euler wins", "dpmpp_2m": "DPM++ 2M wins", "deis": "DEIS wins", "res_multistep": "RES multistep",
             "uni_pc": "UniPC", "heun": "Heun wins"}
    for sampler, *row in (row for name in ("results-flow.md", "results-flow-others.md")
                          for row in rows(page(name), "## Place by place")):
        one, two, three = (cell.split(",")[0] for cell in row)
        ratios = [cell.split(";")[1].strip() for cell in row]
        assert re.search(rf"{re.escape(words[sampler])} {one}, {two} and {three} (of 8 )?(columns )?"
                         rf"\({', '.join(ratios)}\)", measured)
    lost = [row for row in rows(page("results-flow-others.md"), "## Where ours") if row[5] == "loses"]
    assert {row[0] for row in lost} == {"heun"} and all(row[3].split()[0] in measured for row in lost)
    tally = {(row[0], row[1]): row for row in rows(page("bundled.md"), "| sampler | learned")}
    carried = [tally[sampler, "as bundled ones are, elsewhere"] for sampler in MAIN]
    assert "in {} of 21 cells with Euler and lose {} (mean ratio {:.2f}), with Heun {} and {} ({:.2f}), with DPM++ " \
           "2M {} and {} ({:.2f})".format(*(value for row in carried for value in (
               row[2], row[4], float(row[5])))) in readme
    wins = [tally[sampler, "itself"][2] for sampler in MAIN]
    assert "wins {} of 27 with Euler, {} with Heun's clock and {} with DPM++ 2M".format(*wins) in readme
    flows = rows(page("bundled.md"), "| sampler | against")
    counts = [[int(count) for count in row[2:5]] for row in flows if row[1] == "the strongest"]
    assert sum(map(sum, counts)) == 27
    assert "As rectified flows they won {} comparisons of 27, tied {} and lost {}".format(
        *(sum(column) for column in zip(*counts, strict=True))) in readme
    assert "they have {:.2f} times its error with Euler, {:.2f} with Heun and {:.2f} with DPM++ 2M".format(
        *(float(row[5]) for row in flows if row[1] == "simple")) in readme
    heun = [cell.split()[0] for where, learned, *cells in rows(page("bundled.md"), "### heun\n")
            if where.endswith("flow") and learned == "strongest built-in" for cell in cells]
    assert len(heun) == 9 and sum(name in ("beta", "beta57") for name in heun) == 6 and heun.count("simple") == 1


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
