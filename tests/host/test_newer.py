"""What only newer hosts know of nodes and inputs, by stand-ins for both."""

from dataclasses import dataclass, field

import pytest

pytestmark = pytest.mark.host


class Older:
    class Input:
        def __init__(self, name, tooltip=None):
            pass


class Newer:
    class Input:
        def __init__(self, name, tooltip=None, advanced=None):
            pass


@dataclass
class NewerSchema:
    node_id: str
    search_aliases: list[str] = field(default_factory=list)


@dataclass
class OlderSchema:
    node_id: str


def test_inputs_are_folded_away_where_the_host_can(comfy):
    from art_nodes.nodes.newer import folded

    assert (folded(Newer), folded(Older)) == ({"advanced": True}, {})


@pytest.mark.parametrize("schema, known", [(NewerSchema, {"search_aliases": ["scheduler", "AYS"]}), (OlderSchema, {})])
def test_nodes_have_further_words_where_the_host_looks_for_them(comfy, monkeypatch, schema, known):
    from art_nodes.nodes import newer

    monkeypatch.setattr(newer.io, "Schema", schema)
    assert newer.found_by("scheduler", "AYS") == known
    schema("ARTSigmas", **newer.found_by("scheduler", "AYS"))
