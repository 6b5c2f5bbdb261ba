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
