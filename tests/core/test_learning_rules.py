"""The rules of learning that docs and comments state, each by itself and without learning anything."""

import numpy as np
import pytest
import torch

from art_nodes.core import LiveModel, TrainConfig, learn, learn_schedule
from art_nodes.core.actor_critic import ActorCritic
from art_nodes.core.environment import BankEnvironment
from art_nodes.core.exact import gaussian
from art_nodes.core.learn import prepare
from art_nodes.core.policy import BaseClock, Critic, GaussianPolicy
from tests.core import targets

SHORT = {"iterations": 10, "episodes": 8, "clock_nodes": 8, "knots": 4}


def live() -> LiveModel:
    return LiveModel(gaussian(), lambda batch, generator: 3 * torch.randn(batch, 2, generator=generator), 3.0, 0.01)


def of_bank(target="normal", **settings) -> ActorCritic:
    return prepare(targets.bank(target), TrainConfig(**{**SHORT, **settings}))


def noted(monkeypatch, name: str) -> list:
    """What a method of ActorCritic is called with, or, of one without arguments, what it returns."""
    calls, original = [], getattr(ActorCritic, name)

    def noting(self, *given):
        found = original(self, *given)
        calls.append((given, found))
        return found

    monkeypatch.setattr(ActorCritic, name, noting)
    return calls


# The run

def test_the_critic_begins_and_the_actors_steps_are_annealed(monkeypatch):
    calls = noted(monkeypatch, "improve")
    learn_schedule(targets.bank("normal"), TrainConfig(**SHORT))
    assert [rate for (_, _, rate), _ in calls] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])  # of ten, five are warm-up


def test_clocks_of_the_second_half_are_averaged(monkeypatch):
    calls, bank = noted(monkeypatch, "mean_clock"), targets.bank("normal")
    clock = learn_schedule(bank, TrainConfig(**SHORT)).clock
    mean = np.mean([clock for _, (clock, _) in calls[5:]], axis=0)
    np.testing.assert_allclose(clock[1:-1], bank.sigma_max * (1 - mean[1:-1]), rtol=1e-12)


def test_the_base_clock_is_renewed_every_ten_iterations_for_four_fifths_of_the_run(monkeypatch):
    calls = noted(monkeypatch, "renew_base")
    learn_schedule(targets.bank("normal"), TrainConfig(**{**SHORT, "iterations": 50}))
    assert len(calls) == 3


def test_of_few_long_steps_the_best_clock_so_far_is_kept(monkeypatch):
    """A bad update, here each but the first, is seen by no record."""
    costs = iter([1.5, *range(2, 11)])
    monkeypatch.setattr("art_nodes.core.environment.ReplayEnvironment.cost", lambda self, sigmas: next(costs))
    config = TrainConfig(objective="end:euler", iterations=10, episodes=4, clock_nodes=2)
    records = list(learn(targets.bank("normal"), config))
    assert [record.cost for record in records] == [1.5] * 10
    assert {id(record.schedule) for record in records} == {id(records[0].schedule)}
    told = records[-1].schedule.provenance
    assert (told["objective"], told["replayed_steps"], told["iterations_done"]) == ("end:euler", 2, 1)


def test_every_record_is_shown():
    seen = []
    learn_schedule(targets.bank("normal"), TrainConfig(**SHORT), seen.append)
    assert [record.iteration for record in seen] == list(range(1, 11))
    assert [record.schedule.provenance["iterations_done"] for record in seen] == list(range(1, 11))


def test_a_trace_is_told_for_a_64th_of_the_time_or_for_a_step():
    assert TrainConfig(clock_nodes=128, trace=0.81).trace_of_step == pytest.approx(0.9)
    assert TrainConfig(clock_nodes=32, trace=0.9).trace_of_step == pytest.approx(0.81)
    assert TrainConfig(objective="end:euler", clock_nodes=8, trace=0.9).trace_of_step == 0.9
    assert of_bank(trace=0.9, clock_nodes=32).trace == pytest.approx(0.81)
    assert prepare(live(), TrainConfig(**SHORT)).trace == 1.0  # run to the end


@pytest.mark.parametrize("sees, of_live, of_orbits", [(None, 3, 0), (True, 3, 2), (False, 0, 0)])
def test_who_sees_x(sees, of_live, of_orbits):
    assert prepare(live(), TrainConfig(**SHORT, state_dependent=sees)).policy.state == of_live
    assert of_bank(state_dependent=sees).policy.state == of_orbits


def test_a_live_model_sees_single_precision_in_the_range_that_is_told_with_the_schedule():
    seen = set()

    def noise(batch):
        return 3 * torch.ones(batch, 2, dtype=torch.float64)

    def watching(x, sigma):
        seen.add((x.dtype, sigma.dtype))
        return gaussian()(x, sigma)

    told = learn_schedule(LiveModel(watching, noise, 3.0, 0.01), TrainConfig(**SHORT)).provenance
    assert seen == {(torch.float32, torch.float32)} and (told["sigma_max"], told["sigma_min"]) == (3.0, 0.01)


# Roll-outs

def test_episodes_come_in_mirrored_pairs_on_the_same_orbit(monkeypatch):
    """So what chance adds to the update is halved."""
    learner, places = of_bank("two modes", episodes=40, clock_nodes=64), []
    advance = learner.env.advance
    monkeypatch.setattr(learner.env, "advance", lambda position, duration: places.append(position)
                        or advance(position, duration))
    assert not learner.base.curved
    learner.roll_out()
    first, second = places[0][:20], places[0][20:]
    np.testing.assert_allclose(first + second, np.full(20, (first + second)[0]), rtol=1e-9)
    assert np.abs(first - second).min() > 0
    assert np.array_equal(learner.env.orbit[:20], learner.env.orbit[20:]) and len(set(learner.env.orbit[:20])) == 20


def test_live_episodes_share_their_noise_in_pairs():
    learner = prepare(live(), TrainConfig(**SHORT))
    learner.env.start(7, learner.rng)
    assert torch.equal(learner.env.x[:3], learner.env.x[4:]) and len(learner.env.x.unique()) == 2 * 4


def test_few_episodes_take_other_orbits_each_time():
    env, rng = BankEnvironment(targets.bank("normal")), np.random.default_rng(0)
    seen = set()
    for _ in range(5):
        env.start(8, rng)
        seen.add(tuple(env.orbit))
    assert len(seen) == 5


@pytest.mark.parametrize("budget, arrives", [("feedback", True), ("price", False)])
def test_the_last_step_of_an_episode_that_must_arrive_is_no_choice_of_the_actors(budget, arrives):
    rollout = of_bank(budget=budget, lam=1.0).roll_out()
    assert (rollout.push[-1] == 0).all() == (rollout.curvature[-1] == 0).all() == arrives
    assert (rollout.end == 1).all() == arrives and rollout.push[:-1].all()


@pytest.mark.parametrize("sees", [True, False])
def test_the_mean_clock_is_that_of_the_mean_episode_if_the_actor_sees_x(sees):
    learner = of_bank(state_dependent=sees, budget="price", lam=1.0)
    rollout = learner.roll_out()
    assert rollout.path[-1] == pytest.approx(rollout.end.mean()) and len(rollout.path) == 9
    assert learner.mean_clock(rollout)[1] == (rollout.path if sees else learner.plain_path())[-1]
    assert abs(rollout.path[-1] / learner.plain_path()[-1] - 1) > 1e-6


# The update

@pytest.mark.parametrize("objective, most", [("euler", 0.3), ("end:euler", 0.1)])
def test_no_update_changes_a_speed_by_more_than_so_much(objective, most):
    """As its logarithm; an advantage out of all proportion is no reason to."""
    learner = of_bank("image", objective=objective)
    rollout = learner.roll_out()
    learner.improve(rollout, 1e9 * rollout.push, 1.0)
    assert np.abs(rollout.policy_features @ learner.policy.weights).max() == pytest.approx(most)


def test_the_price_begins_at_that_of_the_best_clock_and_rises_where_the_way_is_overshot():
    bank = targets.bank("normal")
    learner = of_bank(budget="price", penalty=2.0)
    density = np.sqrt(bank.mean_stiffness)
    best = (density * -np.diff(bank.edges)).sum()
    assert learner.multiplier == pytest.approx(-2 * density[-1] * bank.sigma_max / best)
    rollout, before = learner.roll_out(), learner.multiplier
    rollout.end[:] = 1.25
    learner.improve(rollout, 0 * rollout.push, 0.5)
    assert learner.multiplier - before == pytest.approx(0.3 * 0.5 * 2.0 * 0.25)


def test_a_new_base_clock_takes_over_the_shape_and_leaves_what_is_owed_to_x():
    learner = of_bank(state_dependent=True)
    learner.policy.weights[:] = np.linspace(-0.1, 0.1, len(learner.policy.weights))
    path, owed = learner.plain_path(), learner.policy.weights[4:].copy()
    learner.renew_base()
    np.testing.assert_allclose(learner.base.position, path / path[-1])
    assert not learner.policy.weights[:4].any() and np.array_equal(learner.policy.weights[4:], owed) and owed.any()


def test_the_critic_moves_by_the_share_that_it_is_told():
    rng = np.random.default_rng(0)
    features, returns = rng.normal(size=(6, 50, 3)), rng.normal(size=(6, 50))
    whole, half = Critic(4, 0), Critic(4, 0)
    whole.fit(features, returns, 1.0)
    half.fit(features, returns, 0.25)
    np.testing.assert_allclose(half.weights, 0.25 * whole.weights)


# The policy

CLOCK = BaseClock(np.array([0.0, 0.5, 0.8, 1.0]))


def test_base_time_goes_on_past_the_end_at_the_last_speed():
    np.testing.assert_allclose(CLOCK.time(np.array([0.0, 0.65, 1.0, 1.3])), [0, 0.5, 1, 1.5])
    curved = BaseClock(CLOCK.position, curved=True)
    assert curved.follow(np.array([0.9]), np.array([0.6]))[0] == pytest.approx(1.5)
    assert CLOCK.follow(np.array([0.9]), np.array([0.6]))[0] == pytest.approx(1.5)


def test_a_step_has_the_speed_where_it_starts_or_of_the_middle_of_its_cell():
    stepwise = BaseClock(CLOCK.position, stepwise=True)
    np.testing.assert_allclose(np.exp(stepwise.log_speed(CLOCK.position[:-1])), [1.5, 0.9, 0.6])
    np.testing.assert_allclose(np.exp(CLOCK.log_speed(np.array([0.25, 0.65, 0.9]))), [1.5, 0.9, 0.6])


def test_the_policys_noise_is_bounded():
    """By a quarter of E|Q|; where steps follow a clock by its share of the speed; of few long steps it is that."""
    mean, q, mean_q = np.array([2.0, 2.0]), np.array([1e-9, 0.5]), np.array([1.0, 1.0])
    for base, expected in ((CLOCK, [0.4, 0.2]), (BaseClock(CLOCK.position, curved=True), [0.4, 0.2]),
                           (BaseClock(CLOCK.position, stepwise=True), [0.4, 0.4])):
        np.testing.assert_allclose(GaussianPolicy(base, 0.1, 4).variance(mean, q, mean_q), expected)
    curved = GaussianPolicy(BaseClock(CLOCK.position, curved=True), 0.1, 4).variance(0.1 * mean, q, mean_q)
    np.testing.assert_allclose(curved, [0.004, 0.004])
    assert GaussianPolicy(CLOCK, 0.1, 4, steepness=10.0).variance(mean, q, mean_q)[1] == pytest.approx(0.02)


def test_feedback_changes_a_speed_by_no_more_than_tenfold():
    policy = GaussianPolicy(CLOCK, 0.1, 4)
    position, nothing = np.array([0.0, 0.999999]), np.zeros((2, 4))
    speed = np.exp(CLOCK.log_speed(position))
    np.testing.assert_allclose(policy.mean(position, 0.99, nothing)[0], 10 * speed[0])
    np.testing.assert_allclose(policy.mean(position, 0.0, nothing)[1], speed[1] / 10)


def test_far_off_is_far_off():
    """Of the price's actor and of the critic."""
    ahead, further = np.array([0.9]), np.array([0.95])
    for features in (GaussianPolicy(CLOCK, 0.1, 4, "price").features(ahead, 0.0)[0, -1:],
                     Critic(4, 0).features(ahead, 0.0, np.zeros((1, 0)))[0, 1:2]):
        assert features == pytest.approx([0.3])
    found = [Critic(4, 0).features(u, 0.0, np.zeros((1, 0))) for u in (ahead, further)]
    np.testing.assert_array_equal(*found)
