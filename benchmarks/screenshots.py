"""`python -m benchmarks screenshots`: the README's screenshots and the example workflows' pictures, from the page.

Starts the host on the CPU with a base directory of its own and opens its page in Chromium. The demo and the comparison
are run, so that their pictures show results; the others need a checkpoint and are shown as they open.
"""

import argparse
import io
import json
import re
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.comfy import front_end
from benchmarks.comfy.install import ROOT
from benchmarks.comfy.page import ComfyPage, chromium, host_for, make_base, new_context, settle

IMAGES, EXAMPLES = ROOT / "docs" / "images", ROOT / "example_workflows"
RUN = {"demo": "ARTTrain", "compare-schedules": "ARTCompare"}  # and the node whose plot tells that it is over
THUMBNAIL = (560, 420)  # pixels, at most
ROOM = (1500, 950)  # of the page
EDGE = 20  # pixels around the nodes
MINUTES = 20
FOCUS = "Workspace.ToggleFocusMode"
# Where the nodes lie in the graph: left, top, right, bottom; the title is above a node's own position.
BOUNDS = """() => {
  const boxes = app.graph.nodes.map((node) => [node.pos[0], node.pos[1] - 34, node.pos[0] + node.size[0],
    node.pos[1] + node.size[1]]);
  return [Math.min, Math.min, Math.max, Math.max].map((pick, i) => pick(...boxes.map((box) => box[i])));
}"""


def open_example(tab: ComfyPage, name: str) -> None:
    """Open an example workflow and run it if it needs no checkpoint."""
    tab.open_graph(json.loads((EXAMPLES / f"{name}.json").read_text()))
    tab.view(0.5)
    if name in RUN:
        node = tab.nodes(RUN[name])[0]
        tab.run()
        over = "saved as" if name == "demo" else "error of"
        tab.plot_when(node, lambda plot: over in plot["status"], "its result", 60 * MINUTES)
        tab.all_done(60 * MINUTES)
        tab.page.wait_for_timeout(1500)  # pictures that the host has made are still on their way
        if (toast := tab.page.locator(".art-toast")).count():
            toast.get_by_role("button", name="Close").click()


def shoot(tab: ComfyPage, width: int = ROOM[0], height: int = ROOM[1]) -> Image.Image:
    """The workflow that is open, as large as it fits, without the page's bars, which lie over the canvas."""
    tab.command(FOCUS)
    tab.page.wait_for_timeout(500)
    left, top, right, bottom = tab.page.evaluate(BOUNDS)
    scale = min((width - 2 * EDGE) / (right - left), (height - 2 * EDGE) / (bottom - top), 1.0)
    tab.page.evaluate("""([scale, x, y]) => {
      app.canvas.deselectAll();
      app.canvas.ds.scale = scale;
      app.canvas.ds.offset = [x, y];
      app.canvas.setDirty(true, true);
    }""", [scale, EDGE / scale - left, EDGE / scale - top])
    tab.page.wait_for_timeout(1500)
    clip = {"x": 0, "y": 0, "width": scale * (right - left) + 2 * EDGE, "height": scale * (bottom - top) + 2 * EDGE}
    picture = Image.open(io.BytesIO(tab.page.screenshot(clip=clip))).convert("RGB")
    tab.command(FOCUS)
    return picture


def save_thumbnail(picture: Image.Image, path: Path) -> None:
    """For the host's template browser."""
    small = picture.copy()
    small.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    small.save(path, quality=85, optimize=True)


def save_panel(tab: ComfyPage, path: Path) -> None:
    """The side panel with two schedules over each other."""
    tab.open_panel()
    for name in ("trained here", re.compile("^demo-sdxl(?!-)")):
        tab.page.locator(".art-panel button.art-row", has_text=name).click()
    tab.until("() => document.querySelectorAll('.art-panel .art-picture path').length >= 2")
    tab.page.wait_for_timeout(500)
    box = tab.page.locator(".art-panel").bounding_box()
    tab.page.screenshot(path=path, clip={**box, "height": min(box["height"], ROOM[1] - box["y"])})


def main(arguments: list[str] | None = None) -> None:
    """Write docs/images/page-*.png and example_workflows/*.jpg."""
    argparse.ArgumentParser(prog="python -m benchmarks screenshots", description=__doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        with host_for(make_base(Path(folder)), front_end.newest()) as host:
            settle(host.url, vue=False, **{"Comfy.Graph.CanvasInfo": False, "Comfy.Graph.CanvasMenu": False})
            tab = ComfyPage(new_context(browser, device_scale_factor=1.5), host.url).open()
            for path in sorted(EXAMPLES.glob("*.json")):
                open_example(tab, path.stem)
                picture = shoot(tab)
                save_thumbnail(picture, path.with_suffix(".jpg"))
                if path.stem == "demo":
                    picture.save(IMAGES / "page-demo.png", optimize=True)
                print(path.stem, flush=True)
            save_panel(tab, IMAGES / "page-panel.png")
    print(f"written to {EXAMPLES} and {IMAGES}")


if __name__ == "__main__":
    main()
