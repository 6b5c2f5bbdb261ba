"""The real page: a host for each front end, one after the other, and a tab that must not complain.

Nothing is skipped when Chromium or a front end is missing: HostMissingError says what to run.
"""

import pytest

from benchmarks.comfy import front_end
from benchmarks.comfy.page import ComfyPage, chromium, host_for, make_base, new_context, settle

# The host's own front end, and the newest one.
FRONT_ENDS = ["own", "newest"]
NODES = ["classic", "vue"]


# Not for the whole session: the event loop of playwright must be gone before other tests start theirs.
@pytest.fixture(scope="package")
def browser():
    """A headless Chromium."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="package", params=FRONT_ENDS)
def host(request, tmp_path_factory):
    """A running host with a base directory of its own, `host.base`."""
    base = make_base(tmp_path_factory.mktemp("host"))
    with host_for(base, front_end.newest() if request.param == "newest" else None) as running:
        running.base = base
        yield running


@pytest.fixture(params=NODES)
def nodes(request):
    """How the page draws nodes: "classic" on the canvas, "vue" as elements."""
    return request.param


@pytest.fixture
def settings():
    """Settings of the user; a test may override them."""
    return {}


@pytest.fixture
def context(browser, host, nodes, settings):
    """A profile of the browser; every page in it must have kept quiet."""
    settle(host.url, nodes == "vue", **{"Comfy.ColorPalette": "dark", **settings})
    made = new_context(browser, permissions=["clipboard-read", "clipboard-write"])
    made.tabs = []
    yield made
    seen = [tab.seen for tab in made.tabs]
    made.close()
    assert [each.ours() for each in seen] == [[] for _ in seen]


@pytest.fixture
def open_tab(context, host):
    """Opens the page in a new tab, with an empty workflow."""
    def opened() -> ComfyPage:
        tab = ComfyPage(context, host.url)
        context.tabs.append(tab)
        tab.open().blank()
        tab.view()
        return tab

    return opened


@pytest.fixture
def tab(open_tab):
    """The page in one tab, with an empty workflow."""
    return open_tab()
