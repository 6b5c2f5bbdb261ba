"""Nodes that the page copies, and nodes that take the place of others: their plots, and what they ask the server."""

import pytest

from tests.browser import graphs

pytestmark = pytest.mark.browser
NEWEST = pytest.mark.parametrize("host", ["newest"], indirect=True)
BOTH = pytest.mark.parametrize("nodes", ["classic", "vue"], indirect=True)
COPIES = 5
RECONNECTED = "() => comfyAPI.api.api.dispatchCustomEvent('reconnected')"


@pytest.fixture(scope="module", params=["vue"])
def nodes(request):
    """Drawing them one way is enough here, if a test does not say otherwise."""
    return request.param


def copy(tab, node) -> None:
    """Select a node by its title and press Ctrl+C; the page makes a node for that which no graph gets."""
    made = """() => {
      const { createNode } = LiteGraph;
      window.artMade = 0;
      LiteGraph.createNode = function (...given) {
        window.artMade += 1;
        return createNode.apply(this, given);
      };
    }"""
    tab.page.evaluate(made)
    tab.again(lambda: tab.page.mouse.click(*tab.header_point(node)),
              lambda: tab.page.evaluate("() => app.canvas.selectedItems.size === 1"))
    for i in range(1, COPIES + 1):
        tab.again(lambda: tab.page.keyboard.press("Control+c"), lambda i=i: tab.page.evaluate("() => artMade") >= i)


def test_copies_ask_for_nothing_and_keep_no_training_from_being_drawn(tab):
    tab.open_graph(graphs.graph([graphs.sigmas_node(4, "demo-sdxl")], []))
    tab.plot_when(4, lambda plot: plot["dots"] == 3 * 10, "10 steps")
    asked = []
    copy(tab, 4)
    tab.page.on("request", lambda request: asked.append(request.url) if "/art/ladders" in request.url else None)
    for _ in range(2):
        with tab.page.expect_response("**/art/ladders*"):
            tab.page.evaluate(RECONNECTED)
    assert len(asked) == 2, "one for each time that the list was read"

    tab.open_graph(graphs.training(name="copied", seed=31))
    tab.run()
    done = tab.plot_when(2, lambda plot: "saved as" in plot["status"], "the end")
    assert len(done["lines"]) == 3
    tab.page.locator(".art-toast").wait_for()
    tab.all_done()


@NEWEST
@BOTH
def test_what_nodes_told_survives_undo_and_another_workflow(tab, nodes):
    # Of what it still knows from another test, the host tells nothing but the last node.
    steps = {"classic": 11, "vue": 12}[nodes]
    tab.open_graph(graphs.compared(steps))
    tab.view(0.6)
    tab.plot_when(4, lambda plot: "queue the workflow" in plot["status"], "that it waits")
    tab.run()
    told = tab.plot_when(4, lambda plot: plot["status"].startswith("error of euler") and plot["dots"], "the errors")
    tab.plot_when(2, lambda plot: f"of demo-sdxl: {steps} steps" in plot["alt"], "what auto took")
    tab.all_done()

    tab.type_number(2, "steps", 6)
    tab.plot_when(2, lambda plot: "of demo-sdxl: 6 steps" in plot["alt"], "6 steps")
    tab.page.evaluate("() => app.graph.nodes.forEach((node) => { node.artBefore = true; })")
    tab.page.mouse.click(1300, 850)
    tab.again(lambda: tab.page.keyboard.press("Control+z"), lambda: tab.value(2, "steps") == steps)
    tab.until("() => app.graph.nodes.every((node) => !node.artBefore)")
    shows_the_same(tab, told, steps)

    tab.blank()
    tab.command("Workspace.PreviousOpenedWorkflow")
    tab.until("() => app.graph.nodes.some((node) => node.comfyClass === 'ARTCompare')")
    shows_the_same(tab, told, steps)


def shows_the_same(tab, told: dict, steps: int) -> None:
    # The words are there at once, what is drawn a frame later.
    parts = ("status", "alt", "dots")
    tab.plot_when(4, lambda plot: all(plot[part] == told[part] for part in parts), "the errors again")
    tab.plot_when(2, lambda plot: f"of demo-sdxl: {steps} steps" in plot["alt"], "what auto took again")


@NEWEST
@pytest.mark.parametrize("nodes", ["classic"], indirect=True)
def test_the_wheel_over_a_plot_zooms_the_canvas_only(tab):
    tab.open_graph(graphs.graph([graphs.sigmas_node(4, "demo-sdxl")], []))
    tab.plot_when(4, lambda plot: plot["dots"] == 3 * 10, "10 steps")
    complaints = []
    tab.page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    tab.page.evaluate("""() => {
      window.artTurns = [];
      addEventListener('wheel', (event) => window.artTurns.push([event.ctrlKey, event.defaultPrevented]));
    }""")
    box = tab.page.locator(".art-plot-ARTSigmas .art-picture").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    before = tab.page.evaluate("() => app.canvas.ds.scale")
    tab.page.mouse.wheel(0, -100)
    tab.until("() => artTurns.length === 1")
    tab.page.keyboard.down("Control")
    tab.page.mouse.wheel(0, -100)
    tab.page.keyboard.up("Control")
    tab.until("() => artTurns.length === 2")
    assert tab.page.evaluate("() => artTurns") == [[False, True], [True, True]]
    assert tab.page.evaluate("() => app.canvas.ds.scale") > before
    assert complaints == []
