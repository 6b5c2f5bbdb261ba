"""The routes that the page reads: what they answer, and what they refuse."""

import asyncio
import datetime
import os
import sys
import threading

import numpy as np
import pytest
import requests
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from art_nodes.core import Schedule
from tests.host import schedules

pytestmark = pytest.mark.host
HOSTILE = "<img src=x onerror=alert(1)>"
SDXL = {"model": "SDXL", "model_sampling": "ModelSamplingDiscrete + EPS", "sigma_max": 14.6146, "sigma_min": 0.0292}


@pytest.fixture
def get(library, monkeypatch):
    """get(path, **query) -> (status, JSON), through a server with the routes registered as in the host."""
    from art_nodes.host import routes

    def ask(path, **query):
        return asyncio.run(_ask(routes, monkeypatch, path, query))

    return ask


async def _ask(routes, monkeypatch, path, query):
    app, table = web.Application(), web.RouteTableDef()
    register(routes, monkeypatch, table, app=app)
    app.add_routes(table)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get(path, params=query)
        assert answer.headers.get("Cache-Control") == "no-store"
        return answer.status, await answer.json()


def register(routes, monkeypatch, table, server=None, app=None):
    """Register on a made-up server; returns what register_routes does."""
    import types

    instance = server or types.SimpleNamespace(routes=table, app=app)
    module = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=instance))
    monkeypatch.setitem(sys.modules, "server", module)
    return routes.register_routes()


def test_registering(library, monkeypatch):
    import types

    from art_nodes.host import routes

    table = web.RouteTableDef()
    server = types.SimpleNamespace(routes=table, app=web.Application())
    assert register(routes, monkeypatch, table, server) is True
    assert register(routes, monkeypatch, table, server) is False
    assert sorted(route.path for route in table) == ["/art/ladders", "/art/live", "/art/schedule", "/art/schedules"]
    assert {route.method for route in table} == {"GET"}
    for missing in (None, types.SimpleNamespace(), types.SimpleNamespace(PromptServer=None)):
        monkeypatch.setitem(sys.modules, "server", missing)
        assert routes.register_routes() is False


def test_browsers_ask_for_our_modules_anew(server):
    """Or one that a browser kept from before an update would leave the page without all of ours."""
    [ours] = [path for path in requests.get(f"{server.url}/extensions", timeout=60).json() if path.endswith("/art.js")]
    for name in ("host.mjs", "menu.mjs"):
        answer = requests.get(f"{server.url}{ours.removesuffix('art.js')}art/{name}", timeout=60)
        assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-cache"


def test_the_list(get, library, tmp_path):
    assert get("/art/schedules") == (200, {"schedules": []})
    schedules.schedule(title="demo").save(tmp_path / "bundled" / "demo.safetensors")
    library.save_schedule(schedules.schedule(top=14.6146, **SDXL, objective="end:euler"), "mine")
    library.save_schedule(schedules.schedule(carried_over="yes: from SDXL", date="2026-01-02T03:04"), "moved")
    schedules.schedule().save(tmp_path / "trained" / f"{HOSTILE}.safetensors")
    (tmp_path / "trained" / "broken.safetensors").write_bytes(b"x")
    os.utime(tmp_path / "trained" / "mine.safetensors", (0, 1_699_963_200))
    listed = {each["name"]: each for each in get("/art/schedules")[1]["schedules"]}
    assert {name: each.get("origin") for name, each in listed.items()} == {
        "demo": "bundled", "mine": "trained", "moved": "transferred", HOSTILE: "trained", "broken": None}
    dates = [listed[name]["date"] for name in ("demo", "mine", "moved")]
    assert dates == [None, "2023-11-14", "2026-01-02"]
    expected = {"family": "SDXL", "objective": "end:euler", "sigma_min": 0.0292, "grids": []}
    assert expected.items() <= listed["mine"].items()
    assert listed["mine"]["sigma_max"] == pytest.approx(14.6146) and 20 < len(listed["mine"]["curve"]) <= 70
    assert "broken.safetensors" in listed["broken"]["error"]
    assert str(tmp_path) not in str(listed)


def test_the_list_tells_what_a_file_says_in_short(get, library):
    clock = 80 * (1 - np.linspace(0, 1, 1025)) ** 2
    told = {"title": "t" * 500, "cost": 1.25, "sigma_min": 0.1, "carried_over": "no, it was learned here"}
    library.save_schedule(Schedule(clock, told, {2: [80.0, 9.0, 0.0]}), "a")
    library.save_schedule(Schedule(clock, {"title": 3, "cost": "little", "sigma_min": "low"}), "b")
    first, second = get("/art/schedules")[1]["schedules"]
    expected = {"title": "t" * 200, "cost": 1.25, "sigma_min": 0.1, "origin": "trained", "grids": [2]}
    assert expected.items() <= first.items() and 60 < len(first["curve"]) < 70
    assert {"title": None, "cost": None, "sigma_min": None, "grids": []}.items() <= second.items()


def test_one_file_never_costs_the_list(get, library, monkeypatch):
    """Whatever goes wrong with it."""
    def load(path):
        raise AttributeError("no such kind")

    library.save_schedule(schedules.schedule(), "odd")
    monkeypatch.setattr("art_nodes.host.routes.Schedule.load", load)
    status, answer = get("/art/schedules")
    assert status == 200 and {"name": "odd", "error": "no such kind"} in answer["schedules"]


def test_a_file_that_goes_away_meanwhile_is_an_error_of_its_own(get, library, monkeypatch, tmp_path):
    monkeypatch.setattr(library, "schedule_files", lambda: {"gone": tmp_path / "gone.safetensors"})
    [listed] = get("/art/schedules")[1]["schedules"]
    assert set(listed) == {"name", "error"} and listed["name"] == "gone"
    monkeypatch.setattr(library, "load_schedule", lambda name: (tmp_path / name).read_bytes())
    status, answer = get("/art/schedule", name="gone")
    assert status == 404 and set(answer) == {"error"}


def test_folders_are_read_in_a_thread_of_their_own(get, library, monkeypatch):
    """A network drive that sleeps must not hold up the host's server."""
    threads = []
    monkeypatch.setattr(library, "schedule_files", lambda: threads.append(threading.current_thread()) or {})
    for path in ("/art/schedules", "/art/schedule", "/art/ladders"):
        get(path, name="a", steps="4")
    assert len(threads) == 3 and threading.main_thread() not in threads


@pytest.mark.parametrize("changed", [-11_644_473_600, 2**62])
def test_a_file_with_an_impossible_date_has_none(library, monkeypatch, tmp_path, changed):
    """As archives and network drives give; on Windows times before 1970 are an error. The rest is still listed."""
    from art_nodes.host import routes

    class Windows(datetime.datetime):
        @classmethod
        def fromtimestamp(cls, seconds):
            if seconds < 0:
                raise OSError(22, "Invalid argument")
            return super().fromtimestamp(seconds)

    monkeypatch.setattr("datetime.datetime", Windows)
    assert routes.date(tmp_path / "a.safetensors", {}, changed) is None


def test_the_list_reads_the_folders_once(get, library, monkeypatch):
    """Not once a schedule: with hundreds of them on a network drive that would take minutes."""
    for rate in (1.0, 2.0, 3.0):
        library.save_schedule(schedules.schedule(rate=rate), "s")
    walks, walk = [], library.schedule_files
    monkeypatch.setattr(library, "schedule_files", lambda: walks.append(1) or walk())
    assert len(get("/art/schedules")[1]["schedules"]) == 3 and len(walks) == 1


def test_a_changed_file_is_read_again(get, library, tmp_path):
    path = tmp_path / "trained" / "a.safetensors"
    library.save_schedule(schedules.schedule(model="first"), "a")
    assert get("/art/schedules")[1]["schedules"][0]["family"] == "first"
    schedules.schedule(model="second one").save(path)
    assert get("/art/schedules")[1]["schedules"][0]["family"] == "second one"
    before = path.stat().st_mtime_ns
    schedules.schedule(model="third one, longer").save(path)
    os.utime(path, ns=(before, before))  # within one tick of the disk's clock
    assert get("/art/schedules")[1]["schedules"][0]["family"] == "third one, longer"


def test_one_schedule(get, library):
    grid = np.array([80.0, 9.0, 0.0])
    told = {"model": "M", "odd": float("nan"), "more": [1.5, float("inf"), {"a": [float("nan")]}], "seed": 2**64 - 1}
    made = Schedule(schedules.schedule().clock, told, {2: grid})
    library.save_schedule(made, "a")
    status, answer = get("/art/schedule", name="a")
    assert status == 200 and answer["clock"] == made.clock.tolist() and answer["grids"] == {"2": [80.0, 9.0, 0.0]}
    assert answer["provenance"] == {"model": "M", "odd": None, "more": [1.5, None, {"a": [None]}], "seed": 2**64 - 1}


@pytest.mark.parametrize("name", [*schedules.BAD_NAMES, "unknown", HOSTILE, "../../bundled/demo", "%2e%2e/x", "x\0y"])
@pytest.mark.parametrize("path", ["/art/schedule", "/art/ladders"])
def test_only_names_of_the_library(get, library, tmp_path, path, name):
    schedules.schedule().save(tmp_path / "outside.safetensors")
    status, answer = get(path, name=name, steps="5")
    assert status == 404 and set(answer) == {"error"}


def test_the_hosts_own_ladders(get, library, comfy):
    import comfy.model_sampling

    library.save_schedule(schedules.schedule(top=14.6146, **SDXL), "a")
    table = comfy.model_sampling.ModelSamplingDiscrete()
    for steps, denoise in ((10, 1.0), (6, 0.5), (1, 1.0)):
        status, answer = get("/art/ladders", name="a", steps=str(steps), denoise=str(denoise))
        assert status == 200 and list(answer["ladders"]) == ["karras", "normal"]
        for kind, grid in answer["ladders"].items():
            theirs = comfy.samplers.calculate_sigmas(table, kind, int(steps / denoise))[-(steps + 1):]
            assert grid == pytest.approx(theirs.tolist())


@pytest.mark.parametrize(("kind", "top", "more"), [
    ("ModelSamplingContinuousEDM + EDM", 80.0, {"sigma_min": 0.002}),
    ("ModelSamplingDiscreteFlow + CONST", 1.0, {"shift": 3.0}),
    ("ModelSamplingFlux + CONST", 1.0, {"shift": 1.15}),
])
def test_other_noise_levels(get, library, kind, top, more):
    library.save_schedule(schedules.schedule(top=top, model_sampling=kind, **more), "a")
    answer = get("/art/ladders", name="a", steps="8")[1]["ladders"]
    assert set(answer) == {"karras", "normal"}
    assert answer["normal"][0] == pytest.approx(top, rel=0.02)


@pytest.mark.parametrize("kind", ["SomethingElse + EPS", "ModelSamplingDiscrete + EPS", None])
def test_a_range_alone_has_karras(get, library, comfy, kind):
    library.save_schedule(schedules.schedule(top=33.0, sigma_min=0.1, model_sampling=kind), "a")
    answer = get("/art/ladders", name="a", steps="8")[1]["ladders"]
    assert list(answer) == ["karras"]
    assert (answer["karras"][0], answer["karras"][-2]) == (pytest.approx(33.0), pytest.approx(0.1))


def test_files_of_the_first_days_have_the_usual_table(get, library, comfy):
    """They do not name their noise levels; others whose name begins like the table's are not taken for it."""
    library.save_schedule(schedules.schedule(top=14.6146), "first")
    known = {"model_sampling": "ModelSamplingDiscreteDistilled + EPS", "sigma_min": 0.0292}
    library.save_schedule(schedules.schedule(top=14.6146, **known), "later")
    assert list(get("/art/ladders", name="first", steps="8")[1]["ladders"]) == ["karras", "normal"]
    assert list(get("/art/ladders", name="later", steps="8")[1]["ladders"]) == ["karras"]


def test_a_denoise_of_0_has_no_ladder(get, library):
    library.save_schedule(schedules.schedule(top=14.6146, **SDXL), "a")
    assert get("/art/ladders", name="a", steps="5", denoise="0") == (200, {"ladders": {}})


@pytest.mark.parametrize("known", [{"model_sampling": "SomethingElse + EPS"}, {"model_sampling": 3},
                                   {"model_sampling": "SomethingElse + EPS", "sigma_min": 40.0},
                                   {"model_sampling": "SomethingElse + EPS", "sigma_min": 0.0},
                                   {"model_sampling": "ModelSamplingDiscrete + EPS"}, {},
                                   {"model_sampling": "ModelSamplingContinuousEDM + EDM", "sigma_min": "x"}])
def test_unknown_noise_levels_have_no_ladders(get, library, known):
    library.save_schedule(schedules.schedule(top=33.0, **known), "a")
    assert get("/art/ladders", name="a", steps="8") == (200, {"ladders": {}})


@pytest.mark.parametrize("query", [{}, {"steps": "0"}, {"steps": "x"}, {"steps": "nan"}, {"steps": "99999999"},
                                   {"steps": "5", "denoise": "2"}, {"steps": "5", "denoise": "inf"},
                                   {"steps": "5" * 1000}])
def test_bad_numbers(get, library, query):
    library.save_schedule(schedules.schedule(), "a")
    status, answer = get("/art/ladders", name="a", **query)
    assert status == 404 and len(answer["error"]) <= 500


@pytest.mark.parametrize("denoise", ["0", "0.0001", "1e-320"])
def test_too_many_steps_are_not_made(get, library, denoise):
    library.save_schedule(schedules.schedule(top=14.6146, **SDXL), "a")
    assert get("/art/ladders", name="a", steps="1000", denoise=denoise) == (200, {"ladders": {}})


def test_live_states_of_a_client(get, monkeypatch):
    from art_nodes.host import events

    monkeypatch.setattr(events, "_last", type(events._last)({("tab", None, "5"): {"node": "5"}}))
    assert get("/art/live", client="tab") == (200, {"runs": [{"node": "5"}]})
    assert get("/art/live") == get("/art/live", client="other") == (200, {"runs": []})


def test_reading_writes_nothing(get, library, tmp_path):
    library.save_schedule(schedules.schedule(), "a")
    before = sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    for path in ("/art/schedules", "/art/schedule", "/art/ladders", "/art/live"):
        get(path, name="a", steps="4", client="x")
    assert sorted((str(path), path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_what_is_nested_too_deeply_to_send_is_an_error_of_that_schedule(get, library):
    deep = "end"
    for _ in range(600):
        deep = [deep]
    library.save_schedule(schedules.schedule(note=deep), "deep")
    assert get("/art/schedule", name="deep")[0] in (200, 404)
