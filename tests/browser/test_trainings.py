"""Trainings in the real page beyond the plain case: reload, two tabs, subgraph, two in a row, a host that restarts."""

import re

import pytest
import requests

from tests.browser import graphs

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("host", ["newest"], indirect=True)]
LONG = 100_000  # iterations that no test waits for


@pytest.fixture(scope="module", params=["vue"])
def nodes(request):
    """Drawing them one way is enough here, if a test does not say otherwise."""
    return request.param


@pytest.fixture(autouse=True)
def _idle(host):
    """No training goes on after its test."""
    yield
    requests.post(host.url + "/queue", json={"clear": True}, timeout=60)
    requests.post(host.url + "/interrupt", json={}, timeout=60)


def is_learning(plot) -> bool:
    return "learning, iteration" in plot["status"] and len(plot["lines"]) == 3


def iteration(plot) -> int:
    return int(re.search(r"iteration (\d+) of", plot["status"]).group(1))


def saved_name(plot) -> str:
    return re.match(r"saved as (\S+)", plot["status"]).group(1)


def test_reload_in_the_middle_of_a_training(tab, host):
    tab.open_graph(graphs.training(name="reload", seed=21, iterations=LONG))
    tab.run()
    before = tab.plot_when(2, is_learning, "learning")
    # The page keeps the workflow that it has open, as it does for a person.
    tab.until("() => JSON.stringify(Object.entries({ ...sessionStorage, ...localStorage })).includes('ARTTrain')")
    tab.page.reload()
    tab.ready()
    tab.until("() => app.graph.nodes.some((node) => node.comfyClass === 'ARTTrain')")
    train = tab.nodes("ARTTrain")[0]
    picked_up = tab.plot_when(train, is_learning, "learning again")
    assert iteration(picked_up) >= iteration(before)
    later = tab.plot_when(train, lambda plot: is_learning(plot) and iteration(plot) > iteration(picked_up), "more")
    assert later["status"] != picked_up["status"]
    requests.post(host.url + "/interrupt", json={}, timeout=60)
    tab.plot_when(train, lambda plot: "stopped, nothing was saved" in plot["status"], "that it was stopped")


def test_reload_after_auto_was_read(tab):
    """The host keeps what ART Sigmas gave and does not tell it again: the tab knows it still."""
    tab.open_graph(graphs.automatic(steps=13))
    tab.run()
    tab.plot_when(2, lambda plot: "of demo-sdxl" in plot["alt"], "what auto took")
    tab.until("() => JSON.stringify(Object.entries({ ...sessionStorage, ...localStorage })).includes('ARTSigmas')")
    tab.page.reload()
    tab.ready()
    tab.until("() => app.graph.nodes.some((node) => node.comfyClass === 'ARTSigmas')")
    tab.plot_when(tab.nodes("ARTSigmas")[0], lambda plot: "of demo-sdxl" in plot["alt"], "what auto took, still")


def test_two_tabs(tab, open_tab):
    """The tab that queued is told; the other keeps quiet, but its list has the schedule when it is opened."""
    ours, other = tab, open_tab()
    for each in (ours, other):
        each.open_graph(graphs.training(name="tabs", seed=22))
    ours.run()
    name = saved_name(ours.plot_when(2, lambda plot: "saved as" in plot["status"], "the end"))
    ours.page.locator(".art-toast").wait_for()
    assert "queue the workflow" in other.plot(2)["status"]
    assert other.page.locator(".art-toast").count() == 0
    other.open_panel()
    other.page.locator(".art-panel .art-row", has_text=name).wait_for()


@pytest.mark.parametrize("nodes", ["classic", "vue"], indirect=True)
def test_a_run_that_ends_behind_another_workflow(tab, host, nodes):
    """The page hands what nodes told to those of the workflow in front; theirs it is not."""
    behind = graphs.training(name=f"behind_{nodes}", seed=27, iterations=1500)
    tab.open_graph(behind)
    tab.view(0.6)
    tab.run()
    tab.plot_when(2, is_learning, "learning")
    tab.page.evaluate("""() => {
      window.artExecuted = 0;
      comfyAPI.api.api.addEventListener('executed', ({ detail }) => { window.artExecuted += detail.node === '2'; });
    }""")
    tab.open_graph({**behind, "id": graphs.named_id(f"before {nodes}")})
    tab.view(0.6)
    tab.plot_when(2, lambda plot: "queue the workflow" in plot["status"], "that it waits")
    assert tab.page.evaluate("() => artExecuted") == 0, "it was to go on behind"
    tab.until("() => artExecuted > 0")
    tab.all_done()
    assert "queue the workflow" in tab.plot(2)["status"]
    tab.command("Workspace.PreviousOpenedWorkflow")
    tab.plot_when(2, lambda plot: "saved as behind" in plot["status"], "the end")


def test_two_trainings_in_a_row(tab):
    tab.open_graph(graphs.two_trainings("first", "second"))
    tab.view(0.4)
    tab.run()
    names = [saved_name(tab.plot_when(node, lambda plot: "saved as" in plot["status"], "the end")) for node in (2, 4)]
    assert [name.split("_")[0] for name in names] == ["first", "second"]
    assert tab.plot(2)["lines"] != tab.plot(4)["lines"]


@pytest.mark.parametrize("nodes", ["classic", "vue"], indirect=True)
def test_in_a_subgraph(tab):
    tab.open_graph(graphs.training(name="subgraph", seed=24))
    tab.view(0.6)
    # In one go: the page has no time to notice that it is another node with the same id.
    tab.page.evaluate("""() => {
      const node = app.graph.nodes.find((each) => each.comfyClass === 'ARTTrain');
      const { node: outside } = app.graph.convertToSubgraph(new Set([node]));
      app.canvas.openSubgraph(outside.subgraph, outside);
    }""")
    tab.until("() => app.canvas.graph !== app.rootGraph")
    tab.view(0.6, 300)
    train = tab.nodes("ARTTrain")[0]
    tab.plot_when(train, lambda plot: "queue the workflow" in plot["status"], "that it waits")
    tab.run()
    done = tab.plot_when(train, lambda plot: "saved as" in plot["status"], "the end")
    assert saved_name(done).startswith("subgraph") and len(done["lines"]) == 3
    # Opened anew, as a person who gets such a workflow sees it.
    tab.open_graph(tab.page.evaluate("() => JSON.parse(JSON.stringify(app.rootGraph.serialize()))"))
    tab.page.evaluate("""() => {
      const outside = app.rootGraph.nodes.find((each) => each.subgraph);
      app.canvas.openSubgraph(outside.subgraph, outside);
    }""")
    tab.until("() => app.canvas.graph !== app.rootGraph")
    tab.plot_when(tab.nodes("ARTTrain")[0], lambda plot: len(plot["lines"]) == 3, "the same training")
    tab.page.evaluate("() => app.canvas.setGraph(app.rootGraph)")


def test_the_host_restarted_between(tab, host):
    tab.open_graph(graphs.training(name="restart", seed=25))
    tab.run()
    first = tab.plot_when(2, lambda plot: "saved as" in plot["status"], "the end")
    host.stop()
    host.start()
    tab.until("() => comfyAPI.api.api.socket?.readyState === WebSocket.OPEN")
    assert tab.plot(2)["status"] == first["status"]
    tab.type_number(2, "seed", 26)
    tab.run()
    tab.plot_when(2, lambda plot: "saved as restart_2" in plot["status"] and len(plot["lines"]) == 3, "the next one")
    assert "saved as restart ·" in first["status"]
    tab.all_done()
