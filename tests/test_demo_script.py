"""The demo's own arithmetic, table and drawing; the host is not needed here."""

import io
import json

import numpy as np
import pytest

from benchmarks import demo, pictures
from benchmarks import demo_scores as scores
from benchmarks import demo_workflow as flow

SIZES = {flow.ART: 1.0, "karras": 2.0, "beta": 4.0}


def made_up(sizes=SIZES, steps=(6, 10), count=40):
    """Scores of pictures that are off by a constant: twice as much at the first number of steps."""
    reference = np.random.default_rng(0).normal(size=(count, 4, 4))
    rendered = {(name, k): reference + off * (2 if k == steps[0] else 1) for k in steps for name, off in sizes.items()}
    return scores.score(rendered, reference)


def test_picture_errors_by_hand():
    reference = np.zeros((2, 1, 2))
    errors = scores.picture_errors(np.array([[[3.0, 4.0]], [[0.0, 0.0]]]), reference)
    assert errors == pytest.approx([np.sqrt(12.5), 0])
    assert scores.total(errors) == pytest.approx(2.5)


@pytest.mark.parametrize("pictures_, message", [
    (np.zeros((2, 3, 3)), "one shape"), (np.full((2, 2, 2), np.nan), "finite"),
])
def test_picture_errors_refuses(pictures_, message):
    with pytest.raises(ValueError, match=message):
        scores.picture_errors(pictures_, np.zeros((2, 2, 2)))


def test_scores_and_ratio_to_the_strongest_built_in():
    found = {(s.schedule, s.steps): s for s in made_up()}
    assert found[flow.ART, 6].rms == pytest.approx(2.0)
    assert found["beta", 10].median == pytest.approx(4.0)
    assert [found[name, 10].ratio for name in SIZES] == pytest.approx([0.5, 1.0, 2.0])
    assert found["karras", 6].calls == 6


def test_a_loss_is_told_as_plainly_as_a_win():
    assert "ART wins with 0.50 x the error of karras" in scores.verdict(made_up(), 6)
    assert "ART loses with 1.50 x the error of karras" in scores.verdict(made_up({**SIZES, flow.ART: 3.0}), 6)


def test_a_lead_that_hangs_on_a_few_pictures_is_no_win():
    reference, turn = np.zeros((30, 4, 4)), np.arange(30).reshape(-1, 1, 1) % 2
    rendered = {(flow.ART, 6): reference + 1.0 + turn, ("karras", 6): reference + 2.01 - turn}
    assert "too close to call" in scores.verdict(scores.score(rendered, reference), 6)


def test_table_marks_the_lowest_error_of_each_column():
    lines = scores.table(made_up()).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines[2:]] == list(SIZES)
    assert [line.count("*") for line in lines] == [0, 0, 2, 0, 0]


def test_json_holds_every_number():
    data = json.loads(scores.as_json(made_up(), {"date": "today"}))
    assert data["date"] == "today"
    assert len(data["scores"]) == 6
    assert all(len(row["errors"]) == 40 for row in data["scores"])
    assert data["art_against_strongest"][0]["strongest_built_in"] == "karras"


def block(rows=2, count=3, best=False):
    """A block of grey pictures, 4 high and 5 wide."""
    row = pictures.Row("name", "error 1", np.full((count, 4, 5), 128, np.uint8), best)
    return pictures.Block("heading", (row,) * rows)


def test_sheet_has_room_for_everything():
    blocks = [block(1), block(3, best=True)]
    sheet = pictures.draw_sheet("title", "subtitle", blocks)
    assert sheet.size == pictures.sheet_size(blocks)
    wider, higher = pictures.sheet_size([block(1, 4), block(4, 4)])
    assert wider - sheet.width == 5 * pictures.ZOOM + pictures.GAP
    assert higher - sheet.height == 4 * pictures.ZOOM + pictures.GAP
    corner = (sheet.width - pictures.MARGIN - 1, sheet.height - pictures.MARGIN - 1)
    assert sheet.getpixel(corner) == (128,) * 3  # the last picture ends at the margin
    assert sheet.getpixel((corner[0] + 1, corner[1])) == (255,) * 3


def test_sheet_refuses_rows_that_do_not_fit_together():
    with pytest.raises(ValueError, match="one shape"):
        pictures.draw_sheet("title", "subtitle", [block(count=3), block(count=4)])


def test_pixels_are_clipped_and_rounded():
    assert demo.pixels(np.array([[[-9.0, 0.0, 9.0]]])).tolist() == [[[0, 73, 255]]]


def describe(**inputs):
    """A node as the host describes it."""
    return {"input": {"required": inputs}}


def test_workflow_fills_in_defaults_and_keeps_training_noise_apart():
    known = {
        "ARTTrain": describe(trace=["FLOAT", {"default": 0.9}], cfg=["FLOAT", {"default": 7.0}],
                             method=["COMBO", {"options": ["ART-RL", "closed form"]}]),
        "ARTSigmas": describe(schedule_name=[["one", "two"], {}], steps=["INT", {"default": 99}]),
    }
    known["ARTTrain"]["input"]["optional"] = {"budget": ["COMBO", {"options": ["feedback", "price"]}],
                                              "references": ["LATENT", {}]}
    settings = flow.Settings(check_reference=True)
    workflow = flow.build(settings, known)
    train = workflow["train"]["inputs"]
    assert train["budget"] == "feedback" and "references" not in train and train["objective"] == settings.objective
    assert (train["trace"], train["cfg"], train["method"]) == (0.9, settings.cfg, "ART-RL")
    assert workflow["ART-6-sigmas"]["inputs"]["schedule_name"] == "one"
    assert [workflow[f"ART-{k}-sigmas"]["inputs"]["steps"] for k in settings.steps] == list(settings.steps)
    assert train["seed"] != workflow["noise"]["inputs"]["noise_seed"]
    assert set(flow.phases(settings)) <= set(workflow)
    links = [link for node in workflow.values() for link in node["inputs"].values() if isinstance(link, list)]
    assert {link[0] for link in links} <= set(workflow)
    assert {node["class_type"] for node in workflow.values()} == set(flow.NEEDED)
    assert flow.missing_nodes(known) == [name for name in flow.NEEDED if name not in known]


class Terminal(io.StringIO):
    """Text that claims to be a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("out, bars", [(Terminal(), True), (io.StringIO(), False)])
def test_progress_shows_phases(out, bars):
    progress = demo.Progress({"a": "first", "b": "second"}, out)
    for kind, data in [("executing", {"node": "other"}), ("executing", {"node": "a"}),
                       ("progress", {"node": "a", "value": 1, "max": 2}), ("executing", {"node": "b"})]:
        progress(kind, data)
    progress.finish()
    progress.finish()
    assert list(progress.seconds) == ["a", "b"]
    assert "1/2 first" in out.getvalue() and "2/2 second" in out.getvalue()
    assert ("50%" in out.getvalue()) is bars


def test_missing_host_is_exit_code_1(monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="COMFYUI_PATH.*run .ci/setup") as stop:
        demo.main([])
    assert isinstance(stop.value.code, str)  # printed to stderr, exit code 1
