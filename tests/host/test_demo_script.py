"""The demo's workflow in the running host, with few pictures and little training."""

import json
import re

import pytest
from PIL import Image

from art_nodes.core import Schedule
from benchmarks import demo
from benchmarks import demo_workflow as flow
from tests.host.schedules import fresh_name

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def settings():
    """A demo of seconds; its schedule is poor and that is all right."""
    return flow.Settings(pictures=4, shown=3, steps=(2, 3), orbits=2, nodes=8, iterations=10, reference_steps=12,
                         check_reference=True, name=fresh_name())


@pytest.fixture(scope="module")
def result(server, settings):
    """What the host made of the workflow."""
    progress = demo.Progress(flow.phases(settings))
    try:
        yield demo.run(server, settings, progress)
    finally:
        demo.remove_files(settings.name)


def test_every_schedule_is_rendered_from_the_same_noise(result, settings):
    assert set(result.rendered) == {(name, steps) for name in flow.SCHEDULES for steps in settings.steps}
    assert {latents.shape for latents in result.rendered.values()} == {(4, 28, 28)}
    scored = demo.score(result)
    assert len({s.rms for s in scored}) == len(scored)  # no schedule stands in for another
    # Other noise would give other garments: errors of half the range of grey.
    assert all(0 < s.rms < 100 for s in scored)
    assert demo.reference_shift(result, scored) < 0.5
    assert set(result.seconds) == set(flow.phases(settings))


def test_files_numbers_and_table(server, result, settings, tmp_path):
    scored = demo.score(result)
    paths = demo.write(tmp_path / "new" / "folder", settings, result, scored, demo.facts(server, settings, result))
    names = {path.name for path in paths}
    assert {"comparison.png", "schedule.png", "results.json", "report.txt"} < names
    folder = paths[0].parent
    for picture in ("comparison.png", "schedule.png"):
        with Image.open(folder / picture) as opened:
            assert opened.width > 300
    data = json.loads((folder / "results.json").read_text())
    assert len(data["scores"]) == len(scored)
    assert data["machine"]["cores"] >= 1 and data["versions"]["comfyui"]
    assert [len(sigmas) for sigmas in data["learned_sigmas"].values()] == [3, 4]
    assert Schedule.load(folder / "schedule.safetensors").sigma_max == pytest.approx(14.61, abs=0.01)
    text = demo.summary(settings, result, scored)
    for expected in (*flow.SCHEDULES, "strongest built-in", result.report.strip(), "twice its steps"):
        assert expected in text
    assert len(re.findall(r"\d\.\d\d\*", text)) == len(settings.steps)


def test_host_without_the_pack_is_told_so(server, settings, monkeypatch):
    monkeypatch.setattr(flow, "NEEDED", (*flow.NEEDED, "NoSuchNode"))
    with pytest.raises(demo.DemoError, match="lacks NoSuchNode"):
        demo.run(server, settings, demo.Progress({}))
