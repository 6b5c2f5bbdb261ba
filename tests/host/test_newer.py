"""What only newer hosts know of nodes and inputs, by stand-ins for both."""

import json
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from benchmarks.comfy.install import ROOT

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


@pytest.mark.parametrize("statement, works", [
    ("import torchaudio, torchaudio.functional, torchaudio.transforms", True),
    ("import torchaudio.nothing_of_the_kind", False), ("import nothing_of_the_kind", False),
])
def test_a_host_that_imports_torchaudio_starts_without_it(statement, works):
    """In a process of its own; nothing else is made up."""
    code = f"from benchmarks.comfy import launch; launch.install_hook(); {statement}"
    assert (subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL).returncode == 0) == works


def test_the_english_texts_are_those_of_the_nodes(comfy):
    """The host shows the locale's; what the sources say is what a host without locales shows, and what people edit."""
    from art_nodes.nodes import NODES

    known = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text())
    for node in NODES:
        schema = node.define_schema()
        told = known[schema.node_id]
        assert (told["display_name"], told["description"]) == (schema.display_name, schema.description)
        assert {one.id: one.tooltip for one in schema.inputs} == {
            name: text.get("tooltip") for name, text in told["inputs"].items()}, schema.node_id
        assert [(one.display_name, one.tooltip) for one in schema.outputs] == [
            (text["name"], text.get("tooltip")) for text in told["outputs"].values()], schema.node_id
