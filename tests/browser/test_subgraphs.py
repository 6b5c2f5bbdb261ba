"""A right click on a sampler in a subgraph, whose wires lead to its own sides and whose widgets are shown outside."""

import pytest

from tests.browser import graphs
from tests.browser.test_menu import choose

pytestmark = pytest.mark.browser
EACH = pytest.mark.parametrize(("host", "nodes"), [("own", "classic"), ("newest", "classic"), ("newest", "vue")],
                               indirect=True)
OUTSIDE = "app.rootGraph.nodes.find((node) => node.subgraph)"
PROMPT = """async () => Object.fromEntries(Object.values((await app.graphToPrompt()).output)
  .map((node) => [node.class_type, node.inputs]))"""
# A click on a field of the node outside is the host's own business; what it sets is what counts here.
SET_OUTSIDE = f"""([name, value]) => {{
  const widget = {OUTSIDE}.widgets.find((each) => each.name === name || each.label === name);
  widget.value = value;
  widget.callback?.(value);
}}"""


def in_a_subgraph(tab) -> None:
    """A KSampler in an opened subgraph that shows its seed, steps and denoise outside."""
    tab.open_graph(graphs.sampling())
    graph = tab.page.evaluate("""() => {
      const sampler = app.graph.nodes.find((node) => node.type === 'KSampler');
      app.graph.convertToSubgraph(new Set([sampler]));
      const graph = JSON.parse(JSON.stringify(app.rootGraph.serialize()));
      const inside = String(graph.definitions.subgraphs[0].nodes[0].id);
      const outside = graph.nodes.find((node) => node.type === graph.definitions.subgraphs[0].id);
      outside.properties = { ...outside.properties,
        proxyWidgets: ['seed', 'steps', 'denoise'].map((name) => [inside, name]) };
      return graph;
    }""")
    tab.open_graph(graph)
    tab.page.evaluate(f"() => app.canvas.openSubgraph({OUTSIDE}.subgraph, {OUTSIDE})")
    tab.until("() => app.canvas.graph !== app.rootGraph")
    tab.view(0.6, 300)


def is_as_before(tab, prompt: dict, steps: int) -> None:
    sample, sigmas = prompt["SamplerCustom"], prompt["ARTSigmas"]
    assert [sample[name] for name in ("model", "positive", "negative", "latent_image")] == [["1", i] for i in range(4)]
    assert sigmas["model"] == ["1", 0]
    assert (sample["noise_seed"], sample["cfg"], sigmas["steps"], sigmas["denoise"]) == (77, 1.5, steps, 0.8)
    assert prompt["VAEDecode"]["samples"][0].startswith(f"{tab.page.evaluate(f'() => String({OUTSIDE}.id)')}:")


@EACH
def test_use_art_sigmas(tab):
    in_a_subgraph(tab)
    assert tab.page.evaluate(PROMPT)["KSampler"]["seed"] == 77
    choose(tab, tab.nodes("KSampler")[0], "Use ART sigmas")
    tab.until("() => app.canvas.graph.nodes.some((node) => node.type === 'SamplerCustom')")
    assert not tab.nodes("KSampler")
    is_as_before(tab, tab.page.evaluate(PROMPT), 9)
    tab.page.evaluate("() => app.canvas.setGraph(app.rootGraph)")
    tab.page.evaluate(SET_OUTSIDE, ["steps", 7])
    is_as_before(tab, tab.page.evaluate(PROMPT), 7)
    # As a person opens it who gets the file.
    tab.open_graph(tab.page.evaluate("() => JSON.parse(JSON.stringify(app.rootGraph.serialize()))"))
    is_as_before(tab, tab.page.evaluate(PROMPT), 7)
    tab.page.evaluate(SET_OUTSIDE, ["steps", 6])
    is_as_before(tab, tab.page.evaluate(PROMPT), 6)


@EACH
def test_learn_a_schedule(tab):
    in_a_subgraph(tab)
    choose(tab, tab.nodes("KSampler")[0], "Learn a schedule for this model")
    tab.until("() => app.canvas.graph.nodes.some((node) => node.type === 'ARTTrain')")
    train = tab.page.evaluate(PROMPT)["ARTTrain"]
    assert [train[name] for name in ("model", "positive", "negative", "latent_image")] == [["1", i] for i in range(4)]
    assert (train["cfg"], train["objective"]) == (1.5, "end:heun")
    tab.page.evaluate("() => app.canvas.setGraph(app.rootGraph)")
