"""Schedule: the promises of .sigmas(...), and a file that nobody can be hurt by."""

import dataclasses
import json
import math
import os
import pickle
import struct
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from art_nodes.core import Schedule, ScheduleFileError
from art_nodes.core.schedule import FORMAT, HEADER, VERSION, _strictly_descending
from art_nodes.core.version import ART_VERSION


def schedule_from(weights, sigma_max=14.6146) -> Schedule:
    """A schedule with clock steps in the given proportions."""
    steps = np.array(weights) / np.sum(weights)
    clock = sigma_max * (1 - np.append(0.0, np.cumsum(steps)))
    clock[-1] = 0.0
    return Schedule(clock, {"method": "by hand"})


EVEN = schedule_from(np.linspace(3, 0.1, 64))
parts = st.lists(st.floats(1e-6, 10.0), min_size=2, max_size=80)


@settings(max_examples=200, deadline=None)
@given(weights=parts, steps=st.integers(1, 300), denoise=st.floats(0.01, 1.0),
       sigma_max=st.none() | st.floats(0.01, 200.0))
def test_sigmas_keep_their_promise(weights, steps, denoise, sigma_max):
    """steps + 1 float32 values, strictly descending, finite, the last exactly 0."""
    schedule = schedule_from(weights)
    sigmas = schedule.sigmas(steps, denoise=denoise, sigma_max=sigma_max)
    assert sigmas.dtype == torch.float32 and sigmas.device.type == "cpu" and sigmas.shape == (steps + 1,)
    assert torch.isfinite(sigmas).all() and (sigmas[:-1] > sigmas[1:]).all()
    assert sigmas[-1] == 0 and sigmas[0] <= schedule.sigma_max * (1 + 1e-6)


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize("denoise", [1.0, 0.75, 0.5, 0.3, 0.999])
def test_denoise_runs_the_end_of_a_longer_schedule(steps, denoise):
    """BasicScheduler's rule: of int(steps / denoise) steps the last `steps` are run."""
    total = int(steps / denoise)
    assert torch.equal(EVEN.sigmas(steps, denoise=denoise), EVEN.sigmas(total)[-(steps + 1):])


@pytest.mark.parametrize("top", [10.0, 3.0, 0.5])
def test_smaller_range_starts_there_and_keeps_the_pace(top):
    """The remaining clock is cut into equal pieces: every second of 2 K steps is one of K."""
    coarse, fine = EVEN.sigmas(8, sigma_max=top), EVEN.sigmas(16, sigma_max=top)
    assert float(coarse[0]) == pytest.approx(top)
    assert torch.allclose(coarse, fine[::2], rtol=1e-5)


def test_larger_range_changes_nothing():
    assert torch.equal(EVEN.sigmas(8, sigma_max=4518.8), EVEN.sigmas(8))


def test_answers_are_fresh():
    """Samplers write into their sigmas; the next one must not see that."""
    EVEN.sigmas(5)[:] = -1
    assert EVEN.sigmas(5)[0] == pytest.approx(EVEN.sigma_max)
    with pytest.raises(ValueError):
        EVEN.clock[0] = 1.0


def test_what_a_schedule_is_made_of_stays_its_makers_own():
    """Arrays may be written into afterwards, and the schedule keeps what it was made of."""
    clock, grid = np.array([3.0, 1.0, 0.0]), np.array([3.0, 2.0, 0.0])
    schedule = Schedule(clock, grids={2: grid})
    clock[1] = grid[1] = 2.5
    assert (schedule.clock[1], schedule.grids[2][1]) == (1.0, 2.0)


@pytest.mark.parametrize("steps", [0, -3, 2.5, True, math.nan, math.inf, "ten", None])
def test_refuses_bad_steps(steps):
    with pytest.raises(ValueError, match="steps must be a whole number >= 1; got"):
        EVEN.sigmas(steps)


@pytest.mark.parametrize("denoise", [0.0, -0.5, 1.5, math.nan, 1e-320, None, "half", True])
def test_refuses_bad_denoise(denoise):
    with pytest.raises(ValueError, match=r"denoise must lie in \(0, 1\]; got"):
        EVEN.sigmas(5, denoise=denoise)


@pytest.mark.parametrize("sigma_max", [0.0, -1.0, math.inf, math.nan])
def test_refuses_bad_sigma_max(sigma_max):
    with pytest.raises(ValueError, match="sigma_max must be finite and > 0"):
        EVEN.sigmas(5, sigma_max=sigma_max)


@pytest.mark.parametrize("clock", [[1.0, 0.5], [1.0, 1.0, 0.0], [0.5, 1.0, 0.0], [math.nan, 0.5, 0.0], [0.0],
                                   [[1.0, 0.0]], [math.inf, 1.0, 0.0], [1e39, 1.0, 0.0], np.linspace(1, 0, 5000)])
def test_refuses_bad_clocks(clock):
    with pytest.raises(ValueError, match="clock"):
        Schedule(np.array(clock))


@settings(max_examples=50, deadline=None)
@given(weights=parts, note=st.text(max_size=50))
def test_file_round_trip(tmp_path_factory, weights, note):
    path = tmp_path_factory.mktemp("files") / "clock.safetensors"
    schedule = Schedule(schedule_from(weights).clock, {"note": note, "orbits": 16})
    schedule.save(path)
    again = Schedule.load(path)
    assert np.array_equal(again.clock, schedule.clock) and again.provenance == schedule.provenance
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    first = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == first


def test_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "clock.safetensors"
    EVEN.save(path)
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        schedule_from([1, 2, 3]).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("tries", [3, 99])
def test_a_file_that_is_held_for_a_moment_is_saved(tmp_path, monkeypatch, tries):
    """As virus scanners and indexers do on Windows; nothing is left over where it is held for long."""
    replace, held, waited = os.replace, [], []

    def refused(*paths):
        held.append(paths)
        if len(held) <= tries:
            raise PermissionError(13, "used by another process")
        return replace(*paths)

    monkeypatch.setattr("os.replace", refused)
    monkeypatch.setattr("time.sleep", waited.append)
    if tries > 50:
        with pytest.raises(PermissionError, match="another process"):
            EVEN.save(tmp_path / "clock.safetensors")
        assert 1 < sum(waited) < 5 and list(tmp_path.iterdir()) == []
        return
    EVEN.save(tmp_path / "clock.safetensors")
    assert np.array_equal(Schedule.load(tmp_path / "clock.safetensors").clock, EVEN.clock)
    assert len(list(tmp_path.iterdir())) == 1 and len(waited) == tries


def test_a_save_that_is_stopped_leaves_nothing_behind(tmp_path, monkeypatch):
    """As a user's Ctrl-C does."""
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        EVEN.save(tmp_path / "clock.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_two_may_save_under_one_name_at_once(tmp_path, monkeypatch):
    path, replace, other = tmp_path / "clock.safetensors", os.replace, schedule_from([1, 2, 3])

    def meanwhile(*paths):
        monkeypatch.setattr("os.replace", replace)
        other.save(path)
        replace(*paths)

    monkeypatch.setattr("os.replace", meanwhile)
    EVEN.save(path)
    assert Schedule.load(path) == EVEN and list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing does not exist, so clock.safetensors cannot .*make it first"):
        EVEN.save(tmp_path / "missing" / "clock.safetensors")


def test_without_a_standard_output_files_are_named_all_the_same(tmp_path, monkeypatch):
    """A host that is started without a console has none."""
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(ScheduleFileError, match="clock.safetensors does not exist"):
        Schedule.load(tmp_path / "clock.safetensors")


def test_what_went_wrong_first_is_told(tmp_path, monkeypatch):
    """And not that the temporary file could not be deleted either."""
    def failing(text):
        return lambda *_: (_ for _ in ()).throw(OSError(text))

    monkeypatch.setattr("os.replace", failing("disk full"))
    monkeypatch.setattr("os.unlink", failing("in use"))
    with pytest.raises(OSError, match="disk full"):
        EVEN.save(tmp_path / "clock.safetensors")


def test_files_have_the_users_permissions(tmp_path):
    """Others may read them as they may read the rest of the models folder."""
    (tmp_path / "plain").touch()
    EVEN.save(tmp_path / "clock.safetensors")
    assert (tmp_path / "clock.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def write(path, clock, **header):
    """A safetensors file as an attacker might make it."""
    values = {"format": FORMAT, "version": VERSION, "provenance": {}} | header
    save_file({"clock": torch.as_tensor(clock)}, path, {HEADER: header.get("text") or json.dumps(values)})


@pytest.mark.parametrize("clock, header", [
    ([3.0, float("nan"), 0.0], {}),
    ([3.0, 4.0, 0.0], {}),
    ([3.0, 1.0], {}),
    (torch.linspace(1, 0, 1 << 16), {}),
    ([[3.0], [0.0]], {}),
    ([3, 1, 0], {"format": "something-else"}),
    ([3.0, 0.0], {"format": None}),
    ([3.0, 0.0], {"version": "99"}),
    ([3.0, 0.0], {"provenance": []}),
    ([3.0, 0.0], {"text": "{"}),
    ([3.0, 0.0], {"text": "[]"}),
    ([3.0, 0.0], {"text": "null"}),
    ([3.0, 0.0], {"text": "[" * 100_000}),
    ([3.0, 0.0], {"version": "\ud800" + "9" * 1000}),
    ([3.0, 0.0], {"provenance": {"title": ["\ud800"]}}),
])
def test_hostile_content_is_refused_by_name(tmp_path, clock, header):
    """In words that any log can write, with what caused them: half a character of two ends the host's worker."""
    path = tmp_path / "evil.safetensors"
    write(path, clock, **header)
    with pytest.raises(ScheduleFileError, match="evil.safetensors") as caught:
        Schedule.load(path)
    assert len("".join(traceback.format_exception(caught.value)[-1:]).encode()) < 400
    assert caught.value.__cause__ is None  # which a log would show in its own words


@pytest.mark.parametrize("provenance, grids", [({"note": "n" * (1 << 20)}, {}), ({}, {k: np.linspace(3, 0, k + 1)
                                                                                     for k in range(1, 258)})])
def test_what_could_not_be_read_is_not_saved(tmp_path, provenance, grids):
    with pytest.raises(ValueError, match="256 grids and 1048576 bytes of provenance at most; got .*leave some out"):
        Schedule(np.array([3.0, 1.0, 0.0]), provenance, grids).save(tmp_path / "large.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_kind_of_number_that_torch_has_no_name_for_is_refused_by_name(tmp_path, monkeypatch):
    """As float4 files are to torch 2.2."""
    def unknown(*_):
        raise AttributeError("module 'torch' has no attribute 'float4_e2m1fn_x2'")

    EVEN.save(tmp_path / "new.safetensors")
    monkeypatch.setattr(torch.Tensor, "double", unknown)
    with pytest.raises(ScheduleFileError, match="new.safetensors is damaged .*float4"):
        Schedule.load(tmp_path / "new.safetensors")


def test_a_million_steps_are_parted_at_once(monkeypatch):
    monkeypatch.setattr(torch, "nextafter", lambda *_: pytest.fail("nothing was equal"))
    grid = torch.linspace(1, 0, 1_000_001, dtype=torch.float64).float()
    assert _strictly_descending(grid) is grid


def test_a_folder_and_a_header_without_end_are_refused_by_name(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(ScheduleFileError, match="folder.safetensors"):
        Schedule.load(tmp_path / "folder.safetensors")
    (tmp_path / "large.safetensors").write_bytes(struct.pack("<Q", 2**21) + b"{" * 100)
    with pytest.raises(ScheduleFileError, match="large.safetensors is no ART schedule .its header is too large"):
        Schedule.load(tmp_path / "large.safetensors")


@pytest.mark.parametrize("grids", [{f"grid_{k}": torch.linspace(3, 0, k + 1) for k in range(1, 258)},
                                   {"grid_1": torch.zeros(1, 5000)}, {"grid_4999": torch.linspace(3, 0, 5000)}],
                         ids=["many", "a table", "long"])
def test_grids_that_would_fill_the_memory_are_refused_unread(tmp_path, grids):
    path = tmp_path / "evil.safetensors"
    header = json.dumps({"format": FORMAT, "version": "2", "provenance": {}})
    save_file({"clock": torch.tensor([3.0, 1.0, 0.0]), **grids}, path, {HEADER: header})
    with pytest.raises(ScheduleFileError, match="evil.safetensors is damaged .too many or too long grids"):
        Schedule.load(path)


def test_the_longest_clock_comes_back(tmp_path):
    longest = Schedule(np.linspace(1, 0, 4097))
    longest.save(tmp_path / "long.safetensors")
    assert Schedule.load(tmp_path / "long.safetensors") == longest
    with pytest.raises(ValueError, match="2 to 4097 sigmas"):
        Schedule(np.linspace(1, 0, 4098))


def test_a_smaller_range_cuts_the_grid_that_is_asked_for_and_not_the_clock():
    grid = np.array([14.6, 9.0, 5.0, 2.5, 1.0, 0.3, 0.0])
    both = Schedule(14.6 * (1 - np.linspace(0, 1, 33)) ** 3, {}, {6: grid})
    assert torch.equal(both.sigmas(6, sigma_max=5.0), Schedule(grid).sigmas(6, sigma_max=5.0))
    assert not torch.equal(both.sigmas(6, sigma_max=5.0), Schedule(both.clock).sigmas(6, sigma_max=5.0))


@pytest.mark.parametrize("clock", [[1.0, 1 - 1e-12, 1 - 2e-12, 0.5, 0.0], [1.0, 1e-46, 1e-47, 0.0]])
def test_what_float32_makes_equal_still_falls(clock):
    sigmas = Schedule(np.array(clock)).sigmas(len(clock) - 1)
    assert sigmas[0] == 1 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()


@pytest.mark.parametrize("kind, shape, size", [("F4", [8], 4), ("F64", [1, 40000], 320000), ("U8", [1, 70000], 70000),
                                               ("F64", [], 8)])
def test_clocks_of_other_kinds_and_shapes_are_refused_by_name(tmp_path, kind, shape, size):
    """Four-bit numbers, which torch cannot convert, and tables that would fill the memory and are not read."""
    EVEN.save(tmp_path / "whole.safetensors")
    raw = (tmp_path / "whole.safetensors").read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    table = json.loads(raw[8:8 + length])
    table["clock"] = {"dtype": kind, "shape": shape, "data_offsets": [0, size]}
    header = json.dumps(table).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    said = "odd.safetensors is damaged" if kind == "F4" else "odd.safetensors holds too many clock nodes, or no list"
    with pytest.raises(ScheduleFileError, match=said):
        Schedule.load(path)


class Harmful:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_damage_is_refused_by_name(tmp_path):
    path = tmp_path / "broken.safetensors"
    EVEN.save(path)
    whole = path.read_bytes()
    trap = tmp_path / "executed"
    header = json.dumps({"__metadata__": {"x": "y" * (2 << 20)}}).encode()
    for data in (b"", whole[:7], whole[:60], whole[:-8], b"\xff" * 200, pickle.dumps(Harmful(str(trap))),
                 struct.pack("<Q", len(header)) + header):
        path.write_bytes(data)
        with pytest.raises(ScheduleFileError, match="broken.safetensors"):
            Schedule.load(path)
    assert not trap.exists()
    with pytest.raises(ScheduleFileError, match="does not exist"):
        Schedule.load(tmp_path / "none.safetensors")


def test_schedules_are_equal_where_all_they_hold_is():
    first = Schedule(np.array([3.0, 1.0, 0.0]), {"method": "mine"}, {1: np.array([3.0, 0.0])})
    assert first == Schedule(first.clock.copy(), {"method": "mine"}, {1: np.array([3.0, 0.0])})
    for other in ({"clock": np.array([3.0, 1.1, 0.0])}, {"provenance": {}}, {"grids": {}},
                  {"grids": {2: np.array([3.0, 1.0, 0.0])}}):
        assert first != dataclasses.replace(first, **other)
    assert first != "mine"


def test_the_version_in_schedules_is_that_of_the_pack():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{ART_VERSION}"' in project
