"""Drives the host's real page in Debian's Chromium: for the browser tests and the screenshots.

What a person does with mouse and keyboard is done with mouse and keyboard; the page's own objects are only read, and
used to set a scene. No waiting here is for a time: it is for something to be there, with a generous limit.
"""

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from playwright.sync_api import BrowserContext, Page, sync_playwright

from benchmarks.comfy.install import BASE_FOLDERS, PACK_NAME, HostMissingError, install_pack
from benchmarks.comfy.server import ComfyServer

PATIENCE = 60.0  # seconds; a busy machine is slow
OURS = f"/extensions/{PACK_NAME}/"
VIEWPORT = {"width": 1500, "height": 950}
# As root Chromium starts without its sandbox only; the others keep it from asking for addresses outside.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")
# What a person has closed or answered once; without it a dialog covers the canvas at the first start.
SETTLED = {
    "Comfy.TutorialCompleted": True, "Comfy.InstalledVersion": "1.0.0", "Comfy.AppBuilder.VueNodeSwitchDismissed": True,
    "Comfy.Minimap.Visible": False, "Comfy.Notification.ShowVersionUpdates": False, "Comfy.Workflow.Persist": True,
}
# Tells us of every complaint with the scripts that it came through.
WITNESS = """
(() => {
  Error.stackTraceLimit = 60;
  const tell = (kind, text, stack) => window.artWitness?.(kind, String(text), String(stack));
  for (const kind of ['warn', 'error']) {
    const own = console[kind].bind(console);
    console[kind] = (...given) => {
      const errors = given.filter((each) => each instanceof Error).map((each) => each.stack);
      tell(kind, given.map(String).join(' '), [new Error().stack, ...errors].join(' '));
      own(...given);
    };
  }
  addEventListener('error', (event) => tell('exception', event.message,
    `${event.filename} ${event.error?.stack}`), true);
  addEventListener('unhandledrejection', (event) => tell('rejection', event.reason, event.reason?.stack));
  document.addEventListener('securitypolicyviolation', (event) => tell('blocked', event.blockedURI, event.sourceFile));
})();
"""
READY = """() => !!window.app?.extensionManager && !!window.app?.canvas?.graph
  && !!window.LiteGraph?.registered_node_types?.ARTSigmas && !!document.querySelector('link[href*="/art/art.css"]')
  && !!window.app.extensionManager.workflow?.activeWorkflow"""
# The part of a node that we drew, as plain data; null before it is there.
PLOT = """(id) => {
  const graphs = [app.rootGraph ?? app.graph, ...((app.rootGraph ?? app.graph).subgraphs?.values() ?? [])];
  const node = graphs.flatMap((graph) => graph.nodes).find((each) => String(each.id) === String(id));
  const element = node?.widgets?.find((widget) => widget.type === 'art_plot')?.element;
  if (!element) return null;
  const all = (selector) => [...element.querySelectorAll(selector)];
  return {
    shown: element.isConnected && element.getBoundingClientRect().width > 0,
    status: element.querySelector('.art-status').textContent,
    alt: element.querySelector('.art-picture').getAttribute('aria-label'),
    lines: all('.art-picture path').map((path) => path.getAttribute('d')),
    dots: all('.art-picture circle.art-dot').length,
    texts: all('.art-picture text').map((text) => text.textContent),
  };
}"""


class PageTimeout(AssertionError):
    """Something did not appear on the page in time; the message says what was there."""


@dataclass
class Seen:
    """What a page complained of, and what it asked outside the host; `ours` where our scripts had a part in it."""

    troubles: list[tuple[str, str, str]] = field(default_factory=list)  # kind, text, stack
    outside: list[tuple[str, list[str]]] = field(default_factory=list)  # address, scripts that asked

    def ours(self) -> list[str]:
        """Complaints and requests that our scripts caused or that are about us."""
        told = [f"{kind}: {text} {stack}" for kind, text, stack in self.troubles
                if OURS in stack or OURS in text or re.search(r"\bART\b|art_plot", text)]
        # The front end asks for things of its own; whatever else asks outside is not to.
        asked = [address for address, scripts in self.outside
                 if not scripts or any("/assets/" not in script for script in scripts)]
        return told + asked

    def take(self) -> list[str]:
        """What is ours since the last call."""
        told = self.ours()
        self.troubles.clear()
        self.outside.clear()
        return told


def make_base(folder: Path) -> Path:
    """A base directory of its own for a host, with the pack in it: settings, schedules and pictures start empty."""
    for name in BASE_FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    install_pack(folder)
    return folder


def host_for(base: Path, front_end: Path | None = None, port: int = 0) -> ComfyServer:
    """A host, not yet started, on a base directory and with another front end than its own if one is given."""
    chosen = () if front_end is None else ("--front-end-root", str(front_end))
    return ComfyServer(("--base-directory", str(base), *chosen), port=port, log=base / "host.log")


def settle(url: str, vue: bool, **others) -> None:
    """Set the user's settings: nodes drawn by Vue or on the canvas, nothing that covers it."""
    chosen = {**SETTLED, "Comfy.VueNodes.Enabled": vue, **others}
    requests.post(url + "/settings", json=chosen, timeout=60).raise_for_status()


@contextmanager
def chromium():
    """A headless Chromium of the system's."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise HostMissingError("the page is opened in Chromium; there is none; run .ci/setup, or install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser, **options) -> BrowserContext:
    """A profile of its own: what one test leaves in the browser, another does not see."""
    context = browser.new_context(viewport=VIEWPORT, **options)
    context.set_default_timeout(1000 * PATIENCE)
    return context


class ComfyPage:
    """One tab with the host's page."""

    def __init__(self, context: BrowserContext, url: str):
        self.url, self.seen, self.known = url, Seen(), 0  # known: runs that the host knew of when the last was queued
        self.page: Page = context.new_page()
        self.page.expose_function("artWitness", lambda *told: self.seen.troubles.append(told))
        self.page.add_init_script(WITNESS)
        watcher = context.new_cdp_session(self.page)
        watcher.on("Network.requestWillBeSent", self._watch)
        watcher.send("Network.enable")

    def _watch(self, event: dict) -> None:
        address = event["request"]["url"]
        if address.startswith((self.url + "/", "data:", "blob:")):
            return
        scripts, stack = [], event["initiator"].get("stack")
        while stack:
            scripts += [frame["url"] for frame in stack["callFrames"] if frame["url"]]
            stack = stack.get("parent")
        self.seen.outside.append((address, scripts))

    def open(self) -> "ComfyPage":
        """Load the page and wait until our part of it is there."""
        self.page.goto(self.url)
        return self.ready()

    def ready(self) -> "ComfyPage":
        self.page.wait_for_function(READY)
        self.page.locator("canvas.lgraphcanvas, #graph-canvas").first.wait_for()
        return self

    def blank(self) -> None:
        """An empty workflow in a new tab of the page."""
        self.command("Comfy.NewBlankWorkflow")
        self.until("() => (app.rootGraph ?? app.graph).nodes.length === 0")

    def tidy(self) -> None:
        """An empty workflow again, with nothing open beside it, as after `open` and `blank` but in a second."""
        self.page.bring_to_front()
        self.page.set_viewport_size(VIEWPORT)
        self.page.evaluate("""() => {
          const side = app.extensionManager.sidebarTab;
          if (side.activeSidebarTabId) side.toggleSidebarTab(side.activeSidebarTabId);
          document.querySelectorAll('.art-toast').forEach((each) => each.remove());
        }""")
        self.blank()
        self.view()

    def command(self, name: str) -> None:
        """Carry out a command of the page, as its menu or a key does; it may go on for long, as a dialog does."""
        self.page.evaluate("(name) => { app.extensionManager.command.execute(name); }", name)

    def open_graph(self, graph: dict) -> None:
        """Open a workflow, as a file that is dropped on the page."""
        self.page.evaluate("(graph) => app.loadGraphData(graph, true, true, null)", graph)
        wanted = len(graph["nodes"])
        self.until("(wanted) => (app.rootGraph ?? app.graph).nodes.length === wanted", wanted)

    def until(self, condition: str, argument=None, seconds: float = PATIENCE):
        """Wait until a function of the page answers something true, and return that."""
        return self.page.wait_for_function(condition, arg=argument, timeout=1000 * seconds).json_value()

    def again(self, action, is_there, begin: bool = True) -> None:
        """Repeat what a person would repeat: a page that is still busy loses clicks. Without `begin` look first."""
        for attempt in range(int(PATIENCE)):
            if begin or attempt:
                action()
            for _ in range(10):
                if is_there():
                    return
                self.page.wait_for_timeout(100)
        raise PageTimeout(f"the page does not answer a click within {PATIENCE:g} s")

    def view(self, scale: float = 1.0, left: float = 0.0, top: float = 0.0) -> None:
        """Show the canvas from this point of the graph on, right of the side bar."""
        self.page.evaluate("""([scale, left, top]) => {
          app.canvas.ds.scale = scale;
          app.canvas.ds.offset = [90 / scale - left, 110 / scale - top];
          app.canvas.setDirty(true, true);
        }""", [scale, left, top])

    def add_node(self, name: str, x: float = 700, y: float = 500) -> int:
        """Put a node in as a person does: double click, type its name, Enter. Returns its id."""
        before = self.page.evaluate("() => app.canvas.graph.nodes.map((node) => node.id)")
        search = self.page.locator('input[role="combobox"]').first
        self.again(lambda: self.page.mouse.dblclick(x, y), search.is_visible)
        search.fill(name)
        found = self.page.locator('[role="option"], [role="listbox"] li').filter(has_text=name).first
        found.wait_for()
        self.page.keyboard.press("Enter")
        made = self.until("(before) => app.canvas.graph.nodes.find((node) => !before.includes(node.id))?.id ?? null",
                          before)
        # Newer front ends have a new node follow the mouse until a click.
        self.again(lambda: self.page.mouse.click(x, y), lambda: not self.page.evaluate(
            "(id) => !!app.canvas.graph.getNodeById(id)?.flags?.ghost", made), begin=False)
        return made

    def nodes(self, comfy_class: str) -> list:
        """Ids of the nodes of a class in the graph that is open."""
        return self.page.evaluate("(wanted) => app.canvas.graph.nodes.filter((node) => node.comfyClass === wanted)"
                                  ".map((node) => node.id)", comfy_class)

    def value(self, node, widget: str):
        """What a widget of a node holds."""
        return self.page.evaluate("([id, name]) => app.canvas.graph.getNodeById(id).widgets"
                                  ".find((widget) => widget.name === name).value", [node, widget])

    def plot(self, node) -> dict | None:
        """The plot of a node: status, alt, lines, dots, texts."""
        return self.page.evaluate(PLOT, node)

    def plot_when(self, node, wanted, what: str, seconds: float = PATIENCE) -> dict:
        """The plot of a node once `wanted` of it is true; PageTimeout says what was there instead."""
        left, plot = seconds, None
        while left > 0:
            plot = self.plot(node)
            if plot is not None and plot["shown"] and wanted(plot):
                return plot
            self.page.wait_for_timeout(100)
            left -= 0.1
        raise PageTimeout(f"the plot of node {node} must show {what}; it shows {plot}")

    def browse(self, node, search: str, name: str) -> None:
        """Choose a schedule for an ART Sigmas node as a person does: the button below its plot, search, click."""
        self._plot_part(node, ".art-button").click()
        dialog = self.page.locator(".art-dialog")
        dialog.locator(".art-search").fill(search)
        row = dialog.locator(".art-row").filter(has=self.page.locator("span", has_text=name)).first
        row.click()
        dialog.wait_for(state="detached")

    def _plot_part(self, node, selector: str):
        """An element of a node's plot, as a handle."""
        found = self.page.evaluate_handle("""([id, selector]) => app.canvas.graph.getNodeById(id).widgets
          .find((widget) => widget.type === 'art_plot').element.querySelector(selector)""", [node, selector])
        return found.as_element()

    def type_number(self, node, widget: str, value: float) -> None:
        """Set a number as a person does: into the field, or on the canvas with a double click and a small dialog."""
        drawn = self.page.locator(f'[data-node-id="{node}"] .lg-node-widget').filter(has_text=widget)
        if drawn.count():
            number = drawn.locator("input").first
            # The newest front end lays a strip for dragging over the field; a click goes through it.
            self.again(lambda: number.click(force=True), lambda: number.evaluate(
                "(element) => element === document.activeElement"))
            self.page.keyboard.press("Control+a")
            self.page.keyboard.type(str(value))
            self.page.keyboard.press("Enter")
        else:
            dialog = self.page.locator(".graphdialog input")
            self.again(lambda: self.page.mouse.dblclick(*self.widget_point(node, widget)), dialog.is_visible)
            dialog.fill(str(value))
            self.page.keyboard.press("Enter")
        self.until("([id, name, value]) => app.canvas.graph.getNodeById(id).widgets"
                   ".find((each) => each.name === name).value === value", [node, widget, value])

    def widget_point(self, node, widget: str, across: float = 0.5) -> tuple[float, float]:
        """Where a widget that is drawn on the canvas lies on the screen."""
        return tuple(self.page.evaluate("""([id, name, across]) => {
          const node = app.canvas.graph.getNodeById(id), { ds, canvas } = app.canvas;
          const widget = node.widgets.find((each) => each.name === name), box = canvas.getBoundingClientRect();
          const [x, y] = [node.pos[0] + across * node.size[0], node.pos[1] + widget.last_y + 10];
          return [box.left + (x + ds.offset[0]) * ds.scale, box.top + (y + ds.offset[1]) * ds.scale];
        }""", [node, widget, across]))

    def header_point(self, node) -> tuple[float, float]:
        """Where a node's title lies on the screen."""
        return tuple(self.page.evaluate("""(id) => {
          const node = app.canvas.graph.getNodeById(id), { ds, canvas } = app.canvas;
          const box = canvas.getBoundingClientRect(), [x, y] = [node.pos[0] + 80, node.pos[1] - 14];
          return [box.left + (x + ds.offset[0]) * ds.scale, box.top + (y + ds.offset[1]) * ds.scale];
        }""", node))

    def plot_height(self, node) -> float:
        """What the canvas gives a node's plot, in units of the graph, once the node is at rest."""
        self.at_rest(node)
        return self.page.evaluate("""(id) => {
          const { widgets } = app.canvas.graph.getNodeById(id);
          return widgets.find((each) => each.type === 'art_plot').computedHeight;
        }""", node)

    def drag_corner(self, node, down: float) -> None:
        """Make a node taller by dragging its lower right corner, in pixels of the screen; below 0 less tall."""
        x, y = self.page.evaluate("""(id) => {
          const { pos, size } = app.canvas.graph.getNodeById(id), { ds, canvas } = app.canvas;
          const box = canvas.getBoundingClientRect();
          return [0, 1].map((i) => [box.left, box.top][i] + (pos[i] + size[i] - 3 + ds.offset[i]) * ds.scale);
        }""", node)
        mouse = self.page.mouse
        mouse.move(x, y)
        mouse.down()
        mouse.move(x, y + down / 2, steps=5)
        mouse.move(x, y + down, steps=5)
        mouse.up()

    def open_panel(self) -> None:
        """Open our side panel by its button."""
        panel = self.page.locator(".art-panel")
        button = self.page.get_by_role("button", name="ART schedules", exact=True)
        self.again(button.click, panel.is_visible)

    def open_examples(self) -> None:
        """Open the list of example workflows in our side panel."""
        self.open_panel()
        if not self.page.locator(".art-panel details[open]").count():
            self.page.locator(".art-panel summary").click()

    def at_rest(self, node) -> None:
        """Wait until the plot of a node keeps its place for two seconds: the host lays a node out in several steps."""
        where = """(id) => {
          const widget = app.canvas.graph.getNodeById(id).widgets.find((each) => each.type === 'art_plot');
          const box = widget.element.querySelector('.art-picture').getBoundingClientRect();
          return [box.x, box.y, box.width, box.height].map(Math.round).join(' ');
        }"""
        seen = []
        for _ in range(int(2 * PATIENCE)):
            self.page.wait_for_timeout(500)
            seen.append(self.page.evaluate(where, node))
            if len(seen) > 4 and len(set(seen[-5:])) == 1:
                return
        raise PageTimeout(f"the plot of node {node} must come to rest; it was at {seen[-5:]}")

    def watch(self, node) -> None:
        """From now on keep everything that the plot of a node shows."""
        self.page.evaluate("""(id) => {
          const widget = app.canvas.graph.getNodeById(id).widgets.find((each) => each.type === 'art_plot');
          const look = () => {
            const box = widget.element.querySelector('.art-picture').getBoundingClientRect();
            window.artWatched.push([widget.element.querySelector('.art-status').textContent,
              widget.element.querySelector('.art-picture path.art-art')?.getAttribute('d') ?? null,
              [box.x, box.y, box.width, box.height].map(Math.round).join(' ')]);
          };
          window.artWatched = [];
          new MutationObserver(look).observe(widget.element, { subtree: true, childList: true, characterData: true });
        }""", node)

    def watched(self) -> list:
        """What the plot has shown since `watch`: status, line, and where on the screen the picture was."""
        return self.page.evaluate("() => window.artWatched")

    def all_done(self, seconds: float = PATIENCE) -> None:
        """Wait until the host has done what `run` queued, and its queue is empty; AssertionError if that failed."""
        while seconds > 0:
            queue = requests.get(self.url + "/queue", timeout=60).json()
            history = self._history()
            # The page takes a moment to send what it queues: an empty queue alone may be one of before.
            if len(history) > self.known and not queue["queue_running"] and not queue["queue_pending"]:
                break
            self.page.wait_for_timeout(200)
            seconds -= 0.2
        assert len(history) > self.known, f"the host has run nothing since: {queue}"
        assert history[-1]["status_str"] == "success", history[-1]["messages"][-1]

    def _history(self) -> list[dict]:
        """The status of each workflow that the host has run, in their order."""
        return [run["status"] for run in requests.get(self.url + "/history", timeout=60).json().values()]

    def run(self) -> None:
        """Press the button that queues the workflow."""
        self.known = len(self._history())
        self.page.get_by_role("button", name="Run", exact=True).first.click()

    def close(self) -> None:
        self.page.close()
