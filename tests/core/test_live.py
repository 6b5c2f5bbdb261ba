"""Learning on a live model: the paper's environment learns the best clock, as a bank does."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from art_nodes.core import LiveModel, TrainConfig, learn, learn_schedule, optimal_schedule, record_orbits
from art_nodes.core.exact import gaussian
from art_nodes.core.grids import edm_clock
from art_nodes.core.live import LiveEnvironment, _takes_generator
from tests.core import targets

SMALL = TrainConfig(iterations=10, episodes=4, clock_nodes=8, knots=4)
NODES = 32  # of the clocks that are held against the best one, which has 64: half the steps of each episode


def noise(batch, generator):
    """Start states of N(0, 1) at sigma 3."""
    return torch.randn(batch, 1, generator=generator) * math.sqrt(10)


def live(denoiser=None, noise_fn=noise, **options) -> LiveModel:
    return LiveModel(denoiser or gaussian(), noise_fn, 3.0, 0.002, **options)


def apart(first, second) -> float:
    """Largest difference of two clocks in log sigma over the first one's inner nodes, which the second one has too."""
    every = (len(second.clock) - 1) // (len(first.clock) - 1)
    return float(np.abs(np.log(first.clock[1:-1] / second.clock[::every][1:-1])).max())


@pytest.fixture(scope="module")
def best():
    """The clock that is best, from a recording fine enough to know."""
    return optimal_schedule(record_orbits(gaussian(), targets.noise((64, 1), 3.0), 3.0, 0.002, nodes=512))


@pytest.mark.parametrize("seed", range(3))
def test_live_and_bank_learn_the_best_clock(best, seed):
    """Both at most 3 % from it in log sigma at every node."""
    bank = targets.bank("normal")
    learned = learn_schedule(live(), TrainConfig(seed=seed, iterations=120, clock_nodes=NODES))
    assert apart(learned, best) < 0.03
    assert apart(learn_schedule(bank, TrainConfig(seed=seed)), best) < 0.03
    assert learned.cost(bank) < 1.005


def test_the_jacobian_product_leads_to_the_same_clock(best):
    learned = learn_schedule(live(stiffness="jvp"), TrainConfig(episodes=64, iterations=100, clock_nodes=NODES))
    assert apart(learned, best) < 0.03


def test_control_another_distribution_another_clock(best):
    """Negative control: the bound above tells clocks apart."""
    other = learn_schedule(live(gaussian(0.25)), TrainConfig(episodes=32, iterations=100, clock_nodes=NODES))
    assert apart(other, best) > 0.2


def test_price_alone_lets_single_orbits_miss_the_end():
    """The paper's budget beside ours, with an actor that sees x: the clock of the mean episode is further off."""
    bank = targets.bank("normal")
    config = TrainConfig(seed=1, budget="price", iterations=120, clock_nodes=NODES)
    assert learn_schedule(live(), config).cost(bank) > 1.01
    assert learn_schedule(live(), dataclasses.replace(config, state_dependent=False)).cost(bank) < 1.01


@pytest.mark.parametrize("stiffness, calls", [("secant", 1), ("jvp", 2)])
def test_counts_a_model_call_at_every_step(stiffness, calls):
    seen = []

    def counting(x, sigma):
        seen.append(len(x))
        return gaussian()(x, sigma)

    config = dataclasses.replace(SMALL, iterations=12)
    record = list(learn(live(counting, stiffness=stiffness), config))[-1]
    # one roll-out to survey the units, then one an iteration; each looks at its start and after each step
    assert record.calls == len(seen) == calls * (12 + 1) * (8 + 1)
    env = LiveEnvironment(live(stiffness=stiffness), seed=0)
    env.survey(edm_clock(3.0, 0.002, 8), 4)
    assert (env.bank().calls, env.bank().sample_calls) == (calls * 9, calls * 9 * 4)
    provenance = record.schedule.provenance
    assert provenance["sample_calls"] == sum(seen) == 4 * record.calls
    assert provenance["environment"] == "live" and provenance["stiffness"] == stiffness


@pytest.mark.parametrize("variance", [0.05, 1e-3])
def test_a_mean_far_from_0_over_a_wide_range(variance):
    """At the top D changes by less than float32 tells of its size, or not at all: no stand-in for that must stay."""
    high, low = 700.0, 0.002

    def model(x, sigma):
        return 10 + gaussian(variance)(x - 10, sigma)

    def start(batch, generator):
        return torch.randn(batch, 16, generator=generator) * high

    bank = record_orbits(model, start(16, torch.Generator().manual_seed(1)), high, low)
    for seed in range(3):
        config = TrainConfig(iterations=40, episodes=32, seed=seed)
        assert learn_schedule(LiveModel(model, start, high, low), config).cost(bank) < 2


def test_never_calls_the_model_outside_its_range():
    seen = []

    def watching(x, sigma):
        seen.append(sigma)
        return gaussian()(x, sigma)

    learn_schedule(live(watching), TrainConfig(iterations=20, episodes=16, lam=1.0))
    levels = torch.cat(seen)
    assert levels.dtype == torch.float32 and levels.min() >= 0.0019999 and levels.max() <= 3.0


def test_what_it_sees_of_the_stiffness_is_right():
    """E|Q| from live roll-outs against the truth for N(0, 1): E|x0| (1 + sigma^2)^(-3/2)."""
    env = LiveEnvironment(live(), seed=0)
    env.survey(edm_clock(3.0, 0.002, 64), 2048)
    seen = env.bank()
    middle = 0.5 * (seen.edges[1:] + seen.edges[:-1])
    ratio = seen.mean_stiffness / (math.sqrt(2 / math.pi) * (1 + middle**2) ** -1.5)
    assert ratio.mean() == pytest.approx(1, abs=0.05)  # 1,024 draws of |x0|
    assert np.abs(ratio / ratio.mean() - 1).max() < 0.03


def test_how_stiff_an_orbit_is_beside_others_is_told_where_it_was_measured():
    """Of N(0, 1) it is |x0| over its mean all along the orbit: a secant lies half a step behind, where |Q| is less."""
    env = LiveEnvironment(live(), seed=0)
    env.survey(edm_clock(3.0, 0.002, 64), 2048)
    env.start(64, np.random.default_rng(0))
    true = env.x[:, 0].abs().numpy() / math.sqrt(10) / math.sqrt(2 / math.pi)
    for position in (0.2, 0.4, 0.6, 0.8):
        env.advance(np.full(64, position), 0.2)
        np.testing.assert_allclose(env.ratio, true, rtol=0.15)
    ahead, behind = (env.profile.at(np.array([position]))[0, 0] for position in (0.8, 0.7))
    assert ahead > 1.25 * behind  # control


def test_same_seed_same_schedule_other_seed_another():
    first, second = learn_schedule(live(), SMALL), learn_schedule(live(), SMALL)
    assert np.array_equal(first.clock, second.clock) and first.provenance == second.provenance
    other = learn_schedule(live(), dataclasses.replace(SMALL, seed=1))
    assert not np.array_equal(first.clock, other.clock)


def test_noise_may_be_a_function_of_the_batch_size_alone():
    def alone(batch):
        return torch.full((batch, 2), 3.0)

    schedules = [learn_schedule(live(noise_fn=noise_fn), SMALL) for noise_fn in (alone, lambda batch, _: alone(batch))]
    assert np.array_equal(*(schedule.clock for schedule in schedules))


@pytest.mark.parametrize("noise_fn, given", [
    (lambda batch, scale=2.0: torch.full((batch, 1), scale), False), (lambda batch, generator=None: generator, True),
    (lambda batch, source: source, True), (lambda *both: both[1], True), (torch.randn, False)])
def test_a_second_parameter_with_a_default_is_not_the_generators(noise_fn, given):
    assert _takes_generator(noise_fn) == given


def test_records_and_schedules_are_those_of_a_bank():
    records = list(learn(live(), dataclasses.replace(SMALL, iterations=30)))
    assert [record.iteration for record in records] == list(range(1, 31))
    last = records[-1]
    assert last.schedule.provenance["config"]["iterations"] == 30
    assert last.schedule.provenance["art_version"] == optimal_schedule(targets.bank("normal")).provenance["art_version"]
    assert last.end_point == pytest.approx(1.0) and np.isfinite(last.multiplier) and last.cost >= 1.0


def test_orbits_of_many_elements_and_half_precision_denoisers():
    def half(x, sigma):
        return gaussian()(x, sigma).bfloat16()

    def noise(batch, generator):
        return 3 * torch.randn(batch, 2, 4, 4, generator=generator)

    rounded, exact = (learn_schedule(LiveModel(denoise, noise, 3.0, 0.1), SMALL) for denoise in (half, gaussian()))
    np.testing.assert_allclose(rounded.sigmas(4)[:-1], exact.sigmas(4)[:-1], rtol=0.15)
    assert not np.array_equal(rounded.clock, exact.clock)


@pytest.mark.parametrize("make, complaint", [
    (lambda: live(stiffness="guess"), "stiffness must be 'secant' or 'jvp'; got 'guess'"),
    (lambda: LiveModel(gaussian(), noise, 0.1, 3.0), "0 < sigma_min < sigma_max"),
    (lambda: learn_schedule(live(noise_fn=lambda batch: torch.zeros(1, 1)), SMALL), "must answer 2 start states"),
    (lambda: learn_schedule(live(noise_fn=lambda batch: torch.zeros(batch)), SMALL), "write noise"),
    (lambda: learn_schedule(live(noise_fn=lambda batch: torch.ones(batch, 100) / 2), SMALL), "must be scaled"),
    (lambda: learn_schedule(live(lambda x, sigma: x[:, :0]), SMALL), "input's shape"),
    (lambda: learn_schedule(live(lambda x, sigma: x * math.nan), SMALL), "finite values"),
    (lambda: learn_schedule(live(lambda x, sigma: x.detach() * 0.5, stiffness="jvp"), SMALL), "use stiffness='secant'"),
])
def test_says_what_is_wrong(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_a_bank_can_show_the_actor_its_orbits_too():
    """With an actor that sees x the mean of all episodes costs less than any shared clock could."""
    bank = targets.bank("two modes")
    plain, seeing = (learn_schedule(bank, TrainConfig(state_dependent=sees)) for sees in (False, True))
    assert plain.cost(bank) < seeing.cost(bank) < 1.1  # what the actor gains, distillation gives up


class Network(torch.nn.Module):
    """D of N(0, w), with a weight that wants a gradient."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, sigma):
        return x * self.weight / (self.weight + sigma[:, None] ** 2)


@pytest.mark.parametrize("stiffness", ["secant", "jvp"])
def test_a_network_keeps_no_graph(stiffness):
    """And any seed will do, as for a bank."""
    config = dataclasses.replace(SMALL, seed=2**70)
    assert np.isfinite(learn_schedule(live(Network(), stiffness=stiffness), config).provenance["cost"])


def test_a_denoiser_may_use_its_input_and_one_buffer():
    """As captured graphs answer; each secant would else be of a prediction and itself."""
    buffer = torch.empty(SMALL.episodes, 1)

    def careless(x, sigma):
        buffer.copy_(gaussian()(x, sigma))
        x.mul_(7.0)
        return buffer

    assert np.array_equal(learn_schedule(live(careless), SMALL).clock, learn_schedule(live(), SMALL).clock)


def test_a_range_may_come_in_arrays():
    model = LiveModel(gaussian(), noise, np.array([3.0]), np.array([0.002]))
    assert np.array_equal(learn_schedule(model, SMALL).clock, learn_schedule(live(), SMALL).clock)
