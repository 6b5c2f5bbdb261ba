"""ART Compare's table, verdicts, plot, contact sheet and progress, from made-up numbers."""

import json
import math
import sys
import types

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.host
SETTING = {"sampler": "euler", "cfg": 1.5, "seed": 7, "seeds": 2, "reference": "dpmpp_2m on karras",
           "reference_steps": 100, "model": {"model": "SDXL", "model_sampling": "EPS", "dtype": "float16"}}


@pytest.fixture(scope="module")
def results(comfy):
    from art_nodes.host import comparing_results

    return comparing_results


@pytest.fixture(scope="module")
def text(comfy):
    from art_nodes.host import comparing_text

    return comparing_text


@pytest.fixture(scope="module")
def plot(comfy):
    from art_nodes.host import comparing_plot

    return comparing_plot


@pytest.fixture(scope="module")
def sheet(comfy):
    from art_nodes.host import comparing_sheet

    return comparing_sheet


@pytest.fixture
def made_up(results):
    """Makes the numbers: {name: {steps: error, or (error, steps taken)}}, each noise a little different."""
    def make(errors, noises=16, drift=1e-4, shown=None):
        steps = tuple(sorted({count for row in errors.values() for count in row}))
        spread = np.random.default_rng(0).uniform(0.9, 1.1, noises)
        cells = []
        for name, row in errors.items():
            for count, found in row.items():
                error, taken = found if isinstance(found, tuple) else (found, count)
                cells.append(results.Cell(name, count, taken, taken, error * spread))
        ends = {None: shown, **{(cell.name, cell.steps): shown for cell in cells}}
        return results.Measured(steps, tuple(errors), tuple(cells), noises, drift, 1234, 5.0, ends)

    return make


ERRORS = {"karras": {6: 0.2, 10: 0.1}, "ART": {6: 0.1, 10: 0.05}, "beta": {6: 0.15, 10: 0.07}}


def rows(text, measured) -> dict[str, list[str]]:
    """Name -> the errors of its row with their marks."""
    return {line.split()[0]: line.split()[2::3] for line in text.table_lines(measured)[3:]}


# Table and verdicts

def test_beside_the_error_stands_the_median(text, results):
    """RMS of 1, 1 and 4 is 2.45, their median 1."""
    cell = results.Cell("karras", 6, 6, 6, np.array([1.0, 1.0, 4.0]))
    [line] = text.table_lines(results.Measured((6,), ("karras",), (cell,), 3, 1e-4, 1, 1.0, {}))[3:]
    assert [word for word in line.split() if "." in word] == ["2.45*", "1.00"]


def test_the_mark_follows_the_numbers(text, made_up):
    found = rows(text, made_up(ERRORS))
    assert list(found) == ["ART", "beta", "karras"]
    assert found["ART"] == ["0.1004*", "0.0502*"] and found["karras"] == ["0.2008", "0.1004"]
    turned = rows(text, made_up({**ERRORS, "karras": {6: 0.01, 10: 0.09}}))
    assert turned["karras"][0].endswith("*") and turned["ART"][1].endswith("*")
    assert sum(cell.endswith("*") for row in turned.values() for cell in row) == 2


def test_another_number_of_steps_never_gets_the_mark(text, made_up):
    measured = made_up({**ERRORS, "beta": {6: (0.001, 9), 10: 0.07}})
    assert rows(text, measured)["beta"][0].endswith("!") and rows(text, measured)["ART"][0].endswith("*")
    assert measured.ranked() == ["ART", "karras", "beta"]  # last at 6 steps, second at 10
    assert "! beta gives 9 steps when asked for 6 (9 model calls): does not compete" in text.notes(measured)


def test_a_missing_grid_is_a_dash(text, made_up):
    measured = made_up({**ERRORS, "kl_optimal": {10: 0.2}})
    assert rows(text, measured)["kl_optimal"][0] == "-"
    assert "no grid of 6 steps: kl_optimal" in text.notes(measured)


def test_rows_line_up(text, made_up):
    extremes = {"x" * 90: {6: 12345.678, 10: float("nan")}, "tiny": {6: 1e-7, 10: 1e-12}}
    lines = text.table_lines(made_up({**ERRORS, **extremes}))
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) < 120


@pytest.mark.parametrize("errors, noises, words", [
    (ERRORS, 16, "6 steps: a lead beyond chance: ART has 0.667 x the error of beta, the runner-up"),
    (ERRORS, 4, "6 steps: a lead on few noises: ART has 0.667 x the error of beta"),
    (ERRORS, 1, "ART has 0.667 x the error of beta, the runner-up; no interval of one noise"),
    ({"a": {6: 0.1}, "b": {6: 0.1}}, 16, "6 steps: too close to call: a has 1.000 x the error of b"),
    ({"a": {6: 0.1}}, 16, "6 steps: only a competes"),
    ({"a": {6: (0.1, 7)}}, 16, "6 steps: nothing to compare"),
    ({"a": {1: 0.0}, "b": {1: 0.0}}, 16, "1 step: nothing to compare"),
])
def test_verdicts(text, made_up, errors, noises, words):
    measured = made_up(errors, noises)
    assert words in text.verdict(measured, measured.steps[0])
    assert words in text.table_text(measured, SETTING, [])


def test_a_lead_that_hangs_on_a_few_noises_is_too_close_to_call(text, results, made_up):
    theirs = np.ones(16)
    ours = np.where(np.arange(16) < 2, 3.0, 0.5)
    cells = (results.Cell("ours", 6, 6, 6, ours), results.Cell("theirs", 6, 6, 6, theirs * 1.2))
    measured = results.Measured((6,), ("ours", "theirs"), cells, 16, 0.0, 1, 1.0, {})
    assert measured.winner(6).name == "ours" and "too close to call" in text.verdict(measured, 6)


def test_the_whole_text(text, made_up):
    found = text.table_text(made_up(ERRORS), SETTING, ["karras starts at sigma 5, the model at 14"])
    for words in ("euler, cfg 1.5, 16 noises (seeds 7 to 8)", "model: SDXL, EPS, float16", "same noise",
                  "dpmpp_2m on karras, 100 steps; half as many end 0.0001 away from it", "6 steps, 6 calls",
                  "karras starts at sigma 5", "took 1234 model calls of 8 samples, 5.0 s"):
        assert words in found
    assert "raise" not in found


def test_too_coarse_a_reference_and_too_few_noises_are_told(text, made_up):
    assert "raise reference_steps" in text.table_text(made_up(ERRORS, drift=0.02), SETTING, [])
    assert "fewer than 8 noises" in text.table_text(made_up(ERRORS, noises=2), SETTING, [])


def test_nested_latents_are_measured_whole(comfy, results):
    from comfy.nested_tensor import NestedTensor

    a = NestedTensor([torch.zeros(2, 4, 2, 2), torch.zeros(2, 8, 6)])
    b = NestedTensor([torch.zeros(2, 4, 2, 2), torch.ones(2, 8, 6) * torch.tensor([1.0, 2.0]).reshape(2, 1, 1)])
    assert results.end_errors(a, b) == pytest.approx([(48 / 64) ** 0.5, 2 * (48 / 64) ** 0.5])
    assert results.first_part(a).shape == (2, 4, 2, 2)


# Plot

@pytest.mark.parametrize("errors", [
    ERRORS, {"a": {6: 0.1}}, {"a": {6: 0.0}}, {"a": {6: float("nan"), 10: 1e9}, "b": {1: 1e-9, 10000: 1.0}},
    {f"schedule {i} with a rather long name": {6: 0.1 + i, 20: 0.1} for i in range(40)},
])
def test_the_plot_takes_any_numbers(plot, made_up, errors):
    picture = plot.draw_errors(made_up(errors), frozenset({"a"}), "euler")
    assert picture.shape == (1, plot.HEIGHT, plot.WIDTH, 3) and picture.dtype == torch.float32
    assert picture.isfinite().all() and 0 <= picture.min() and picture.max() == 1 and picture.std() > 0.05


def where(picture, colour) -> np.ndarray:
    """(n, 2) row and column of the pixels of a colour inside the axes."""
    wanted = torch.tensor(colour) / 255
    return torch.nonzero((picture[0] - wanted).abs().amax(dim=-1) < 0.02).numpy()


def test_both_axes_are_logarithmic(plot, made_up):
    """Errors that fall as 1/calls lie on a straight line of slope -1; on other axes they do not."""
    measured = made_up({"ART": {4: 1.0, 8: 0.5, 32: 0.125}})
    assert plot.line_points(measured.cells, "ART")[0][0] == 4.0
    pixels = where(plot.draw_errors(measured, frozenset({"ART"}), "euler"), plot.ART)
    inside = pixels[pixels[:, 1] < plot.BOX[2]]
    slope, shift = np.polyfit(inside[:, 1], inside[:, 0], 1)
    assert slope > 0 and np.abs(slope * inside[:, 1] + shift - inside[:, 0]).max() < 8


def test_learned_schedules_are_red(plot):
    colours = plot.line_colours(["karras", "mine", "beta"], frozenset({"mine"}))
    assert colours["mine"] == plot.ART and len(set(colours.values())) == 3


def test_colours_are_not_all_that_tells_learned_schedules_apart(plot, made_up, monkeypatch):
    """Their dots are full, those of the host's are rings, too thin for a pixel of their colour alone."""
    monkeypatch.setattr(plot.Panel, "line", lambda *_: None)
    for learned, full in ((frozenset({"a"}), True), (frozenset(), False)):
        picture = plot.draw_errors(made_up({"a": {6: 0.2}, "b": {6: 0.1}}), learned, "euler")
        colour = plot.line_colours(["b", "a"], learned)["a"]
        pixels = where(picture, colour)
        inside = pixels[pixels[:, 1] < plot.BOX[2]]
        assert len(inside) > 30 if full else len(inside) < 10


def test_ticks_stay_apart(plot):
    assert plot.call_ticks([6.0, 10.0, 10.5, 20.0]) == [6, 10, 20]


# Contact sheet

class VAE:
    """Answers grey pictures of one shape and remembers the latents."""

    def __init__(self, *shape):
        self.shape, self.seen = shape, []

    def decode(self, latent):
        self.seen.append(latent)
        return torch.full((1, *self.shape), 0.5)


@pytest.mark.parametrize("shape, size", [
    ((28, 28, 3), (112, 112)), ((512, 1024, 3), (256, 128)), ((200, 120, 3), (120, 200)), ((28, 28, 1), (112, 112)),
    ((5, 64, 64, 4), (128, 128)), ((2048, 3, 3), (1, 256)),
])
def test_pictures_of_any_size(sheet, shape, size):
    """The last but one are the frames of a video, with transparency."""
    assert sheet.decode(VAE(*shape), torch.zeros(1, 4, 8, 8)).size == size


def test_the_sheet_shows_every_cell_and_frames_the_best(sheet, made_up):
    vae, shown = VAE(28, 28, 3), torch.zeros(2, 1, 28, 28)
    picture = sheet.draw_sheet(made_up(ERRORS, shown=shown), vae)
    assert len(vae.seen) == 2 * 7 and {latent.shape for latent in vae.seen} == {(1, 1, 28, 28)}
    green = where(picture, sheet.BEST)
    middle = picture.shape[1] / 2
    assert len(green) and green[:, 0].max() < middle  # ART is in the first row
    turned = sheet.draw_sheet(made_up({**ERRORS, "karras": {6: 0.2, 10: 0.01}}, shown=shown), vae)
    rows_of_best = where(turned, sheet.BEST)[:, 0]
    assert rows_of_best.max() - rows_of_best.min() > 112  # in two rows now


def test_the_sheet_without_some_cells(sheet, made_up):
    errors = {**ERRORS, "kl_optimal": {10: 0.2}, "beta": {6: (0.1, 7), 10: float("nan")}}
    assert sheet.draw_sheet(made_up(errors, shown=torch.zeros(1, 4, 8, 8)), VAE(64, 64, 3)).isfinite().all()


def test_without_a_vae_a_small_picture_says_so(sheet):
    picture = sheet.no_pictures()
    assert picture.shape == (1, 64, 320, 3) and picture.std() > 0.05


# Progress

def test_the_estimate_leaves_out_the_first_call(comfy):
    """The first of 101 calls takes 50 s, as it loads the model, the others 2 s each."""
    from art_nodes.host.comparing_progress import Meter

    now, told = [0.0], []
    meter = Meter(101, "101 model calls", told.append, clock=lambda: now[0])
    for call in range(5):
        now[0] += 2.0 if call else 50.0
        meter.called()
    assert told == ["101 model calls", "101 model calls\ncall 5, about 3 min left"]
    assert meter.left(now[0]) == 2.0 * 96
    for _ in range(96):
        now[0] += 2.0
        meter.called()
    assert told[-1].endswith("call 101, about 1 s left") and meter.finish() == 250.0
    assert told[-1] == "101 model calls\ndone in 4 min", "or a page that keeps the last line speaks of time left"
    assert len(told) < 60  # not after every call


@pytest.mark.parametrize("seconds, words", [(0.2, "1 s"), (99.0, "99 s"), (170.0, "3 min"), (9000.0, "2.5 h")])
def test_durations(comfy, seconds, words):
    from art_nodes.host.comparing_progress import duration

    assert duration(seconds) == words


def test_text_on_the_node_where_the_host_can(comfy, monkeypatch):
    from art_nodes.host.progress import node_text

    sent = []

    def server(client):
        return types.SimpleNamespace(client_id=client, send_progress_text=lambda *args: sent.append(args))

    # Nobody else is told, and without a client nobody at all.
    for instance, expected in ((server("me"), [("hello", "12:5", "me")]), (server(None), []),
                               (types.SimpleNamespace(client_id="me"), []), (None, [])):
        sent.clear()
        module = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=instance))
        monkeypatch.setitem(sys.modules, "server", module)
        node_text("12:5")("hello")
        assert sent == expected
    monkeypatch.delitem(sys.modules, "server")
    node_text("12:5")("no server at all")


def test_a_comparison_as_plain_values(results):
    def cell(name, steps, rms):
        return types.SimpleNamespace(name=name, steps=steps, calls=2 * steps - 1, rms=rms)

    measured = types.SimpleNamespace(
        noises=8, ranked=lambda: ["mine", "karras", "broken"],
        cells=(cell("karras", 6, 0.2), cell("mine", 10, 0.05), cell("mine", 6, np.float64(0.1)),
               cell("broken", 6, math.nan), cell("broken", 10, 0.0)))
    told = json.loads(json.dumps(results.comparison_record(measured, {"mine"}, "heun"), allow_nan=False))
    assert told == {"sampler": "heun", "noises": 8, "curves": [
        {"name": "mine", "learned": True, "points": [[11, 6, 0.1], [19, 10, 0.05]]},
        {"name": "karras", "learned": False, "points": [[11, 6, 0.2]]},
        {"name": "broken", "learned": False, "points": []}]}


def test_one_batch_has_one_seed(text, made_up):
    assert "8 noises (seed 7)" in text.table_text(made_up(ERRORS, noises=8), {**SETTING, "seeds": 1}, [])
    # Of two the second one's is counted on from the largest seed as the noise is.
    largest = {**SETTING, "seed": 2**64 - 1, "seeds": 2}
    assert "(seeds 18446744073709551615 to 0)" in text.table_text(made_up(ERRORS, noises=8), largest, [])
