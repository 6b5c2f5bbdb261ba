"""What the page is told of a training: the messages, how many, and what is kept for a reload."""

import json
import math
import sys
import types

import numpy as np
import pytest

from art_nodes.core import Schedule
from art_nodes.host import events


class Server:
    """The host's server, as far as events go."""

    def __init__(self, client_id="tab"):
        self.client_id, self.sent = client_id, []

    def send_sync(self, event, data, sid=None):
        self.sent.append((event, json.loads(json.dumps(data, allow_nan=False)), sid))


class Clock:
    """A clock that is set by hand, in seconds."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(events, "_last", type(events._last)())


@pytest.fixture
def server(monkeypatch):
    made = Server()
    module = types.SimpleNamespace(PromptServer=types.SimpleNamespace(instance=made))
    monkeypatch.setitem(sys.modules, "server", module)
    return made


@pytest.fixture
def clock():
    return Clock()


def record(iteration, cost, nodes=16, rate=2.0):
    schedule = Schedule(80 * (1 - np.linspace(0, 1, nodes + 1)) ** (rate + iteration / 100))
    return types.SimpleNamespace(iteration=iteration, cost=cost, schedule=schedule)


def run(told, clock, recorded=20, iterations=50, seconds=0.05):
    for i in range(recorded):
        clock.now += seconds
        told.recorded(i + 1, recorded)
    for i in range(iterations):
        clock.now += seconds
        told.learned(record(i + 1, 1 + 1 / (i + 1)), iterations)
    told.finished("mine")


def test_a_whole_run(server, clock):
    run(events.TrainingEvents("12:5", "flow", clock), clock)
    kinds, states, clients = zip(*server.sent, strict=True)
    assert set(kinds) == {"art.train"} and set(clients) == {"tab"}
    assert [state["phase"] for state in states] == sorted((state["phase"] for state in states),
                                                          key=["recording", "learning", "finished"].index)
    assert {(state["node"], state["workflow"]) for state in states} == {("12:5", "flow")}
    assert [state["number"] for state in states] == list(range(1, len(states) + 1))
    last = states[-1]
    assert (last["name"], last["calls"], last["left"], last["iteration"]) == ("mine", 20, 0.0, 50)
    assert last["seconds"] == pytest.approx(70 * 0.05)
    assert len(last["costs"]) == 50 and last["costs"][-1] == [50, pytest.approx(1.02)]
    assert last["start"][0] == last["clock"][0] == 80 and last["start"] != last["clock"] and last["clock"][-1] == 0


def test_at_most_five_messages_a_second(server, clock):
    run(events.TrainingEvents(5, None, clock), clock, recorded=100, iterations=400, seconds=0.01)
    assert len(server.sent) <= 5 * 5 + 3  # 5 s, and the three changes of phase
    assert server.sent[-1][1]["phase"] == "finished"


def test_the_time_left_follows_the_pace(server, clock):
    told = events.TrainingEvents(5, None, clock)
    clock.now += 3
    told.recorded(30, 100)
    assert server.sent[-1][1]["left"] == pytest.approx(7)
    told.learned(record(1, 1.5), 10)
    assert server.sent[-1][1]["left"] is None  # a phase that has just begun has no pace
    clock.now += 2
    told.learned(record(2, 1.5), 10)
    state = server.sent[-1][1]
    assert (state["seconds"], state["left"]) == pytest.approx((5, 8))


def test_clocks_are_told_to_seven_digits(server, clock):
    events.TrainingEvents(5, None, clock).learned(record(1, 1.5), 10)
    np.testing.assert_allclose(server.sent[-1][1]["clock"], record(1, 1.5).schedule.clock, rtol=1e-6)


def test_without_a_number_of_iterations_those_done_are_all(server, clock):
    events.TrainingEvents(5, None, clock).learned(record(3, 1.5))
    state = server.sent[-1][1]
    assert (state["iteration"], state["iterations"], state["done"], state["total"]) == (3, 3, 3, 3)


def test_long_curves_and_clocks_are_thinned(server, clock):
    told = events.TrainingEvents(5, None, clock)
    for i in range(3000):
        told.learned(record(i + 1, 2.0, nodes=1024), 3000)
    told.finished("mine")
    state = server.sent[-1][1]
    assert len(state["costs"]) == events.MOST_POINTS and len(state["clock"]) == events.MOST_CLOCK
    assert (state["costs"][0][0], state["costs"][-1][0]) == (1, 3000)
    assert len(json.dumps(state)) < 20_000


def test_a_reload_finds_the_last_state_of_its_own_client_only(server, clock):
    run(events.TrainingEvents("5", "a", clock), clock)
    run(events.TrainingEvents("5", "b", clock), clock)
    server.client_id = "other"
    run(events.TrainingEvents("5", "a", clock), clock)
    assert [state["workflow"] for state in events.last_states("tab")] == ["a", "b"]
    assert events.last_states("tab")[1] == server.sent[2 * len(server.sent) // 3 - 1][1]
    assert len(events.last_states("other")) == 1
    assert events.last_states("") == events.last_states("nobody") == []


def test_a_later_run_has_a_larger_number(server, clock):
    runs = [events.TrainingEvents(5, None, clock).state["run"] for _ in range(50)]
    assert runs == sorted(set(runs)) and runs[0] > 1_700_000_000_000


def test_only_so_many_runs_are_kept(server, clock):
    for node in range(events.MOST_RUNS + 5):
        events.TrainingEvents(node, None, clock).recorded(1, 2)
    kept = [state["node"] for state in events.last_states("tab")]
    assert kept == [str(node) for node in range(5, events.MOST_RUNS + 5)]


def test_a_node_that_trains_again_is_kept_as_the_newest(server, clock):
    for node in (*range(events.MOST_RUNS), 0, events.MOST_RUNS):
        events.TrainingEvents(node, None, clock).recorded(1, 2)
    kept = [state["node"] for state in events.last_states("tab")]
    assert kept == [str(node) for node in (*range(2, events.MOST_RUNS), 0, events.MOST_RUNS)]


def test_what_is_kept_is_touched_under_the_lock_only(server, clock, monkeypatch):
    """One thread trains, another answers pages."""
    held, seen = [], []

    class Lock:
        def __enter__(self):
            held.append(self)

        def __exit__(self, *_):
            seen.append("released")
            held.pop()

    class Kept(type(events._last)):
        def __setitem__(self, *entry):
            seen.append(("write", len(held)))
            super().__setitem__(*entry)

        def items(self):
            seen.append(("read", len(held)))
            return super().items()

    monkeypatch.setattr(events, "_lock", Lock())
    monkeypatch.setattr(events, "_last", Kept())
    told = events.TrainingEvents(5, None, clock)
    assert seen == ["released"]  # for the number of the run
    told.recorded(1, 2)
    [state] = events.last_states("tab")
    assert seen[1:] == [("write", 1), "released", ("read", 1), "released"]
    state["node"] = "another"  # the reader's own
    assert events.last_states("tab")[0]["node"] == "5"


def test_stopped_runs(server, clock):
    told = events.TrainingEvents(5, None, clock)
    told.recorded(1, 10)
    told.failed()
    assert server.sent[-1][1]["phase"] == "failed"
    over = events.TrainingEvents(6, None, clock)
    over.finished("mine")
    over.failed()
    assert server.sent[-1][1]["phase"] == "finished"


def test_a_run_that_fails_says_how_far_it_came(server, clock):
    told = events.TrainingEvents(5, None, clock)
    told.recorded(3, 10)
    told.failed()
    state = server.sent[-1][1]
    assert (state["phase"], state["done"], state["total"]) == ("failed", 3, 10)


def test_fitting_and_trying_are_phases_of_their_own(server, clock):
    """A trial may end before all of its calls are spent: what is finished is done."""
    told = events.TrainingEvents(5, None, clock)
    told.refined(1, 4)
    told.tried(30, 90)
    told.finished("mine")
    assert [(state["phase"], state["done"], state["total"]) for _, state, _ in server.sent] == [
        ("refining", 1, 4), ("trying", 30, 90), ("finished", 90, 90)]


def test_a_run_is_told_to_the_page_that_queued_it(server, clock):
    """The host's client is by then that of what it runs next, or of nobody."""
    told = events.TrainingEvents(5, None, clock)
    server.client_id = "other"
    told.recorded(1, 2)
    assert [client for *_, client in server.sent] == ["tab"] and events.last_states("other") == []


@pytest.mark.parametrize("steps, marked", [(6, 6), (100, 100), (101, None), (0, None)])
def test_the_end_tells_the_steps_that_are_sampled(server, clock, steps, marked):
    """Of a grid, where there is one, and not of the clock."""
    times = np.linspace(0, 1, 33)
    schedule = Schedule(80 * (1 - times) ** 2, grids={6: np.array([80.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.0])})
    events.TrainingEvents("5", None, clock).finished("mine", schedule, steps)
    told = server.sent[-1][1]
    assert told["ladder"] == ([] if marked is None else schedule.sigmas(steps).tolist())
    assert len(told["clock"]) == 33 and (steps != 6 or told["ladder"][1] == 30)


def test_an_error_is_told_and_goes_on(server, clock):
    with pytest.raises(KeyboardInterrupt), events.TrainingEvents(5, None, clock) as told:
        told.recorded(1, 10)
        raise KeyboardInterrupt
    assert server.sent[-1][1]["phase"] == "failed"
    with events.TrainingEvents(6, None, clock) as told:
        told.finished("mine")
    assert server.sent[-1][1]["phase"] == "finished"


@pytest.mark.parametrize(("extra", "workflow"), [
    ({"workflow": {"id": "flow"}}, "flow"), ({"workflow": {"id": 3}}, None), ({"workflow": None}, None), ({}, None),
    ([{}], None), (None, None),
])
def test_from_the_hidden_inputs_of_a_node(server, extra, workflow):
    told = events.TrainingEvents.of_node(types.SimpleNamespace(unique_id="12:5", extra_pnginfo=extra))
    assert (told.state["node"], told.state["workflow"]) == ("12:5", workflow)
    assert events.TrainingEvents.of_node(None).state["node"] is None


def test_numpys_numbers_are_sent_as_plain_ones(server, clock):
    """The host ends where it is to send another."""
    told = events.TrainingEvents(5, None, clock)
    told.recorded(np.int64(1), np.int64(4))
    assert [type(server.sent[-1][1][key]) for key in ("done", "total", "calls")] == [int] * 3
    assert json.loads(json.dumps(told.record()))["calls"] == 1


def test_the_record_for_the_nodes_output(server, clock):
    told = events.TrainingEvents(5, "flow", clock)
    run(told, clock)
    assert json.loads(json.dumps(told.record(), allow_nan=False)) == server.sent[-1][1]


@pytest.mark.parametrize("module", [None, types.SimpleNamespace(),
                                    types.SimpleNamespace(PromptServer=types.SimpleNamespace())])
def test_without_a_server_all_is_silent(monkeypatch, clock, module):
    monkeypatch.setitem(sys.modules, "server", module)
    told = events.TrainingEvents("5", None, clock)
    run(told, clock)
    assert told.record()["name"] == "mine"


def test_nothing_raises(server, clock, monkeypatch):
    told = events.TrainingEvents("5", None, clock)
    monkeypatch.setattr(server, "send_sync", lambda *_: 1 / 0)
    run(told, clock)
    told.learned(None)
    told.learned(record(1, math.nan), 5)
    told.recorded(1, 0)
    told.recorded(None, None)
    json.dumps(told.record(), allow_nan=False)


def test_a_run_that_no_page_queued_is_told_to_none(server, clock):
    server.client_id = None
    run(events.TrainingEvents("5", None, clock), clock)
    assert server.sent == []


def test_without_a_node_nothing_is_sent(server, clock):
    run(events.TrainingEvents(None, None, clock), clock)
    assert server.sent == []
