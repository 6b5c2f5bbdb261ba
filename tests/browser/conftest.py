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


@pytest.fixture(scope="module", params=NODES)
def nodes(request):
    """How the page draws nodes: "classic" on the canvas, "vue" as elements."""
    return request.param


@pytest.fixture
def settings():
    """Settings of the user; a test may override them."""
    return {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember a failure for the fixture `context`, which closes what a failed test leaves behind."""
    report = yield
    item.has_failed = getattr(item, "has_failed", False) or report.failed
    return report


# Not for longer than a module: the page remembers the trainings that it has seen, and every open page goes on drawing.
@pytest.fixture(scope="module")
def profiles(host):
    """Profiles of the browser by settings, each with one tab: loading the page takes most of the time."""
    kept = {}
    yield kept
    for profile in kept.values():
        profile.close()


@pytest.fixture
def context(browser, host, nodes, settings, profiles, request):
    """A profile of the browser with the user's settings; every page in it must have kept quiet in this test."""
    # The language is the host's to keep: it must be set back after a test in another one.
    chosen = {"Comfy.ColorPalette": "dark", "Comfy.Locale": "en", **settings}
    key = (nodes, *sorted(chosen.items()))
    settle(host.url, nodes == "vue", **chosen)
    if key not in profiles:
        profiles[key] = new_context(browser, permissions=["clipboard-read", "clipboard-write"])
        profiles[key].tabs = []
    made = profiles[key]
    yield made
    seen = [told for tab in made.tabs for told in tab.seen.take()]
    if request.node.has_failed or seen:
        profiles.pop(key).close()
    else:
        while len(made.tabs) > 1:
            made.tabs.pop().close()
    assert seen == []


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
def tab(context, open_tab):
    """The page in one tab, with an empty workflow; loaded anew only if no test had these settings before."""
    if not context.tabs:
        return open_tab()
    context.tabs[0].tidy()
    return context.tabs[0]
