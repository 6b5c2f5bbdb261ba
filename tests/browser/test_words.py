"""What nodes say in words: where a schedule comes from, what is amiss, what was saved."""

import pytest

from tests.browser import graphs

pytestmark = pytest.mark.browser
EACH = pytest.mark.parametrize(("host", "nodes"), [("own", "classic"), ("newest", "classic"), ("newest", "vue")],
                               indirect=True)


@EACH
def test_what_nodes_say_stays_when_the_run_is_over(tab, nodes):
    """Newer front ends take away at the end what they were told during a run."""
    # Of what it still knows from another test, the host tells nothing but the last node.
    tab.open_graph(graphs.speaking({"classic": 11, "vue": 12}[nodes]))
    tab.view(0.6)
    tab.run()
    tab.all_done()
    tab.page.wait_for_timeout(2000)  # what the page does at the end of a run it does by then
    words = tab.page.locator(".art-told").all_text_contents()
    assert len(words) == 2 and any("Warning: " in text and "sd3" in text for text in words), words
    assert any(text.startswith("Schedule demo-sdxl") and "10 steps: " in text for text in words), words
    boxes = [box.bounding_box() for box in tab.page.locator(".art-told").all()]
    assert all(30 < box["height"] < 300 and box["width"] > 100 for box in boxes), boxes
    # It can be taken along: pages with an eye on copied nodes must not take it for one.
    tab.page.locator(".art-told", has_text="Schedule demo-sdxl").click(click_count=3, position={"x": 40, "y": 10})
    tab.page.keyboard.press("Control+c")
    tab.until("async () => (await navigator.clipboard.readText()).startsWith('Schedule demo-sdxl')")


@pytest.mark.parametrize(("host", "nodes"), [("own", "classic"), ("newest", "classic")], indirect=True)
@pytest.mark.parametrize("what", ["words", "training", "comparison"])
def test_nodes_do_not_grow_with_every_run(tab, host, what):
    """The host makes room for a node's picture below what we show, and saves the node so."""
    node, graph = {"words": (4, graphs.speaking(8)), "training": (2, graphs.training(name="grows", seed=91)),
                   "comparison": (4, graphs.compared(7))}[what]
    heights = []
    tab.open_graph(graph)
    for _ in range(3):
        tab.view(0.6)
        tab.run()
        tab.all_done()
        tab.page.wait_for_timeout(2500)  # for the picture
        heights.append(tab.page.evaluate("(id) => app.graph.getNodeById(id).size[1]", node))
        tab.open_graph(tab.page.evaluate("() => JSON.parse(JSON.stringify(app.rootGraph.serialize()))"))
    assert max(heights) - min(heights) < 2, heights
