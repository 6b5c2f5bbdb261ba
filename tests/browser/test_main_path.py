"""What everybody does first, with each front end and both ways to draw nodes: pick, look, queue, watch, use."""

import re

import pytest

pytestmark = pytest.mark.browser
NODES = ["classic", "vue"]
TRAIN, SIGMAS = "ARTTrain", "ARTSigmas"


def test_pick_and_see_the_curve_change(tab):
    node = tab.add_node("ART Sigmas", 600, 300)
    tab.plot_when(node, lambda plot: plot["status"], "anything")
    tab.browse(node, "demo edm", "demo-edm")
    edm = tab.plot_when(node, lambda plot: "of demo-edm: 10 steps from 80" in plot["alt"], "demo-edm")
    tab.browse(node, "bundled demo-sdxl", "demo-sdxl")
    sdxl = tab.plot_when(node, lambda plot: "of demo-sdxl: 10 steps from 14.6" in plot["alt"], "demo-sdxl")
    assert sdxl["lines"] != edm["lines"]
    assert {"demo-sdxl", "karras", "normal"} <= set(sdxl["texts"])

    tab.type_number(node, "steps", 6)
    fewer = tab.plot_when(node, lambda plot: "demo-sdxl: 6 steps" in plot["alt"], "6 steps")
    assert fewer["dots"] == 3 * 6 and fewer["lines"] != sdxl["lines"]


@pytest.mark.parametrize("host", ["newest"], indirect=True)
def test_the_rest_of_a_schedule(tab):
    node = tab.add_node("ART Sigmas", 600, 300)
    tab.browse(node, "bundled demo-sdxl", "demo-sdxl")
    whole = tab.plot_when(node, lambda plot: "of demo-sdxl: 10 steps from 14.6" in plot["alt"], "demo-sdxl")
    tab.type_number(node, "denoise", 0.5)
    later = lambda plot: "10 steps from" in plot["alt"] and "from 14.6" not in plot["alt"]  # noqa: E731
    rest = tab.plot_when(node, later, "the rest")
    assert rest["lines"] != whole["lines"]


def test_queue_the_demo_watch_it_and_use_the_schedule(tab, nodes):
    tab.open_examples()
    tab.page.get_by_role("button", name="Open demo").click()
    tab.until("() => app.canvas.graph.nodes.some((node) => node.comfyClass === 'ARTTrain')")
    tab.view(0.6)
    train, sigmas = tab.nodes(TRAIN)[0], tab.nodes(SIGMAS)[0]
    waiting = tab.plot_when(train, lambda plot: "queue the workflow" in plot["status"], "that it waits")
    assert waiting["lines"] == []

    # Another seed than that of the other tests with this host, which would answer from its cache.
    tab.type_number(train, "seed", 11 + NODES.index(nodes))
    tab.at_rest(train)
    tab.watch(train)
    tab.run()
    done = tab.plot_when(train, lambda plot: "saved as" in plot["status"], "the end of the training", 300)
    name = re.match(r"saved as (\S+)", done["status"]).group(1)
    tab.at_rest(train)  # the host adds the node's picture below the plot
    seen = tab.watched()
    phases = [phase for phase in ("recording", "learning", "saved as") if any(phase in text for text, *_ in seen)]
    assert phases == ["recording", "learning", "saved as"]
    assert len({line for _, line, _ in seen if line}) >= 3, "the clock must move while it is learned"
    # At the end newer hosts make room for the picture where settings that they fold away would be.
    places = {place for text, _, place in seen if "saved as" not in text}
    assert len(places) == 1, "nothing may jump while it is updated"
    learning = [text for text, *_ in seen if "learning" in text][-1]  # the first has nothing to foretell the rest by
    assert "model calls" in learning and " s" in learning and "left" in learning
    assert len(done["lines"]) == 3 and any("iteration" in text for text in done["texts"])

    # The message offers the schedule; the list has it, and the node that it is wired to draws it.
    toast = tab.page.locator(".art-toast")
    toast.get_by_role("button", name="Use it").click()
    tab.until("([id, name]) => app.canvas.graph.getNodeById(id).widgets[0].value === name", [sigmas, name])
    toast.wait_for(state="detached")
    tab.page.locator(".art-panel .art-row", has_text=re.compile(rf"^{name}Demo.*trained here")).wait_for()
    offered = tab.page.evaluate("(id) => app.canvas.graph.getNodeById(id).widgets[0].options.values", sigmas)
    assert name in offered
    tab.plot_when(sigmas, lambda plot: f"of {name}: 6 steps" in plot["alt"], "the learned schedule")
    tab.all_done()

    # Elements have room of their own; on the canvas the height that is held for the picture ends with a drag.
    if nodes == "classic":
        before = tab.plot_height(train)
        tab.view(0.5, top=500)
        tab.drag_corner(train, 100)
        assert tab.plot_height(train) > before + 20
        tab.drag_corner(train, -150)
        assert tab.plot_height(train) < before + 20
