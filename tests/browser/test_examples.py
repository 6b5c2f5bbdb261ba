"""The example workflows in the real page: every node is known, every wire and value is there, and one runs."""

import json

import pytest
import requests

from benchmarks.comfy.install import PACK_NAME, ROOT

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("host", ["newest"], indirect=True)]
FOLDER = ROOT / "example_workflows"
NAMES = ["compare-schedules", "demo", "learn-on-your-checkpoint", "sdxl-image-to-image", "sdxl-text-to-image"]
# A picture of a few hundred pixels; the host's template browser shows it small.
MOST_BYTES = 120_000
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
# What the page has after loading: ids and types of nodes, ends of wires, values of widgets, messages that warn.
STATE = """() => ({
  nodes: app.graph.nodes.map((node) => `${node.id} ${node.type}`).sort(),
  unknown: app.graph.nodes.filter((node) => !LiteGraph.registered_node_types[node.type]).map((node) => node.type),
  links: [...app.graph.links.values()].map((link) => [link.origin_id, link.origin_slot, link.target_id]
    .join(' ')).sort(),
  dangling: [...app.graph.links.values()].filter((link) => {
    const [from, to] = [app.graph.getNodeById(link.origin_id), app.graph.getNodeById(link.target_id)];
    return !from?.outputs[link.origin_slot] || !to?.inputs[link.target_slot];
  }).length,
  warned: [...document.querySelectorAll('.p-toast-message')].map((message) => message.textContent),
})"""


@pytest.fixture(scope="module", params=["classic"])
def nodes(request):
    """Drawing them one way is enough here."""
    return request.param


def read(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text())


def test_these_are_all(host):
    assert sorted(path.stem for path in FOLDER.glob("*.json")) == NAMES
    assert sorted(requests.get(host.url + "/workflow_templates", timeout=60).json()[PACK_NAME]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_picture_for_the_template_browser(host, name):
    picture = requests.get(f"{host.url}/api/workflow_templates/{PACK_NAME}/{name}.jpg", timeout=60)
    assert picture.ok and picture.content.startswith(b"\xff\xd8\xff") and len(picture.content) < MOST_BYTES


def test_each_opens_from_the_side_panel(tab):
    tab.open_examples()
    for name in NAMES:
        wanted = read(name)
        tab.page.get_by_role("button", name=f"Open {name}", exact=True).click()
        tab.until("(id) => app.graph.id === id", wanted["id"])
        found = tab.page.evaluate(STATE)
        assert found["nodes"] == sorted(f"{node['id']} {node['type']}" for node in wanted["nodes"]), name
        assert not found["unknown"] and not found["dangling"], name
        assert found["links"] == sorted(f"{link[1]} {link[2]} {link[3]}" for link in wanted["links"]), name
        assert not [text for text in found["warned"] if "Invalid" in text], name
        prompt = tab.page.evaluate("async () => (await app.graphToPrompt()).output")
        known = requests.get(tab.url + "/object_info", timeout=60).json()
        for node in prompt.values():
            required = known[node["class_type"]]["input"].get("required", {})
            assert set(required) <= set(node["inputs"]), (name, node["class_type"])
        for node in wanted["nodes"]:
            if node["type"].startswith("ART"):
                named = node["widgets_values_named"]
                assert {*named} - {"control_after_generate"} == widgets_of(known[node["type"]]["input"]), (name, node)
                assert list(named.values()) == node["widgets_values"] == values(tab, node["id"]), (name, node)


def widgets_of(inputs: dict) -> set[str]:
    """The inputs that have a widget, of a node as /object_info tells of it."""
    given = {**inputs.get("required", {}), **inputs.get("optional", {})}
    return {name for name, (kind, *_) in given.items() if isinstance(kind, list) or kind in WIDGETS}


def values(tab, node: int) -> list:
    """What the loaded page has in a node's widgets, but for its plots."""
    return tab.page.evaluate("""(id) => app.graph.getNodeById(id).widgets
      .filter((widget) => widget.serialize !== false).map((widget) => widget.value)""", node)


def test_compare_runs_to_the_end(tab):
    tab.open_examples()
    tab.page.get_by_role("button", name="Open compare-schedules").click()
    tab.until("(id) => app.graph.id === id", read("compare-schedules")["id"])
    tab.view(0.5, -600)
    compare = tab.nodes("ARTCompare")[0]
    tab.plot_when(compare, lambda plot: "queue the workflow" in plot["status"], "that it waits")
    tab.run()
    shown = tab.plot_when(compare, lambda plot: plot["lines"], "the errors", 400)
    assert {"karras", "normal", "beta", "demo-sdxl"} <= set(shown["texts"])
    assert "error of euler over 10 noises" in shown["status"]
    tab.all_done()
