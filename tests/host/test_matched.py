"""The matched comparison: what is compared, who is looked at twice, and what the page says of who wins."""

import dataclasses

import numpy as np
import pytest
import torch

from art_nodes.core.exact import gaussian
from art_nodes.demo.unet import CLASSES
from benchmarks import (
    first_calls,
    guidance,
    matched,
    matched_budgets,
    matched_cells,
    matched_report,
    matched_tables,
    pages,
)
from benchmarks.carrying import as_flow
from benchmarks.chunks import save_whole
from benchmarks.comfy import inprocess
from benchmarks.matched_cells import ART, BATCH, DEMO, FID_BATCH, FLOWS, PLACES, Cell, Place, Stage, Worker

pytestmark = pytest.mark.host
SDXL = PLACES[0]
LABELLED = [place for place in guidance.PLACES if place.model != DEMO and place.cfg == 3.0]
TOLERANCE = 1e-2 if inprocess.on_gpu() else 1e-3  # convolutions are in TF32 there


@pytest.fixture(scope="module")
def stage(comfy):
    return Stage(SDXL)


@pytest.fixture(scope="module")
def ours(stage, tmp_path_factory):
    """Our schedules, from a recording that is small enough for a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matched_cells, "ORBITS", 2)
        patch.setattr(matched_cells, "NODES", 12)
        folder = tmp_path_factory.mktemp("matched")
        names = "euler", "end:euler", "end:heun", "end:dpmpp_2m"
        found = matched_cells.learned(stage, folder, names)
        assert all(np.array_equal(found[name].clock, again.clock)
                   for name, again in matched_cells.learned(stage, folder, names).items())  # read from the files
    return found


def test_every_built_in_schedule_and_ours_are_compared(stage, ours):
    names = matched_cells.grids(stage, "heun", 10, ours)
    assert set(names) >= {"simple", "sgm_uniform", "karras", "exponential", "beta", "normal", "linear_quadratic",
                          "kl_optimal", "AYS SD1", "AYS SDXL", "GITS", "polyexponential", "laplace", "beta57",
                          ART + "euler", ART + "end:euler", ART + "end:heun", ART + "end:dpmpp_2m"}
    for name, sigmas in names.items():
        assert len(sigmas) == 11 and sigmas[-1] == 0 and (np.diff(sigmas) <= 0).all()
        # Two start where their own rule puts them, whatever the model's range.
        assert sigmas[0] == pytest.approx(stage.sigma_max, rel=0.08) or name in ("laplace", "ddim_uniform")


def test_tables_of_another_range_are_left_out(comfy, ours):
    names = matched_cells.grids(Stage(PLACES[2]), "euler", 6, ours)
    assert "karras" in names and not {"AYS SD1", "AYS SDXL", "GITS"} & set(names)


def test_built_ins_are_what_is_compared_beside_ours(stage, ours):
    cells = matched.built_in([(SDXL, "heun", 4), (SDXL, "heun", 4)])
    everything = matched_cells.grids(stage, "heun", 4, ours)
    assert {cell.schedule: cell.sigmas for cell in cells} == {
        name: pytest.approx(sigmas) for name, sigmas in everything.items() if not name.startswith(ART)}
    assert len(cells) == len({cell.schedule for cell in cells}) > 10 and len(everything) > len(cells)


@pytest.mark.parametrize("place", [PLACES[3], PLACES[4]], ids=lambda place: place.name)
def test_the_first_call_is_made_once_and_changes_nothing(comfy, monkeypatch, place):
    """Whatever the sampler and the grid; other noise, another start and later calls are made each time."""
    stage, plain, made = Stage(place), Stage(place), []
    del plain.model.model_options["model_function_wrapper"]
    inner = stage.model.model.apply_model
    monkeypatch.setattr(stage.model.model, "apply_model", lambda *args, **more: made.append(1) or inner(*args, **more))
    top = stage.sigma_max
    for sampler, sigmas, seed, calls in (
            ("euler", (top, 2.0, 0.0), 1, 2), ("euler", (top, 1.0, 0.0), 1, 1), ("heun", (top, 1.0, 0.0), 1, 2),
            ("dpmpp_2m", (top, 2.0, 0.5, 0.0), 1, 2), ("euler", (top, 2.0, 0.0), 2, 2),
            ("euler", (0.97 * top, 2.0, 0.0), 1, 2)):
        made.clear()
        assert torch.equal(stage.end(sampler, sigmas, seed), plain.end(sampler, sigmas, seed))
        assert len(made) == calls


def test_few_first_calls_are_kept(comfy, monkeypatch):
    monkeypatch.setattr(first_calls, "MOST", 2)
    made, keeper = [], first_calls.FirstCalls(10.0)

    def model(x, _sigma):
        made.append(int(x[0, 0]))
        return 2 * x

    for at in (1, 2, 1, 3, 2, 1):
        given = {"input": torch.full((1, 2), float(at)), "timestep": torch.tensor([10.0]), "c": {}}
        assert keeper(model, given).tolist() == [[2.0 * at] * 2]
    assert made == [1, 2, 3, 1]  # the oldest makes room


def test_a_chunk_is_what_the_host_samples(stage, monkeypatch, tmp_path):
    """Its errors are those to the reference of the same noise, and it is computed once."""
    monkeypatch.setattr(matched_cells, "REFERENCE_STEPS", 20)
    worker = Worker.__new__(Worker)
    from benchmarks.classifier import load_classifier

    worker.root, worker.judge, worker.network, worker.compiles = tmp_path, load_classifier(), None, False
    worker.stages = {(SDXL, BATCH, 1): stage}
    monkeypatch.setattr(matched_cells, "TOGETHER", 1)
    cell = Cell(SDXL, "euler", 2, "mine", (stage.sigma_max, 2.0, 0.0))
    worker.compute((cell, (3,)))
    assert len(cell.load(tmp_path)) == 0  # chunks count from the first
    worker.compute((cell, (0,)))
    errors = cell.load(tmp_path)
    end = stage.end("euler", cell.sigmas, matched_cells.HELD_OUT)
    truth = worker.references(SDXL, [matched_cells.HELD_OUT])[matched_cells.HELD_OUT]
    np.testing.assert_allclose(errors, (end - truth).flatten(1).double().square().mean(1).sqrt(), rtol=1e-5)
    picture = matched_cells.FidCell(SDXL, cell.sampler, cell.steps, cell.schedule, cell.sigmas)
    worker.compute((picture, (0,)))
    assert picture.load(tmp_path, "features").shape == (FID_BATCH, 96)
    assert picture.folder(tmp_path) != cell.folder(tmp_path)
    labels = worker.stages[SDXL, FID_BATCH, 1].positive[0][0]
    assert (labels.sum(dim=0) == FID_BATCH / len(CLASSES)).all()  # uneven ones alone would be an FID
    assert matched.missing([cell], 2, tmp_path) == [(cell, (1,))]
    namesake = dataclasses.replace(cell, schedule="theirs")  # of the same grid
    assert [numbers for _, numbers in matched.missing([cell, namesake], 3, tmp_path)] == [(1,), (2,)]
    other = Cell(SDXL, "euler", 2, "mine", (stage.sigma_max, 2.1, 0.0))
    assert other.folder(tmp_path) != cell.folder(tmp_path)


@pytest.mark.parametrize("kind, field", [(Cell, "errors"), (matched_cells.FidCell, "features")])
def test_on_a_gpu_chunks_share_model_calls_and_are_the_same(comfy, monkeypatch, tmp_path, kind, field):
    """Those of samplers that add noise do not share: one generator draws for a whole call."""
    for name, value in {"REFERENCE_STEPS": 8, "TOGETHER": 2, "precision": lambda: "float32",
                        "fastest_network": lambda setting: (None, "eager")}.items():
        monkeypatch.setattr(matched_cells, name, value)
    cell = kind(PLACES[1], "heun", 2, "mine", (14.6, 2.0, 0.0))
    noisy, found = dataclasses.replace(cell, sampler="euler_ancestral"), []
    for gpu, expected in ((False, [(0,), (1,), (2,)]), (True, [(0, 1), (2,)])):
        monkeypatch.setattr(matched_cells, "on_gpu", lambda gpu=gpu: gpu)
        folder = tmp_path / str(gpu)
        jobs, worker = matched.missing([cell], 3, folder), Worker(folder)
        assert [numbers for _, numbers in jobs] == expected
        assert [numbers for _, numbers in matched.missing([noisy], 2, folder)] == [(0,), (1,)]
        for job in jobs:
            worker.compute(job)
        found.append(cell.load(folder, field))
    assert len(found[0]) == 3 * kind.batch
    np.testing.assert_allclose(*found, rtol=TOLERANCE, atol=TOLERANCE * np.abs(found[0]).max())


def denoiser_of(place, batch: int):
    """D(x, sigma) of another model, guided by hand where it knows classes: a batch has all in turn."""
    from benchmarks.other_models import OTHERS

    denoise = OTHERS[place.model].make("cpu")
    if OTHERS[place.model].by_class:
        weights = torch.eye(10)[torch.arange(batch) % 10]
        none, told = torch.zeros_like(weights), denoise
        denoise = lambda x, sigma: torch.lerp(told(x, sigma, none), told(x, sigma, weights), place.cfg)  # noqa: E731
    return as_flow(denoise) if place.dress == "flow" else denoise


@pytest.mark.parametrize("place", [*PLACES[4:], *FLOWS, *LABELLED], ids=lambda place: place.name)
def test_the_host_samples_the_denoiser_itself(comfy, place):
    """What the host's Euler makes of another model is Euler by hand on its denoiser; entries of SDXL's table."""
    stage = Stage(place)
    levels = stage.sampling.sigmas.double().numpy()
    grid = np.append(levels[[-1, -200, -400, -700]], 0.0)
    noise = torch.randn(stage.latent["samples"].shape, generator=torch.Generator().manual_seed(5))
    denoise, x = denoiser_of(place, len(noise)), noise * (1.0 if place.dress == "flow" else np.hypot(1, grid[0]))
    with torch.no_grad():
        for here, there in zip(grid[:-1], grid[1:], strict=True):
            clean = denoise(x, torch.full((len(x),), float(here)))
            x = clean + (x - clean) * there / here
    end = stage.end("euler", grid.tolist(), 5)
    torch.testing.assert_close(end, x, rtol=TOLERANCE / 10, atol=TOLERANCE / 10)


def test_the_reference_of_a_flow_sees_what_is_widest_in_a_large_picture(comfy, monkeypatch):
    """Exact to half a percent where one direction spreads by 60; control: the host's karras leaves much more."""
    import comfy.samplers

    from art_nodes.host.comparing import REFERENCE_SAMPLER, reference_grid
    from benchmarks import other_models

    variance = torch.ones(1, 28, 28)
    variance[0, 0, 0] = 60.0**2
    wide = other_models.Other((1, 28, 28), lambda _device: gaussian(variance))
    monkeypatch.setitem(other_models.OTHERS, "gaussian", wide)
    monkeypatch.setattr("benchmarks.carrying.TRAINED_UP_TO", 1e4)  # exact at all noise levels
    stage = Stage(Place("flow", model="gaussian"), batch=4)

    def off(sigmas):
        end = stage.end(REFERENCE_SAMPLER, sigmas.tolist(), 5)
        truth = torch.randn(end.shape, generator=torch.Generator().manual_seed(5)) * variance.sqrt()
        return ((end - truth).norm() / truth.norm()).item()

    assert off(reference_grid(stage.sampling, 100)) < 0.01
    assert off(comfy.samplers.calculate_sigmas(stage.sampling, "karras", 100)) > 0.1


def test_places_never_share_their_samples():
    marks = [place.mark for place in PLACES]
    assert len({place.name for place in PLACES}) == len(PLACES) and len(set(marks)) == 4
    every = {*PLACES, *FLOWS, *guidance.PLACES}
    assert len({place.name for place in every}) == len({place.title for place in every}) == len(every)


@pytest.fixture
def column(tmp_path):
    """Five schedules on 32 noises, errors 1.0 to 3.0; ours, the best, as end:euler."""
    rng, cells = np.random.default_rng(0), []
    base = rng.uniform(0.9, 1.1, BATCH)
    for i, (name, size) in enumerate((("karras", 1.1), ("beta", 1.2), ("normal", 3.0), (ART + "end:euler", 1.0),
                                      (ART + "end:heun", 2.0))):
        cells.append(Cell(SDXL, "euler", 6, name, (10.0, 1.0 + i, 0.0)))
        save_whole(cells[-1].path(tmp_path, 0), errors=size * base * rng.uniform(0.99, 1.01, BATCH))
    return cells


def test_only_what_may_win_is_looked_at_twice(column, tmp_path):
    assert [cell.schedule for cell in matched.contenders(column, tmp_path)] == ["karras", "beta", ART + "end:euler"]


def test_a_rival_that_may_yet_be_the_best_by_median_stays(column, tmp_path):
    """The median leaves a picture that turned into another out of account."""
    errors = 0.6 * column[0].load(tmp_path).astype(float)
    errors[3] = 12.0  # alone more than all the others
    rival = Cell(SDXL, "euler", 6, "AYS SD1", (10.0, 8.0, 0.0))
    save_whole(rival.path(tmp_path, 0), errors=errors)
    assert rival in matched.contenders([*column, rival], tmp_path)


@pytest.mark.parametrize("turned", [1, 12])
def test_a_rival_that_may_yet_be_the_best_by_rms_stays(column, tmp_path, turned):
    """One picture that turned into another decides the RMS of so few noises; as a control, many mean it.

    Two other built-ins are better by RMS here and by far by median, so that nothing else keeps the rival.
    """
    best = np.where(np.arange(BATCH) < 3 * BATCH // 4, 1.0, 2.0)
    for cell, size in zip(column[:2], (1.0, 1.01), strict=True):
        save_whole(cell.path(tmp_path, 0), errors=size * best)
    errors = np.full(BATCH, 1.25)
    errors[:turned] = 12.0
    rival = Cell(SDXL, "euler", 6, "AYS SD1", (10.0, 8.0, 0.0))
    save_whole(rival.path(tmp_path, 0), errors=errors)
    assert matched_tables.Entry("", errors).rms > 1.5 * matched_tables.Entry("", best).rms
    assert (rival in matched.contenders([*column, rival], tmp_path)) == (turned == 1)


def test_on_the_digits_no_rival_goes(column, tmp_path):
    """One picture in hundreds that turns into another decides the RMS there."""
    digits = [dataclasses.replace(cell, place=next(place for place in PLACES if place.model == "digits"))
              for cell in column]
    for cell, other in zip(digits, column, strict=True):
        save_whole(cell.path(tmp_path, 0), errors=other.load(tmp_path))
    assert matched.contenders(digits, tmp_path) == digits


def test_control_a_rival_that_is_worse_on_every_noise_goes(column, tmp_path):
    """Negative control; but two built-ins stay, to compare with."""
    assert column[2] not in matched.contenders(column, tmp_path)
    assert column[2] in matched.contenders([column[0], column[2], column[3]], tmp_path)


def test_the_page_names_the_strongest_and_the_verdict(column, tmp_path):
    found = matched_tables.entries(column, tmp_path)
    duel = matched_tables.duel(found, ART + "end:euler")
    assert (duel.rival, duel.verdict) == ("karras", "wins") and duel.low < 1 / 1.1 < duel.high
    lost = matched_tables.duel(found, ART + "end:heun")
    assert (lost.rival, lost.verdict) == ("karras", "loses")
    columns = matched.columns(column)
    measured = matched_tables.measured(columns, tmp_path)
    table = matched_tables.error_table(measured, SDXL, "euler")
    assert table[1][0] == ART + "end:euler" and table[1][1].startswith("**")
    rows = matched_tables.summary(measured)
    assert [row[1:5] + row[7:10] for row in rows[1:]] == [[ART + "end:euler", *"100", *"100"],
                                                          [ART + "end:heun", *"001", *"001"]]
    assert matched_report.write(columns, tmp_path / "some.md", "two orbits tried", (1, 8), lambda line: None)
    page = (tmp_path / "some.md").read_text()
    command = "matched --places sdxl-cfg1 --samplers euler --steps 6 --more --docs some.md`"
    assert "two orbits tried" in page and command in page
    assert "karras, wins" in page and "karras, loses" in page
    assert "| 6 | euler, 6 steps, end:euler | 1." in page
    assert (tmp_path / "images/some-euler.png").exists()
    (tmp_path / "docs/images").mkdir(parents=True)
    pages.copy_to_docs(tmp_path / "some.md", tmp_path / "docs")
    assert (tmp_path / "docs/images/some-euler.png").exists() and (tmp_path / "docs/some.md").read_text() == page


def test_place_by_place_ours_tried_is_counted_by_itself(column, tmp_path):
    """A place where it is not finite counts as lost, and is not left out."""
    cells = []
    for place, size in ((SDXL, 0.9), (PLACES[1], np.nan)):
        cells += [dataclasses.replace(cell, place=place) for cell in column[:3]]
        cells.append(Cell(place, "euler", 6, ART + "end:euler" + matched_cells.TRIED, (10.0, 7.0, 0.0)))
        for cell, old, times in zip(cells[-4:], [*column[:3], column[0]], (1, 1, 1, size), strict=True):
            save_whole(cell.path(tmp_path, 0), errors=times * old.load(tmp_path))
    found = matched_tables.measured(matched.columns(cells), tmp_path)
    assert matched_tables.by_place(found) == [["sampler", SDXL.title, PLACES[1].title],
                                              ["euler", "1, 0, 0; 0.90", "0, 0, 1; inf"]]


def test_where_ours_tried_is_not_best_is_listed(column, tmp_path):
    """By the strongest built-in of its column; where it is best nothing is said."""
    tried = Cell(SDXL, "euler", 6, ART + "end:euler" + matched_cells.TRIED, (10.0, 7.0, 0.0))
    for size, expected in ((1.3, [["euler", "SDXL, cfg 1", "6", "1.30 (1.30–1.30)", "karras", "loses"]]), (0.9, [])):
        save_whole(tried.path(tmp_path, 0), errors=size * column[0].load(tmp_path))
        found = matched_tables.measured(matched.columns([*column, tried]), tmp_path)
        assert matched_tables.misses(found)[1:] == expected


def test_control_a_rival_on_fewer_noises_is_no_rival(column, tmp_path):
    """Negative control: the least error of all, on half of the noises of ours, does not count."""
    for cell in column[1:4]:
        save_whole(cell.path(tmp_path, 1), errors=np.ones(BATCH))
    assert matched_tables.duel(matched_tables.entries(column, tmp_path), ART + "end:euler").rival == "beta"


def test_a_rival_on_more_noises_is_compared_on_ours(column, tmp_path):
    before = matched_tables.duel(matched_tables.entries(column, tmp_path), ART + "end:euler")
    save_whole(column[0].path(tmp_path, 1), errors=np.full(BATCH, 1e-3))
    assert matched_tables.duel(matched_tables.entries(column, tmp_path), ART + "end:euler") == before


def test_a_round_that_was_stopped_counts_no_rival_out(column, tmp_path):
    """Ours and beta have more noises already, karras, the strongest, does not: all are compared on those of karras."""
    before = matched_tables.duel(matched_tables.entries(column, tmp_path), ART + "end:euler")
    for cell in (column[1], column[3]):
        save_whole(cell.path(tmp_path, 1), errors=np.ones(BATCH))
    assert matched_tables.duel(matched_tables.entries(column, tmp_path), ART + "end:euler") == before


def test_only_whole_rounds_are_shown(column, tmp_path):
    for number in (1, 2):
        save_whole(column[0].path(tmp_path, number), errors=np.ones(BATCH))
    counts = [[len(entry.errors) for entry in matched_tables.measured(matched.columns(column), tmp_path, rounds)[
        SDXL, "euler", 6]] for rounds in ((1, 2), (1, 8), ())]
    assert [sorted(found)[-1] for found in counts] == [2 * BATCH, BATCH, 3 * BATCH]


def test_the_median_has_a_strongest_of_its_own(column, tmp_path):
    """A rare flip rules the RMS and does not move the median."""
    errors = np.full(BATCH, 0.5)
    errors[0] = 50.0
    save_whole(column[1].path(tmp_path, 0), errors=errors)
    found = matched_tables.entries(column, tmp_path)
    by_median = matched_tables.duel(found, ART + "end:euler", np.median)
    assert (by_median.rival, by_median.verdict) == ("beta", "loses") and by_median.low > 1.8
    assert matched_tables.duel(found, ART + "end:euler").rival == "karras"


def test_what_chance_decided_is_looked_at_a_third_time(column, tmp_path):
    """A tie of ours, tried, with the strongest asks for more noises of these; a clear win does not."""
    tried = Cell(SDXL, "euler", 6, ART + "end:euler" + matched_cells.TRIED, (10.0, 7.0, 0.0))
    karras = column[0].load(tmp_path)
    save_whole(tried.path(tmp_path, 0), errors=karras * np.where(np.arange(BATCH) % 2, 1.02, 0.98))
    found = matched.contested([*column, tried], tmp_path, 1)
    assert {cell.schedule for cell in found} == {"karras", "beta", ART + "end:euler", tried.schedule}
    save_whole(tried.path(tmp_path, 0), errors=0.97 * karras)
    assert matched.contested([*column, tried], tmp_path, 1), "a narrow win too: else more noises only ever mend ties"
    save_whole(tried.path(tmp_path, 0), errors=0.5 * karras)
    assert matched.contested([*column, tried], tmp_path, 1) == []


@pytest.mark.parametrize("more", [False, True])
def test_the_page_says_what_computes_it_again(more):
    """--more where there are grids of ours that no trial found; of more noises it tells where there are some."""
    errors = np.random.default_rng(0).uniform(0.9, 1.1, 2 * BATCH if more else BATCH)
    names = ("karras", "beta", ART + "end:euler, tried", *([ART + "end:euler"] if more else []))
    found = {(PLACES[0], "euler", 6): [matched_tables.Entry(name, errors) for name in names]}
    page = matched_report.markdown(found, "two orbits tried", (1, 1, 2))
    command = "`python -m benchmarks matched --places sdxl-cfg1 --samplers euler --steps 6 --docs`"
    assert (command.replace(" --docs", " --more --docs") if more else command) in page
    assert ("the most only where" in page) == more


def test_a_gpu_is_used_only_where_it_is_asked_for_and_samples_more(monkeypatch):
    monkeypatch.delenv("ART_HOST_GPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    matched_cells.precision.cache_clear()
    assert not inprocess.on_gpu() and matched.rounds() == (1, 3, 5, 8, 32)
    monkeypatch.setenv("ART_HOST_GPU", "1")
    assert inprocess.on_gpu() and matched.rounds() == (8, 16, 64)
    assert matched_cells.precision() == "float32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not inprocess.on_gpu()
    matched_cells.precision.cache_clear()


def test_each_sampler_has_an_objective_of_ours():
    assert [matched.own(name) for name in ("euler", "heun", "uni_pc", "dpmpp_2m_sde", "euler_ancestral")] == [
        "end:euler", "end:heun", "end:uni_pc", "end:dpmpp_2m", "end:euler"]


def test_what_trials_found_is_compared_under_the_name_of_its_objective(tmp_path):
    [made, unmade] = matched.trials([SDXL], ["heun"], (4, 6))
    made.path(tmp_path).parent.mkdir(parents=True)
    made.path(tmp_path).write_text('{"sigmas": [14.6, 5.0, 2.0, 0.5, 0.0]}')
    assert made.path(tmp_path) != unmade.path(tmp_path)
    assert matched.tried_cells([made, unmade], tmp_path) == [
        Cell(SDXL, "heun", 4, ART + "end:heun, tried", (14.6, 5.0, 2.0, 0.5, 0.0))]


def entry(name, *errors):
    return matched_tables.Entry(name, np.array(errors))


def test_advice_is_the_least_mean_error_and_not_who_hardly_ever_loses():
    """One of ours is twice as good and once worse; another, on too few noises to lose, is as good as the host's."""
    errors = {(0, 1): 0.4, (0, 2): 1.1, (1, 1): 1.0, (1, 2): 1.0}
    names = (ART + "end:heun", ART + "euler")
    found = {(SDXL, "heun", steps): [entry("karras", 1.0, 1.01, 0.99), *(
        entry(names[i], *(errors[i, steps] * np.array([1.0, 1.01, 0.99]))) for i in range(2))] for steps in (1, 2)}
    assert matched_tables.advice(found)[1:] == [["heun", "end:heun", "1", "0.663"]]
    found[SDXL, "heun", 1] += [entry(ART + "end:2", 0.1, 0.1), entry(ART + "end:3", 0.2, 0.2, 0.2)]  # 2 noises of 3
    found[SDXL, "heun", 2] += [entry(ART + "end:2", 0.1, 0.1, 0.1), entry(ART + "end:3", 0.2, 0.2, 0.2)]
    assert matched_tables.advice(found)[1:] == [["heun", "end:3", "0", "0.200"]]


def test_a_budget_goes_to_the_best_sampler_that_it_pays(column):
    """Heun's 5 steps are 9 calls: not for 8; a better pair of fewer calls stays the best of more."""
    found = {(SDXL, "euler", 8): [entry("karras", 3.0, 3.0), entry(ART + "euler", 2.0, 2.0)],
             (SDXL, "heun", 5): [entry("karras", 1.0, 1.0), entry(ART + "euler", 1.5, 1.5)],
             (SDXL, "euler", 10): [entry("karras", 2.5, 2.5), entry(ART + "euler", 1.9, 1.9)]}
    rows = matched_budgets.budget_table(found, SDXL)
    assert [row[0] for row in rows[1:]] == ["8", "10", "15", "20", "30"]  # nothing is that cheap for fewer
    assert rows[1][1:] == ["euler, 8 steps, euler", "2.0000", "euler, 8 steps, karras", "3.0000",
                           "0.67 (0.67–0.67), wins"]
    assert rows[2][1:] == ["heun, 5 steps, euler", "1.5000", "heun, 5 steps, karras", "1.0000",
                           "1.50 (1.50–1.50), loses"] == rows[-1][1:]
    assert matched_budgets.budget_table(found, PLACES[1]) == rows[:1]


def test_control_luck_on_few_noises_does_not_get_a_budget():
    """Negative control: what dropped out early, with the least error of all on its one noise, is not chosen."""
    found = {(SDXL, "euler", 8): [entry("karras", 3.0, 3.0), entry(ART + "euler", 2.0, 2.0), entry("beta", 0.1)]}
    assert matched_budgets.best_within(found, SDXL, 8, ours=False).schedule == "karras"


@pytest.mark.parametrize("sampler", matched_cells.SAMPLERS)
def test_model_calls_are_those_of_the_host(stage, sampler):
    counted = []
    patched = stage.model.clone()
    patched.set_model_unet_function_wrapper(
        lambda apply, args: counted.append(1) or apply(args["input"], args["timestep"], **args["c"]))
    other = Stage.__new__(Stage)
    other.__dict__ = stage.__dict__ | {"model": patched}
    other.end(sampler, (stage.sigma_max, 5.0, 2.0, 1.0, 0.0), 1)
    assert len(counted) == matched_budgets.model_calls(sampler, 4)


def test_exact_targets_have_a_finer_reference():
    """Where errors are as small as those that 160 steps leave."""
    steps = {place.model: place.reference_steps for place in PLACES}
    assert steps == {"demo": 160, "photos": 160, "digits": 640, "gaussian": 640}


def test_ours_for_other_samplers_are_in_the_first_round_only(column, tmp_path, monkeypatch):
    """They have the least error here, and are measured on 32 noises; built-ins and the sampler's own on 256."""
    for module in (matched, matched_cells):
        monkeypatch.setattr(module, "on_gpu", lambda: False)
    base = column[0].load(tmp_path)

    def each(jobs):
        for cell, [number] in jobs:
            save_whole(cell.path(tmp_path, number), errors=base * (0.5 if cell.schedule == ART + "end:heun" else 1.0))
            yield (cell, [number]), 0.0

    save_whole(column[4].path(tmp_path, 0), errors=0.5 * base)
    matched.race(column, tmp_path, each, lambda line: None, quick=True)
    assert [len(cell.load(tmp_path)) // BATCH for cell in column] == [3, 3, 1, 3, 1], "a look is content with 96"
    kept = matched.race(column, tmp_path, each, lambda line: None)
    assert [cell.schedule for cell in kept] == ["karras", "beta", ART + "end:euler"]
    assert [len(cell.load(tmp_path)) // BATCH for cell in column] == [8, 8, 1, 8, 1]


def test_a_name_that_is_not_known_is_an_error(capsys):
    with pytest.raises(SystemExit):
        matched.main(["--places", "sdxl-cfg2"])
    assert "unknown: sdxl-cfg2; choose of sdxl-cfg1" in capsys.readouterr().err


def test_a_finer_reference_is_off_by_less():
    from benchmarks import reference

    coarse, fine, other = reference.drift(PLACES[-1], (20, 80), 160)
    assert 4 * fine < coarse and other < fine


def test_nothing_measured_is_no_page(tmp_path):
    said, cell = [], Cell(SDXL, "euler", 2, "mine", (10.0, 2.0, 0.0))
    assert not matched_report.write(matched.columns([cell]), tmp_path / "some.md", "", (1, 8), said.append)
    assert "nothing measured yet" in said[0] and not (tmp_path / "some.md").exists()
