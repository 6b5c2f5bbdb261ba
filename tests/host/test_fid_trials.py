"""Trials for the FID comparison: made in the host, kept in files, and shown as schedules of ours."""

import numpy as np
import pytest

from benchmarks import fid, fid_trials
from benchmarks.matched_cells import ART, BATCH
from benchmarks.trial_cells import compute
from tests.host import schedules

pytestmark = pytest.mark.host
STEPS = 4


def test_a_trial_is_made_in_the_host_and_becomes_a_schedule_to_compare(comfy, tmp_path, monkeypatch):
    monkeypatch.setattr(fid_trials, "BATCHES", {"euler": 5})
    monkeypatch.setattr(fid_trials, "BUDGET", 600)
    [trial, *others] = fid_trials.trials(fid.PLACE, ["heun", "euler"], (STEPS,))
    assert (trial.sampler, trial.seed, len(others)) == ("euler", 0, 2)
    assert list(compute([trial], tmp_path, 1)) == [trial] and len(trial.sigmas(tmp_path)) == STEPS + 1
    assert (np.diff(trial.sigmas(tmp_path)) < 0).all() and not others[0].path(tmp_path).exists()

    monkeypatch.setattr(fid, "learned", lambda *_given, **_named: {})
    [column] = fid.all_columns(["euler"], (STEPS,), tmp_path).values()
    ours = {cell.schedule: cell for cell in column if cell.schedule.startswith(ART)}
    assert list(ours) == [f"{ART}spectrum:euler, tried, seed 0"]
    assert ours[fid_trials.title(trial)].sigmas == trial.sigmas(tmp_path) and len(column) > 10 and BATCH == 32


def test_orbits_to_foretell_with_are_recorded_once(comfy, tmp_path, monkeypatch):
    monkeypatch.setattr(fid, "RECORDINGS", 1)
    monkeypatch.setattr("benchmarks.matched_cells.NODES", 8)
    monkeypatch.setattr("benchmarks.matched_cells.ORBITS", 2)
    first = fid.recording(tmp_path)
    monkeypatch.setattr(fid, "Stage", lambda place: pytest.fail("recorded again"))
    np.testing.assert_array_equal(fid.recording(tmp_path).spectrum.gram, first.spectrum.gram)


def test_ours_of_the_second_round_are_learned_from_other_recordings_too(comfy, tmp_path, monkeypatch):
    """What is untried, each column's own objective; built-ins and what trials found stay as they are."""
    rates = {1: 1.0, 2: 2.0}
    monkeypatch.setattr(fid, "learned", lambda stage, folder, names, seed: {
        name: schedules.schedule(top=14.6146, rate=rates[seed] + (name == "spectrum:euler")) for name in names})
    names = {4: ["karras", f"{ART}end:euler", f"{ART}spectrum:euler, tried, seed 0"], 6: [f"{ART}spectrum:euler"]}
    columns = {("euler", count): [fid.FidCell(fid.PLACE, "euler", count, name, (14.6, 1.0, 0.0)) for name in some]
               for count, some in names.items()}
    found = fid.of_other_seeds(columns, 3, tmp_path)
    assert [cell.schedule for cell in found["euler", 4]] == [
        *names[4], f"{ART}end:euler, seed 1", f"{ART}end:euler, seed 2"]
    assert {len(cell.sigmas) for cell in found["euler", 6][1:]} == {7}
    first, second = (cell.sigmas for cell in found["euler", 6][1:])
    assert first == tuple(schedules.schedule(top=14.6146, rate=2.0).sigmas(6).tolist()) and first != second
    assert fid.of_other_seeds(columns, 1, tmp_path) == columns
