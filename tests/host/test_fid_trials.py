"""Trials for the FID comparison: made in the host, kept in files, and shown as schedules of ours."""

import numpy as np
import pytest

from benchmarks import fid, fid_trials
from benchmarks.matched_cells import ART, BATCH
from benchmarks.trial_cells import compute

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
