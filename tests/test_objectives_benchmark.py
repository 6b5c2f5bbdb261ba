"""The benchmark of the objectives: its random grids, its parts, and what its tables say of made-up errors."""

import numpy as np
import pytest

from benchmarks import objectives
from benchmarks.chunks import save_whole
from benchmarks.objectives import AT_ONCE, GRIDS, NOISES, TARGET, Part


@pytest.fixture(scope="module")
def bank():
    return TARGET.record(0, nodes=24)


def test_random_grids_fall_from_the_top_to_0_and_are_always_the_same():
    grids = objectives.random_grids(6)
    assert grids.shape == (GRIDS, 7) and (np.diff(grids) < 0).all()
    np.testing.assert_allclose(grids[:, 0], TARGET.sigma_max)
    assert not grids[:, -1].any() and len(np.unique(grids[:, 3])) == GRIDS
    np.testing.assert_array_equal(grids, objectives.random_grids(6))


def test_every_grid_is_in_one_part():
    every = objectives.parts(("euler", "heun", "uni_pc"))
    assert len(every) == 9 * GRIDS // AT_ONCE and len(set(every)) == len(every)


def test_runs_of_fewer_noises_are_kept_apart(tmp_path):
    assert Part("deis", 6, 0, 32).path(tmp_path) != Part("deis", 6, 0).path(tmp_path)
    save_whole(Part("deis", 6, 0, 32).path(tmp_path), errors=np.ones((AT_ONCE, 32)))
    assert len(objectives.measured("deis", 6, tmp_path, 32)) == AT_ONCE and not len(
        objectives.measured("deis", 6, tmp_path))


def test_the_page_says_what_makes_it(bank, tmp_path, monkeypatch):
    monkeypatch.setattr(objectives, "TARGET", type("Small", (), {
        "record": lambda self, seed: bank, "sigma_max": 1.0, "sigma_min": 0.1, "shape": (2,)})())
    monkeypatch.setattr(objectives, "random_grids", lambda steps: np.geomspace(9, 1, steps + 1)[None] * np.append(
        np.ones(steps), 0.0))
    objectives.main(["--samplers", "deis,uni_pc", "--noises", "32", "--report", "--folder", str(tmp_path)])
    page = (tmp_path / "objectives.md").read_text()
    assert "`python -m benchmarks objectives --samplers deis,uni_pc --noises 32 --docs`" in page
    assert "over 0 random grids" in page and "32 other noises measure" in page
    assert "## deis" in page and "## uni_pc" in page and "## ART-RL" not in page
    with pytest.raises(SystemExit):
        objectives.main(["--samplers", "nobody"])


def test_the_rank_correlation_is_that_of_the_errors(bank, tmp_path):
    """Errors that follow an objective have rank 1 with it; control: errors in reverse have -1."""
    grids = objectives.random_grids(6)
    truth = objectives.foretold(bank, "euler", grids)["end:euler"]
    for sign, expected in ((1, "1.000"), (-1, "-1.000")):
        for number in range(GRIDS // AT_ONCE):
            rows = truth[number * AT_ONCE:(number + 1) * AT_ONCE, None] ** sign
            save_whole(Part("euler", 6, number).path(tmp_path), errors=np.repeat(rows, NOISES, axis=1))
        table = {row[0]: row[1] for row in objectives.rank_table(bank, "euler", tmp_path)}
        assert table["end:euler"] == f"{expected} / {expected} / {expected}"
        assert expected not in table["J (euler)"]
        assert table["other half of the noises"] == "1.000 / 1.000 / 1.000"
        assert (table["true RMS / foretold"] == "1.00") == (sign == 1)


def test_halves_of_pure_noise_foretell_nothing():
    errors = np.random.default_rng(0).uniform(1, 2, (GRIDS, 32))
    assert np.abs(objectives.split_half(errors)).max() < 0.3


def test_objectives_are_told_apart(bank):
    found = objectives.foretold(bank, "dpmpp_2m", objectives.random_grids(6)[:3])
    assert {"J (euler)", "residual:dpmpp_2m", "end:dpmpp_2m", "end:dpmpp_2m, τ = ∞"} <= set(found)
    assert (found["end:dpmpp_2m"] != found["end:dpmpp_2m, τ = 1"]).all()


def test_a_run_goes_on_after_what_is_there(tmp_path):
    save_whole(Part("heun", 10, 0).path(tmp_path), errors=np.ones((AT_ONCE, NOISES)))
    save_whole(Part("heun", 10, 2).path(tmp_path), errors=np.ones((AT_ONCE, NOISES)))
    assert objectives.measured("heun", 10, tmp_path).shape == (AT_ONCE, NOISES)
    assert objectives.measured("heun", 20, tmp_path).shape == (0, NOISES)
