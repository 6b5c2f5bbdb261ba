"""The page for everybody: hostile names, the side panel, light colors, large zoom, help."""

import json
import re
import shutil

import pytest

from benchmarks.comfy.install import ROOT
from tests.browser import graphs

pytestmark = [pytest.mark.browser, pytest.mark.parametrize("host", ["newest"], indirect=True)]
HOSTILE = "<img src=x onerror=document.title='hacked'>"
# Every node of the pack and the name that it shows.
TITLES = {name: node["display_name"] for name, node
          in json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text()).items()}
BUNDLED = ROOT / "learned_schedules"


def row_of(name: str) -> re.Pattern:
    """Of a list's row: that name, not a longer one that begins with it."""
    return re.compile(rf"^{name}(?!-)")


# Whether a foreign text became markup or a script of it ran.
HARMED = "() => document.title.includes('hacked') || !!document.querySelector('img[src=\"x\"], [onerror]')"
# Contrast of every text of ours that can be seen with what is behind it; at least 4.5 is readable for nearly everybody.
CONTRAST = """() => {
  const parts = (color) => {
    const found = (color.match(/[\\d.]+/g) ?? []).map(Number);
    const most = color.startsWith('color') ? 1 : 255;
    return { rgb: found.slice(0, 3).map((part) => part / most), opaque: (found[3] ?? 1) > 0.5 };
  };
  const light = (rgb) => rgb.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { rgb, opaque } = parts(getComputedStyle(at).backgroundColor);
      if (opaque && rgb.length === 3) return rgb;
    }
    return [1, 1, 1];
  };
  const all = [...document.querySelectorAll('.art-plot *, .art-panel *, .art-dialog *')]
    .filter((element) => element.getBoundingClientRect().width && (element.matches('path.art-line, text')
      || [...element.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())));
  return all.map((element) => {
    const style = getComputedStyle(element);
    const color = element.matches('path') ? style.stroke : element.matches('text') ? style.fill : style.color;
    const [a, b] = [light(parts(color).rgb), light(behind(element))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), element.matches('path') ? 3 : 4.5,
      `${element.tagName} ${element.getAttribute('class')} ${element.textContent.slice(0, 30)} ${color}`];
  });
}"""


@pytest.fixture(scope="module", params=["vue"])
def nodes(request):
    """Drawing them one way is enough here, if a test does not say otherwise."""
    return request.param


@pytest.fixture
def hostile(host):
    """A schedule in the library whose file has a name that is markup."""
    folder = host.base / "models" / "art_schedules"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{HOSTILE}.safetensors"
    shutil.copy(BUNDLED / "demo-edm.safetensors", path)
    yield HOSTILE
    path.unlink()


def sigmas_node(tab, x: float = 600, y: float = 300):
    """An ART Sigmas node that shows a bundled schedule."""
    node = tab.add_node("ART Sigmas", x, y)
    tab.browse(node, "demo-sdxl", "demo-sdxl")
    tab.plot_when(node, lambda plot: "of demo-sdxl" in plot["alt"], "demo-sdxl")
    return node


@pytest.mark.parametrize("nodes", ["classic", "vue"], indirect=True)
def test_hostile_names(tab, hostile, nodes):
    node = sigmas_node(tab)
    tab.browse(node, "img", hostile)
    shown = tab.plot_when(node, lambda plot: f"of {hostile[:20]}" in plot["alt"], "the schedule")
    assert tab.value(node, "schedule_name") == hostile
    assert any(text.startswith("<img") for text in shown["texts"])
    # The host's own menu of the choices.
    if nodes == "classic":
        entry = tab.page.locator(".litemenu-entry", has_text="onerror").first
        tab.again(lambda: tab.page.mouse.click(*tab.widget_point(node, "schedule_name")), entry.is_visible)
    else:
        tab.page.locator(f'[data-node-id="{node}"] .lg-node-widget').first.locator(
            '[role="combobox"], button').first.click()
        tab.page.locator('[role="option"], [role="listbox"] *', has_text="onerror").first.wait_for()
    tab.page.keyboard.press("Escape")
    tab.open_panel()
    row = tab.page.locator(".art-panel .art-row", has_text="onerror")
    row.click()
    tab.page.locator(".art-panel .art-facts").wait_for()
    assert not tab.page.evaluate(HARMED)


def test_hostile_workflow(tab):
    graph = graphs.two_trainings(HOSTILE, "__proto__")
    for node in graph["nodes"]:
        node["title"] = HOSTILE
        node["widgets_values"] = [HOSTILE if isinstance(value, str) else value for value in node["widgets_values"]]
    graph["nodes"].append({**graphs.preview_node(9), "type": "ARTSigmas", "inputs": [],
                           "widgets_values": [HOSTILE, "6e999", {"steps": HOSTILE}]})
    graph["id"] = HOSTILE
    tab.open_graph(graph)
    tab.page.evaluate("""(hostile) => {
      const send = (detail) => comfyAPI.api.api.dispatchCustomEvent('art.train', detail);
      const state = { node: '2', workflow: null, run: 9e15, number: 1, phase: 'finished', name: hostile,
        clock: [3, 1, 0], start: [3, 2, 0], costs: [[1, 1.5], [2, 1.1]], done: 1, total: 1, calls: 1, seconds: 1 };
      send(state);
      const bent = [{ ...state, node: { toString: hostile } }, { ...state, clock: [hostile] }];
      for (const bad of [null, hostile, {}, ...bent]) {
        send(bad);
      }
    }""", HOSTILE)
    shown = tab.plot_when(2, lambda plot: "saved as <img" in plot["status"], "the name as text")
    assert len(shown["lines"]) == 3
    tab.page.locator(".art-toast, .art-plot").first.wait_for()
    assert not tab.page.evaluate(HARMED)


def test_side_panel_overlays_copies_and_uses(tab):
    node = sigmas_node(tab, 900, 300)
    tab.open_panel()
    panel = tab.page.locator(".art-panel")
    panel.locator(".art-row", has_text=row_of("demo-edm")).click()
    panel.get_by_role("button", name="Copy sigmas").click()
    tab.until("async () => (await navigator.clipboard.readText()).startsWith('80')")
    copied = [float(each) for each in tab.page.evaluate("() => navigator.clipboard.readText()").split(",")]
    assert len(copied) == 11 and copied[-1] == 0 and sorted(copied, reverse=True) == copied
    panel.get_by_role("button", name="Use it").click()
    tab.plot_when(node, lambda plot: "of demo-edm" in plot["alt"], "the chosen schedule")
    assert panel.locator(".art-picture path").count() == 1
    panel.locator(".art-row", has_text=row_of("demo-sdxl")).click()
    tab.until("() => document.querySelectorAll('.art-panel .art-picture path').length === 2")
    assert re.search("demo-edm.*demo-sdxl", panel.locator(".art-picture").get_attribute("aria-label"))
    # However many schedules there are, what a click on one draws is in sight.
    assert panel.locator(".art-row").count() >= 20
    panel.locator(".art-search").first.scroll_into_view_if_needed()
    drawn = panel.locator(".art-picture").bounding_box()
    assert drawn["y"] + 0.5 * drawn["height"] < tab.page.viewport_size["height"]
    # A schedule with grids has steps beside its clock, which the cost is not of.
    assert panel.locator(".art-facts").count() == panel.locator("dt", has_text="cost of the clock").count() == 2
    panel.locator(".art-row", has_text="demo-edm-clock").click()
    tab.until("() => document.querySelectorAll('.art-panel .art-facts').length === 3")
    assert panel.locator("dt", has_text="cost of the clock").count() == 2
    assert panel.locator("dt", has_text=re.compile("^cost$")).count() == 1
    panel.locator(".art-search").first.fill("no such schedule")
    assert panel.locator(".art-row").count() == panel.locator(".art-row[aria-pressed=true]").count() == 3
    for _ in range(3):
        panel.locator(".art-row").first.click()
        panel.locator(".art-search").first.fill("no such schedule ")
    assert panel.locator(".art-row").count() == 0
    assert panel.get_by_role("status").text_content().startswith("No schedule is found")
    panel.locator(".art-search").first.fill("")


def test_side_panel_on_a_laptop(tab):
    """What a choice is made with is in sight, and half of its plot; the host still hears what is for the whole page."""
    tab.page.set_viewport_size({"width": 1366, "height": 650})
    # Of other steps than elsewhere: of what it knows from another test the host tells little.
    nodes = [graphs.demo_node(), graphs.sigmas_node(steps=9), graphs.preview_node(3)]
    graph = graphs.graph(nodes, [(1, 0, 2, 1), (2, 0, 3, 0)], graphs.named_id("laptop"))
    tab.open_graph(graph)
    tab.open_panel()
    panel = tab.page.locator(".art-panel")
    row = panel.locator(".art-row", has_text=row_of("demo-edm"))
    panel.locator(".art-search").first.press("ArrowDown")
    tab.until("() => document.activeElement === document.querySelector('.art-panel .art-row:not(:disabled)')")
    row.click()
    for part, share in ((panel.get_by_role("button", name="Use it"), 1.0), (panel.locator(".art-picture"), 0.5)):
        box = part.bounding_box()
        assert box["y"] > 0 and box["y"] + share * box["height"] < 650, box
    tab.page.keyboard.press("Control+Enter")
    tab.plot_when(2, lambda plot: "of demo-sdxl: 9 steps" in plot["alt"], "that it ran")
    tab.all_done()
    row.click()
    tab.page.set_viewport_size({"width": 1500, "height": 950})


@pytest.mark.parametrize("settings", [{"Comfy.ColorPalette": name} for name in ("light", "dark")],
                         ids=["light", "dark"])
def test_colors_can_be_told_apart(tab, settings):
    sigmas_node(tab, 900, 300)
    tab.open_panel()
    for name in ("demo-edm", "demo-sdxl"):
        tab.page.locator(".art-panel .art-row", has_text=row_of(name)).click()
    tab.until("() => document.querySelectorAll('.art-panel .art-picture path').length === 2")
    measured = tab.page.evaluate(CONTRAST)
    assert len(measured) > 30
    assert not [each for each in measured if each[0] < each[1]]
    dark = tab.page.evaluate("() => document.documentElement.classList.contains('art-dark')")
    assert dark == (settings["Comfy.ColorPalette"] == "dark")


def test_canvas_at_400_percent(tab):
    """Everything grows with the canvas, and hovering still finds the point below the mouse."""
    node = sigmas_node(tab)
    small = tab.plot(node)
    tab.page.evaluate("""(id) => {
      const node = app.canvas.graph.getNodeById(id);
      app.canvas.ds.scale = 4;
      app.canvas.ds.offset = [-node.pos[0] + 40, -node.pos[1] - 120];
      app.canvas.setDirty(true, true);
    }""", node)
    tab.until("() => document.querySelector('.art-plot-ARTSigmas text').getBoundingClientRect().height > 40")
    assert tab.plot(node)["lines"] == small["lines"], "the picture is scaled, not drawn anew"
    spot = tab.page.evaluate("""() => {
      const box = document.querySelectorAll('.art-plot-ARTSigmas circle.art-dot.art-art')[2].getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    }""")
    tab.page.mouse.move(*spot)
    tab.until("() => document.querySelector('.art-plot-ARTSigmas .art-readout').textContent.startsWith('step 2 of 10')")


def test_browser_at_400_percent(tab):
    """1280 pixels at 400 % are 320: the picker and the panel fit, and nothing has to be scrolled sideways."""
    node = sigmas_node(tab)
    tab.page.set_viewport_size({"width": 320, "height": 256})
    tab.command("ART.Browse")
    dialog = tab.page.locator(".art-dialog")
    dialog.wait_for()
    box = dialog.bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= 320 and box["y"] + box["height"] <= 256
    assert dialog.evaluate("(element) => element.scrollWidth <= element.clientWidth")
    dialog.locator(".art-row", has_text=row_of("demo-edm")).click()
    tab.page.set_viewport_size({"width": 1500, "height": 950})
    tab.plot_when(node, lambda plot: "demo-" in plot["alt"], "a schedule")


@pytest.mark.parametrize("nodes", ["classic", "vue"], indirect=True)
def test_undo_keeps_the_plots(tab, nodes):
    """One step back replaces every node by a new one with the same id; each must have its plot."""
    tab.open_graph(graphs.graph([graphs.sigmas_node(2, "demo-sdxl")], []))
    tab.plot_when(2, lambda plot: plot["dots"] == 3 * 10, "10 steps")
    tab.type_number(2, "steps", 6)
    tab.plot_when(2, lambda plot: plot["dots"] == 3 * 6, "6 steps")
    # The page notes a change of a field when the canvas is clicked.
    tab.page.mouse.click(1200, 800)
    tab.again(lambda: tab.page.keyboard.press("Control+z"), lambda: tab.value(2, "steps") == 10)
    tab.plot_when(2, lambda plot: "demo-sdxl: 10 steps" in plot["alt"] and plot["dots"] == 3 * 10, "10 steps again")


def test_auto_survives_a_new_list_and_draws_what_it_took(tab):
    tab.open_graph(graphs.automatic())
    tab.plot_when(2, lambda plot: plot["status"].startswith("auto is drawn when"), "that it waits")
    tab.run()
    tab.plot_when(2, lambda plot: "of demo-sdxl: 10 steps" in plot["alt"], "what it took")
    with tab.page.expect_response("**/art/schedules"):
        tab.page.evaluate("() => comfyAPI.api.api.dispatchCustomEvent('reconnected')")
    tab.until("() => app.graph.getNodeById(2).widgets[0].options.values.length > 2")
    assert tab.value(2, "schedule_name") == "auto"
    assert tab.page.evaluate("() => app.graph.getNodeById(2).widgets[0].options.values[0]") == "auto"
    assert "of demo-sdxl" in tab.plot(2)["alt"]
    tab.all_done()


@pytest.mark.parametrize("settings", [{"Comfy.Locale": "zh"}], ids=["zh"])
def test_texts_in_the_language_of_the_user(tab, settings):
    tab.open_graph(graphs.training(name="language"))
    tab.plot_when(2, lambda plot: plot["status"] == "运行工作流，即可看到调度的学习过程", "a Chinese text")
    button = tab.page.get_by_role("button", name="ART 调度", exact=True)
    panel = tab.page.locator(".art-panel")
    tab.again(button.click, panel.is_visible)
    panel.locator(".art-row", has_text=row_of("demo-edm")).filter(has_text="随扩展附带").click()
    tab.until("() => document.querySelector('.art-panel .art-status').textContent === 'demo-edm'")
    assert panel.locator(".art-picture").get_attribute("aria-label") == "demo-edm 的采样步。"
    panel.locator(".art-facts dt", has_text="时钟的代价").wait_for()
    tab.command("ART.Browse")
    tab.page.locator(".art-dialog").get_by_role("button", name="取消").click()


def test_keyboard_reads_the_plot(tab):
    node = sigmas_node(tab)
    before = tab.page.evaluate("(id) => [...app.canvas.graph.getNodeById(id).pos]", node)
    tab.page.locator(".art-plot-ARTSigmas .art-picture").focus()
    for _ in range(3):
        tab.page.keyboard.press("ArrowRight")
    tab.until("() => document.querySelector('.art-plot-ARTSigmas .art-readout').textContent.startsWith('step 2 of 10')")
    after = tab.page.evaluate("(id) => [...app.canvas.graph.getNodeById(id).pos]", node)
    assert after == before, "the arrows would otherwise move the node"


def test_help_is_found(tab):
    """Every node's help, in one page: the panel follows the selection, or is opened by its button.

    The host asks for the user's language first, then, as here, for what every language falls back to.
    """
    asked = []

    def note(answer) -> None:
        if "/docs/" in answer.url:
            asked.append((answer.url, answer.status))

    tab.page.on("response", note)
    for name, title in TITLES.items():
        tab.page.evaluate("""(name) => {
          const node = LiteGraph.createNode(name);
          node.pos = [500, 200];
          app.graph.clear();
          app.graph.add(node);
          app.canvas.deselectAll();
          app.canvas.select(node);
        }""", name)
        heading = tab.page.locator("h1", has_text=re.compile(f"^{title}$"))
        tab.again(tab.page.get_by_role("button", name="Node Info").click, heading.is_visible, begin=not asked)
    tab.page.remove_listener("response", note)
    assert {url.rsplit("/", 1)[1] for url, status in asked if status == 200} == {f"{name}.md" for name in TITLES}, asked
