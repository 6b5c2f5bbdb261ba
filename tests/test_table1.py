"""The paper's table 1, reproduced with exact W2."""

import pytest

from benchmarks import table1

# Three seeds; each table is computed once.
TABLES = {seed: table1.rows(seed) for seed in range(3)}


@pytest.mark.parametrize("name", ["Uniform", "DPM", "EDM"])
def test_baselines_agree_with_the_paper(name):
    for ours, paper in zip(TABLES[0][name], table1.PAPER[name], strict=True):
        assert abs(ours - paper) <= 0.005


@pytest.mark.parametrize("seed", TABLES)
def test_art_rl_is_the_papers_or_better(seed):
    for steps, ours, paper in zip(table1.STEPS, TABLES[seed]["ART-RL"], table1.PAPER["ART-RL"], strict=True):
        assert abs(ours - paper) <= 0.005 if steps < 10 else ours < paper


@pytest.mark.parametrize("seed", TABLES)
def test_art_rl_is_best_of_the_four(seed):
    table = TABLES[seed]
    for column in range(len(table1.STEPS)):
        assert table["ART-RL"][column] < min(table[name][column] for name in ("Uniform", "DPM", "EDM"))


def test_w2_of_one_euler_step_by_hand():
    """One step from T to 0 lands on D: x / (1 + T^2), so the spread is 1 / sqrt(1 + T^2)."""
    import numpy as np

    assert table1.euler_w2(np.array([3.0, 0.0])) == pytest.approx(1 - 10**-0.5)
