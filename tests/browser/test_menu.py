"""What a right click on a sampler offers, by mouse and keyboard, and taken back by one step of undo."""

import pytest
from playwright.sync_api import TimeoutError

from tests.browser import graphs

# One step of undo also in the older page, where a node that grows when it is first drawn is a step of its own.
EACH = pytest.mark.parametrize(("host", "nodes"), [("own", "classic"), ("newest", "classic"), ("newest", "vue")],
                               indirect=True)
pytestmark = [pytest.mark.browser, EACH]
TYPES = "() => app.graph.nodes.map((node) => node.type).sort()"
BEFORE = ["ARTDemoModel", "KSampler", "VAEDecode"]
OF_TRAIN = """async () => Object.values((await app.graphToPrompt()).output)
  .find((node) => node.class_type === 'ARTTrain').inputs"""


def choose(tab, node, entry: str) -> None:
    """Right click on the node's title, then click the entry."""
    item = tab.page.locator(".litemenu-entry, [role=menuitem]").filter(has_text=entry).first
    tab.again(lambda: tab.page.mouse.click(*tab.header_point(node), button="right"), item.is_visible)
    item.click()


def undo(tab, undone: str) -> None:
    """Ctrl+Z over the empty canvas; a page that is still busy loses the key, so it is pressed again after a while."""
    for _ in range(4):
        tab.page.mouse.click(1200, 800)
        tab.page.keyboard.press("Control+z")
        try:
            tab.until(undone, seconds=15)
            return
        except TimeoutError:
            continue
    raise AssertionError(f"undo does not lead back to {undone}; there are {tab.page.evaluate(TYPES)}")


def test_use_art_sigmas_and_undo(tab):
    tab.open_graph(graphs.sampling())
    tab.view()
    choose(tab, 2, "Use ART sigmas")
    tab.until("() => app.graph.nodes.some((node) => node.type === 'SamplerCustom')")
    assert tab.page.evaluate(TYPES) == ["ARTDemoModel", "ARTSigmas", "KSamplerSelect", "SamplerCustom", "VAEDecode"]
    prompt = tab.page.evaluate("async () => (await app.graphToPrompt()).output")
    by_type = {node["class_type"]: node["inputs"] for node in prompt.values()}
    ids = {node["class_type"]: key for key, node in prompt.items()}
    sample, sigmas = by_type["SamplerCustom"], by_type["ARTSigmas"]
    assert (sample["noise_seed"], sample["cfg"], sample["add_noise"]) == (77, 1.5, True)
    assert (sigmas["steps"], sigmas["denoise"], sigmas["model"]) == (9, 0.8, ["1", 0])
    assert sigmas["schedule_name"] == "auto-clock", "whatever was trained here, model and sampler decide"
    assert by_type["KSamplerSelect"]["sampler_name"] == "heun"
    assert sample["sigmas"] == [ids["ARTSigmas"], 0] and sample["sampler"] == [ids["KSamplerSelect"], 0]
    assert [sample[name] for name in ("model", "positive", "negative", "latent_image")] == [["1", i] for i in range(4)]
    assert by_type["VAEDecode"]["samples"] == [ids["SamplerCustom"], 0]

    undo(tab, "() => app.graph.nodes.some((node) => node.type === 'KSampler')")
    assert tab.page.evaluate(TYPES) == BEFORE
    prompt = tab.page.evaluate("async () => (await app.graphToPrompt()).output")
    old = next(node["inputs"] for node in prompt.values() if node["class_type"] == "KSampler")
    assert (old["seed"], old["steps"], old["sampler_name"], old["scheduler"]) == (77, 9, "heun", "karras")


@pytest.mark.parametrize(("sampler", "graph", "cfg", "objective", "orbits"), [
    ("KSampler", graphs.sampling(), 1.5, "end:heun", 24),
    ("SamplerCustom", graphs.custom_sampling(), 2.5, "end:euler", 4)])
def test_learn_a_schedule_and_undo(tab, sampler, graph, cfg, objective, orbits):
    tab.open_graph(graph)
    tab.view()
    choose(tab, 2, "Learn a schedule for this model")
    tab.until("() => app.graph.nodes.some((node) => node.type === 'ARTTrain')")
    before = ["ARTDemoModel", "VAEDecode", sampler]
    assert tab.page.evaluate(TYPES) == sorted([*before, "ARTTrain"])
    train = tab.page.evaluate(OF_TRAIN)
    assert [train[name] for name in ("model", "positive", "negative", "latent_image")] == [["1", i] for i in range(4)]
    assert (train["cfg"], train["name"], train["objective"]) == (cfg, "my_schedule", objective)
    assert (train["orbits"], train["trial_calls"]) == (orbits, 0)
    assert tab.page.evaluate("""() => app.graph.nodes.find((node) => node.type === 'ARTTrain').widgets
      .find((widget) => widget.name === 'control_after_generate').value""") == "fixed", "or it trains anew each time"
    undo(tab, "() => app.graph.nodes.length === 3")
    assert tab.page.evaluate(TYPES) == sorted(before)
