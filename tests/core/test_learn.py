"""ART-RL learns the optimal clock, from the rewards alone; break the rewards and it does not."""

import dataclasses
import re
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from art_nodes.core import OrbitBank, TrainConfig, grid_cost, learn, learn_schedule, optimal_schedule, record_orbits
from art_nodes.core.actor_critic import ActorCritic
from art_nodes.core.clock import steepness
from art_nodes.core.environment import BankEnvironment
from art_nodes.core.exact import gaussian, mixture
from art_nodes.core.grids import edm_clock
from art_nodes.core.learn import STEEP, prepare
from tests.core import targets

SEEDS = range(3)
BOUND = 1.02


@pytest.mark.parametrize("target", targets.TARGETS)
@pytest.mark.parametrize("seed", SEEDS)
def test_mean_clock_reaches_the_closed_form(target, seed):
    bank = targets.bank(target)
    schedule = learn_schedule(bank, TrainConfig(seed=seed))
    assert 1.0 <= schedule.cost(bank) <= BOUND


def wide_bank(target, high, low) -> OrbitBank:
    shape = (16, 1, 64, 64) if target == "image" else (64, 1)
    model = targets.image_gaussian(64) if target == "image" else targets.two_modes()
    return record_orbits(model, targets.noise(shape, high), high, low)


@pytest.mark.parametrize("target, high, low", [("two modes", 4518.76, 0.0292), ("image", 700.0, 0.002)],
                         ids=["zero terminal SNR", "SVD"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_wide_range_is_learned_too(target, high, low, seed):
    """All that matters lies in the last hundredth of the way."""
    bank = wide_bank(target, high, low)
    assert 1.0 <= learn_schedule(bank, TrainConfig(seed=seed)).cost(bank) <= BOUND


def test_control_straight_steps_do_not_learn_a_wide_range(monkeypatch):
    monkeypatch.setattr(sys.modules[prepare.__module__], "STEEP", np.inf)
    for bank in (wide_bank("two modes", 4518.76, 0.0292), narrow_bank()):
        assert learn_schedule(bank).cost(bank) > 2
    usual = record_orbits(gaussian(0.25), targets.noise((16, 4), 80.0), 80.0, 0.01)
    assert learn_schedule(usual, TrainConfig(clock_nodes=32)).cost(usual) > 2


def narrow_bank():
    """Of data a tenth as wide as usual, in EDM's range."""
    return record_orbits(gaussian(0.01), targets.noise((8, 64), 80.0), 80.0, 0.002)


MODES = mixture([-1.0, 1.0], [0.1, 0.1], [0.5, 0.5])


@pytest.mark.parametrize("denoiser, nodes, bound", [
    *((denoiser, *few) for denoiser in (gaussian(), MODES) for few in ((16, 1.06), (24, 1.03), (32, 1.02), (40, 1.02))),
    (MODES, 256, 1.02)])  # one of many, which takes as long as all others
def test_clocks_of_few_and_of_many_nodes_are_learned_too(denoiser, nodes, bound):
    """In EDM's range straight steps come to 2.9 and more with 16 nodes, traces that end too soon to 1.04 with 256."""
    bank = record_orbits(denoiser, targets.noise((16, 16), 80.0), 80.0, 0.002)
    for seed in SEEDS:
        assert learn_schedule(bank, TrainConfig(clock_nodes=nodes, seed=seed)).cost(bank) < bound


def test_a_policy_that_stands_still_for_a_moment_goes_on():
    """Of few long steps one may fall to nothing; learning then ended with a NaN."""
    bank = record_orbits(gaussian(), targets.noise((8, 16), 80.0), 80.0, 0.002)
    assert learn_schedule(bank, TrainConfig(objective="end:euler", clock_nodes=10)).provenance["cost"] < 1.2


@pytest.mark.parametrize("high", [14.6, 80.0, 250.0])
def test_clusters_are_learned_too(high):
    """Much of the optimal clock's time lies where it is settled which of them it will be, far above their own width."""
    modes = mixture([-2.0, 2.0], [0.01, 0.01], [0.5, 0.5])
    bank = record_orbits(modes, targets.noise((64, 1), high), high, 0.002)
    assert learn_schedule(bank, TrainConfig(seed=1)).cost(bank) <= 1.1  # straight steps come to half as much again


@pytest.mark.parametrize("seed", SEEDS)
def test_narrow_data_are_learned_too(seed):
    """What is wide is so against the data: 80 is a usual range for data of spread 1."""
    bank = narrow_bank()
    assert 1.0 <= learn_schedule(bank, TrainConfig(seed=seed)).cost(bank) <= BOUND
    assert steepness(bank, 64) > STEEP > steepness(targets.bank("image"), 64)


@pytest.mark.parametrize("target", targets.TARGETS)
def test_starts_far_from_where_it_ends(target):
    """The bound above means something: EDM's clock, the start, is well outside it."""
    bank = targets.bank(target)
    start = bank.sigma_max * (1 - edm_clock(bank.sigma_max, bank.sigma_min, 64))
    assert grid_cost(bank, start) > 1.1


def test_learned_clock_holds_on_unseen_orbits():
    bank = targets.bank("image")
    unseen = record_orbits(targets.image_gaussian(64), targets.noise((8, 1, 64, 64), 14.6146, seed=99),
                           *targets.SDXL_RANGE)
    assert learn_schedule(bank).cost(unseen) <= BOUND


def broken_advance(charge):
    """BankEnvironment.advance with another charge for the way from here to there."""
    original = BankEnvironment.advance

    def advance(self, position, duration):
        speed, stiffness = (position - self.position) / duration, self.stiffness()[0]
        return charge(original(self, position, duration), stiffness, speed * (position - self.position))

    return advance


@pytest.mark.parametrize("name, charge", [
    ("left value", lambda exact, stiffness, way: stiffness * way),
    ("no stiffness", lambda exact, stiffness, way: way),
    ("stiffness inverted", lambda exact, stiffness, way: way / stiffness),
])
def test_a_wrong_reward_is_noticed(monkeypatch, name, charge):
    """Negative control: with a broken charge the learned clock must fail the bound above."""
    bank = targets.bank("image")
    monkeypatch.setattr(BankEnvironment, "advance", broken_advance(charge))
    config = TrainConfig(clock_nodes=8) if name == "left value" else TrainConfig()
    schedule = learn_schedule(bank, config)
    exact = 1.0 if name != "left value" else grid_cost(bank, optimal_schedule(bank).sigmas(8))
    assert schedule.cost(bank) > BOUND * exact


def test_a_wrong_actor_step_is_noticed(monkeypatch):
    """Negative control: the actor's step turned around makes the clock worse than its start."""
    bank = targets.bank("image")
    original = ActorCritic.improve
    monkeypatch.setattr(ActorCritic, "improve",
                        lambda self, rollout, advantage, rate: original(self, rollout, -advantage, rate))
    assert learn_schedule(bank, TrainConfig(iterations=60)).cost(bank) > 1.13


def test_a_schedule_says_which_version_made_it():
    told = re.search(r'^version = "(.+)"$', (Path(__file__).parents[2] / "pyproject.toml").read_text(), re.MULTILINE)
    bank = targets.bank("normal")
    for schedule in (learn_schedule(bank, TrainConfig(iterations=10)), optimal_schedule(bank)):
        assert schedule.provenance["art_version"] == told.group(1)


def test_same_seed_same_schedule_other_seed_another():
    bank = targets.bank("normal")
    config = TrainConfig(iterations=30, seed=3)
    first, second = learn_schedule(bank, config), learn_schedule(bank, config)
    assert np.array_equal(first.clock, second.clock) and first.provenance == second.provenance
    other = learn_schedule(bank, dataclasses.replace(config, seed=4))
    assert not np.array_equal(first.clock, other.clock)


def test_no_model_call_after_recording():
    calls = []

    def counting(x, sigma):
        calls.append(1)
        return gaussian()(x, sigma)

    bank = record_orbits(counting, targets.noise((8, 4), 3.0), 3.0, 0.01)
    recorded = len(calls)
    record = list(learn(bank, TrainConfig(iterations=10)))[-1]
    assert len(calls) == recorded == record.calls == bank.calls


def test_records_tell_the_story():
    bank = targets.bank("image")
    config = TrainConfig(iterations=40)
    records = list(learn(bank, config))
    assert [record.iteration for record in records] == list(range(1, 41))
    last = records[-1]
    assert last.cost == pytest.approx(last.schedule.cost(bank)) and last.cost < records[0].cost
    assert 0.8 < last.end_point < 1.2 and np.isfinite(last.multiplier)
    assert last.schedule.provenance["config"] == dataclasses.asdict(config)
    with pytest.raises(dataclasses.FrozenInstanceError):
        last.cost = 0.0


def test_can_be_stopped_at_any_record():
    stream = learn(targets.bank("normal"))
    stopped = [next(stream) for _ in range(20)][-1].schedule
    stream.close()
    going_on = [record.schedule for record in islice(learn(targets.bank("normal")), 30)]
    assert [np.array_equal(stopped.clock, going_on[i].clock) for i in (0, 19, 29)] == [False, True, False]
    assert stopped.sigmas(10).shape == (11,)


def test_works_on_the_smallest_setting():
    schedule = learn_schedule(targets.bank("normal"), TrainConfig(iterations=10, episodes=3, clock_nodes=8, knots=4))
    assert len(schedule.clock) == 9


@pytest.mark.parametrize("field, value", [
    ("iterations", 0), ("episodes", 1), ("clock_nodes", 4), ("clock_nodes", 16.5), ("lam", 0.0), ("lam", 2.0),
    ("learning_rate", 0.0), ("trace", 1.5), ("penalty", -1.0), ("knots", 2), ("objective", "fame"), ("iterations", 9),
    ("clock_nodes", 1025), ("lam", 1.01), ("learning_rate", 1.01), ("trace", -0.01), ("penalty", np.inf),
    ("penalty", 0.0), ("knots", 257), ("budget", "gift"), ("state_dependent", "no")])
def test_refuses_bad_settings(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*got"):
        TrainConfig(**{field: value})


@pytest.mark.parametrize("settings", [
    {"iterations": 10}, {"episodes": 2}, {"clock_nodes": 8}, {"clock_nodes": 1024}, {"lam": 1.0}, {"trace": 0.0},
    {"trace": 1.0}, {"learning_rate": 1.0}, {"knots": 4}, {"knots": 256}, {"budget": "price"},
    {"objective": "end:euler", "clock_nodes": 2}, {"state_dependent": False}])
def test_takes_settings_at_the_ends_of_their_ranges(settings):
    config = dataclasses.asdict(TrainConfig(**settings))
    assert settings.items() <= config.items()


def test_whole_numbers_may_come_in_any_type():
    config = TrainConfig(iterations=20.0, episodes=np.int64(8), seed=np.float32(3))
    assert [config.iterations, config.episodes, config.seed] == [20, 8, 3]
    assert {type(number) for number in (config.iterations, config.episodes, config.seed)} == {int}


def test_refuses_what_is_no_bank():
    with pytest.raises(ValueError, match="learn needs an OrbitBank or a LiveModel; got list"):
        learn([1, 2, 3])


@pytest.mark.parametrize("field, other", [("trace", 0.5), ("penalty", 40.0), ("knots", 8), ("learning_rate", 0.1),
                                          ("lam", 0.1), ("seed", 1)])
def test_every_setting_counts(field, other):
    """Another value, another clock; the same one, the same."""
    plain = {"budget": "price", "iterations": 30, "episodes": 16}
    clocks = [learn_schedule(targets.bank("normal"), TrainConfig(**settings)).clock
              for settings in (plain, plain, {**plain, field: other})]
    assert np.array_equal(clocks[0], clocks[1]) and not np.allclose(clocks[0], clocks[2], rtol=1e-6)


@pytest.mark.parametrize("field, value", [("seed", -1), ("seed", 1.5), ("iterations", "200"), ("lam", None),
                                          ("episodes", True)])
def test_refuses_what_is_no_such_number(field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*got {value!r}"):
        TrainConfig(**{field: value})


def test_refuses_a_table_of_settings():
    with pytest.raises(ValueError, match="config must be a TrainConfig; got dict; write"):
        next(learn(targets.bank("normal"), {"iterations": 20}))
