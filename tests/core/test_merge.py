"""Merging: a geometric mean at equal clock time, whatever is merged."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_nodes.core import Schedule
from art_nodes.core.clock import read_clock
from art_nodes.core.merge import MOST_SOURCES, merge_schedules


def falling(top: float, steps, last: float) -> np.ndarray:
    """A clock from `top`, each node a share below the one before, then 0."""
    shares = np.array(steps) / sum(steps)
    return np.append(top * np.exp(-np.append(0.0, np.cumsum(shares)) * np.log(top / last)), 0.0)


ANY = st.integers(2, 40)


def clocks(top: float, nodes=ANY):
    """Schedules that start at `top`."""
    return nodes.flatmap(lambda count: st.builds(
        lambda steps, last: Schedule(falling(top, steps, top * last)),
        st.lists(st.floats(0.05, 1.0), min_size=count, max_size=count), st.floats(1e-4, 0.5)))


WEIGHTS = st.floats(0.01, 100.0)


def straight(top=10.0, rate=1.0, grids=(), nodes=33, **provenance) -> Schedule:
    times = np.linspace(0, 1, nodes)
    return Schedule(top * (1 - times) ** (1 + rate), provenance,
                    {steps: top * (1 - np.linspace(0, 1, steps + 1)) ** (1 + rate) for steps in grids})


@given(clocks(10.0), WEIGHTS, WEIGHTS)
def test_merged_with_itself_it_is_itself(schedule, a, b):
    merged = merge_schedules([schedule, schedule], [a, b])
    np.testing.assert_allclose(merged.clock, schedule.clock, rtol=1e-12)


@given(clocks(10.0), clocks(10.0), WEIGHTS, WEIGHTS)
def test_order_and_unit_of_the_weights_do_not_matter(one, other, a, b):
    merged = merge_schedules([one, other], [a, b])
    np.testing.assert_allclose(merge_schedules([other, one], [7 * b, 7 * a]).clock, merged.clock, rtol=1e-12)


@given(clocks(10.0, st.just(20)), clocks(10.0, st.just(20)), WEIGHTS, WEIGHTS)
def test_the_logarithms_are_averaged(one, other, a, b):
    merged = merge_schedules([one, other], [a, b]).clock
    expected = (a * np.log(one.clock[:-1]) + b * np.log(other.clock[:-1])) / (a + b)
    np.testing.assert_allclose(np.log(merged[:-1]), expected, rtol=1e-9, atol=1e-12)
    assert merged[-1] == 0 and (np.diff(merged) < 0).all()


@given(clocks(10.0), clocks(10.0), WEIGHTS)
def test_it_lies_between_what_was_merged(one, other, a):
    merged = merge_schedules([one, other], [a, 1.0])
    times = np.linspace(0, 1, len(merged.clock))
    rows = np.stack([read_clock(schedule.clock, times) for schedule in (one, other)])
    assert (merged.clock >= rows.min(axis=0) * (1 - 1e-12)).all()
    assert (merged.clock <= rows.max(axis=0) * (1 + 1e-12)).all()


@given(clocks(10.0, st.just(20)), clocks(10.0, st.just(20)), clocks(10.0, st.just(20)), WEIGHTS, WEIGHTS, WEIGHTS)
def test_merging_in_two_rounds_is_merging_at_once(one, two, three, a, b, c):
    at_once = merge_schedules([one, two, three], [a, b, c])
    rounds = merge_schedules([merge_schedules([one, two], [a, b]), three], [a + b, c])
    np.testing.assert_allclose(rounds.clock, at_once.clock, rtol=1e-9)
    weights = [source["weight"] for source in rounds.provenance["merged_from"]]
    assert weights == pytest.approx([a / (a + b + c), b / (a + b + c), c / (a + b + c)])


@given(clocks(10.0), st.floats(1.02, 7.9), WEIGHTS)
def test_the_longer_range_is_cut(schedule, ratio, a):
    """Cut at the lower start, the longer clock is what is left of it: merged with that, it changes nothing."""
    longer = Schedule(ratio * schedule.clock)
    merged = merge_schedules([longer, schedule], [a, 1.0])
    assert merged.sigma_max == schedule.sigma_max and not merged.grids
    np.testing.assert_allclose(merge_schedules([longer, schedule], [0.0, 1.0]).clock, schedule.clock, rtol=1e-12)
    assert (np.diff(merged.clock) < 0).all() and merged.clock[-1] == 0


def test_a_cut_clock_keeps_its_later_part():
    """Even steps in time stay even in time: the rest of a clock, from where the shorter one starts."""
    longer, shorter = straight(top=40.0), straight(top=10.0)
    merged = merge_schedules([longer, shorter], [1.0, 1e-12])
    start = 0.5  # 40 (1 - t)^2 = 10
    expected = read_clock(longer.clock, start + (1 - start) * np.linspace(0, 1, 33))
    np.testing.assert_allclose(merged.clock, expected, rtol=1e-6, atol=1e-12)


def test_the_finer_clock_sets_the_nodes():
    assert len(merge_schedules([straight(nodes=17), straight(nodes=65)]).clock) == 65


def test_grids_where_both_have_them():
    one, other = straight(grids=(4, 6, 10)), straight(rate=2.0, grids=(3, 6, 10))
    merged = merge_schedules([one, other])
    assert list(merged.grids) == [6, 10]
    np.testing.assert_allclose(merged.grids[6][:-1], np.sqrt(one.grids[6][:-1] * other.grids[6][:-1]))
    assert merged.grids[6][-1] == 0
    assert not merge_schedules([one, straight()]).grids
    assert not merge_schedules([one, straight(top=20.0, grids=(6,))]).grids, "a cut clock has no whole grid"
    assert list(merge_schedules([one, straight()], [1, 0]).grids) == [4, 6, 10]


def test_starts_of_one_table_count_as_the_same():
    """SDXL's 14.6146 and 14.6146 + rounding: nothing is cut."""
    merged = merge_schedules([straight(14.6146, grids=(6,)), straight(14.6149, grids=(6,))])
    assert 14.6146 < merged.sigma_max < 14.6149 and list(merged.grids) == [6]


def test_provenance_lists_every_source_and_keeps_what_all_share(tmp_path):
    one = straight(family="sdxl", objective="euler", model="SDXL", seed=1, sigma_min=0.01, learned_on="a")
    other = straight(rate=2.0, family="sdxl", objective="end:heun", model="SDXL", sigma_min=0.04, learned_on="b",
                     carried_over="yes, by data scale")
    known = merge_schedules([one, other], [1, 3]).provenance
    assert known["merged_from"] == [{"weight": 0.25, "provenance": one.provenance},
                                    {"weight": 0.75, "provenance": other.provenance}]
    assert (known["method"], known["family"], known["model"]) == ("merged", "sdxl", "SDXL")
    assert not {"objective", "learned_on", "seed"} & set(known)
    assert known["carried_over"].startswith("in part") and known["sigma_min"] == pytest.approx(0.01**0.25 * 0.04**0.75)
    assert "carried_over" not in merge_schedules([one, one]).provenance
    merge_schedules([one, other]).save(tmp_path / "s.safetensors")
    assert Schedule.load(tmp_path / "s.safetensors").provenance == json.loads(json.dumps(
        merge_schedules([one, other]).provenance))


@pytest.mark.parametrize("sources", ["somewhere", 3, [1], [{"weight": 1}], [{"weight": "x", "provenance": {}}],
                                     "", {}, [],
                                     [{"weight": 1, "provenance": 2}], [{"weight": 10**400, "provenance": {}}]])
def test_a_foreign_list_of_sources_is_kept_whole(sources):
    """A file may say anything: what is no list of sources is a source itself."""
    odd = dataclasses.replace(straight(), provenance={"merged_from": sources})
    assert merge_schedules([odd, straight()]).provenance["merged_from"][0]["provenance"] == odd.provenance


@pytest.mark.parametrize("given_, weights, match", [
    ([], None, "one weight for each"), ([straight()], [1, 2], "one weight for each"),
    ([straight(), straight()], [0, 0], "not all 0"), ([straight(), straight()], [1, -1], ">= 0"),
    ([straight(), straight()], [1, float("nan")], "finite"),
    ([straight(1.0), straight(14.6)], None, "within a ratio of 8; got 1, 14.6"),
])
def test_what_cannot_be_merged(given_, weights, match):
    with pytest.raises(ValueError, match=match):
        merge_schedules(given_, weights)


def test_a_start_far_away_with_weight_0_is_left_out():
    assert merge_schedules([straight(1.0), straight(700.0)], [1, 0]).sigma_max == 1.0


def test_too_many_sources():
    merged = merge_schedules([straight()] * MOST_SOURCES)
    with pytest.raises(ValueError, match=f"at most {MOST_SOURCES} sources; got {MOST_SOURCES + 1}"):
        merge_schedules([merged, straight()])


def test_without_grids_what_is_left_is_the_clock_which_is_of_no_sampler():
    """With other ranges, or with no number of steps in common, grids of one sampler are gone."""
    def made(top, *grids):
        return straight(top, grids=grids, objective="end:dpmpp_2m")

    for others in ((made(10.0, 6), made(20.0, 6)), (made(10.0, 6), made(10.0, 8))):
        merged = merge_schedules(others)
        assert not merged.grids and merged.provenance["objective"] == "euler"
    assert merge_schedules([made(10.0, 6), made(10.0, 6)]).provenance["objective"] == "end:dpmpp_2m"
    assert merge_schedules([made(10.0), made(10.0)]).provenance["objective"] == "end:dpmpp_2m"


def test_a_least_sigma_above_the_start_is_not_taken_over():
    """A file may say anything; of what is cut it may even have been true."""
    assert "sigma_min" not in merge_schedules([straight(sigma_min=20.0), straight(sigma_min=20.0)]).provenance
    kept = merge_schedules([straight(sigma_min=2.0), straight(sigma_min=2.0)]).provenance["sigma_min"]
    assert kept == pytest.approx(2)


@pytest.mark.parametrize("key", ["family", "model", "model_sampling", "latent_format", "shift", "cfg", "objective",
                                 "learned_on", "carried_over", "meant_for", "data_std"])
def test_what_tells_whether_a_schedule_suits_a_model_survives_merging(key):
    one, other = straight(**{key: "this"}), straight(rate=2.0, **{key: "that"})
    assert merge_schedules([one, one]).provenance[key] == "this"
    assert merge_schedules([one, other]).provenance.get(key, "in part") .startswith("in part")


def test_a_clock_that_is_left_out_sets_no_nodes():
    assert len(merge_schedules([straight(nodes=17), straight(nodes=65)], [1, 0]).clock) == 17


@pytest.mark.parametrize("unit", [1e308, 1e-320])
def test_huge_and_tiny_weights_weigh_alike(unit):
    one, other = straight(), straight(rate=2.0)
    np.testing.assert_allclose(merge_schedules([one, other], [unit, unit]).clock, merge_schedules([one, other]).clock)
