"""The page's modules: node's own test runner, and what every file of web/ must keep to."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Every node of the pack and its file.
NODES = {
    "ARTTrain": "train", "ARTSigmas": "sigmas", "ARTCompare": "compare", "ARTDemoModel": "demo_model",
    "ARTScheduleInfo": "schedule_info", "ARTLoadSchedule": "load_schedule", "ARTSaveSchedule": "save_schedule",
    "ARTMergeSchedules": "merge_schedules", "ARTExportSchedule": "export_schedule", "ARTRecordOrbits": "record_orbits",
}
WEB, TESTS = ROOT / "web", ROOT / "tests" / "web"
ALLOWED_IMPORTS = {"../../scripts/app.js", "../../scripts/api.js"}


def test_the_modules_in_node():
    node = shutil.which("node")
    assert node, "the page's modules must be tested; node is missing; install nodejs 20 or newer"
    files = sorted(str(path) for path in TESTS.glob("*.test.mjs"))
    done = subprocess.run([node, "--test", *files], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.search(r"^\S+ pass (\d+)", done.stdout, re.MULTILINE).group(1)) >= 40
    for left_out in ("skipped", "todo", "cancelled"):
        assert re.search(rf"^\S+ {left_out} 0$", done.stdout, re.MULTILINE), f"a test was {left_out}"


def test_the_fixture_is_what_python_reads():
    spec = importlib.util.spec_from_file_location("clock_fixture", TESTS / "clock_fixture.py")
    fixture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fixture)
    made, kept = fixture.make(), json.loads(fixture.FILE.read_text())
    assert [each["name"] for each in made["schedules"]] == [each["name"] for each in kept["schedules"]]
    for new, old in zip(made["schedules"], kept["schedules"], strict=True):
        assert len(new["cases"]) == len(old["cases"]) > 50
        for a, b in zip(new["cases"], old["cases"], strict=True):
            assert a["sigmas"] == pytest.approx(b["sigmas"], rel=1e-7, abs=0), (new["name"], a["steps"])
        assert new["clock"] == pytest.approx(old["clock"], rel=1e-12, abs=0)


def scripts() -> list[Path]:
    return sorted(path for path in WEB.rglob("*") if path.suffix in (".js", ".mjs"))


def test_one_script_is_loaded_by_the_page():
    assert [path.relative_to(WEB).as_posix() for path in WEB.rglob("*.js")] == ["art.js"]


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_what_every_script_keeps_to(path):
    text = path.read_text()
    for forbidden in (r"innerHTML", r"outerHTML", r"insertAdjacentHTML", r"document\.write", r"\beval\(",
                      r"new Function", r"https?://(?!www\.w3\.org/)", r"\bprototype\b"):
        assert not re.search(forbidden, text), f"{path.name} must not use {forbidden}"
    assert len(text.splitlines()) < 300
    for imported in re.findall(r"from '([^']+)'", text):
        if imported.startswith("./"):
            assert (path.parent / imported).is_file(), imported
        else:
            assert imported.replace("../../../", "../../") in ALLOWED_IMPORTS, imported
            assert path.name == "host.mjs", "only host.mjs may talk to the page"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_locales_know_every_input(language):
    """The same keys in each language, for every node of the pack."""
    folder = ROOT / "locales"
    ours = json.loads((folder / language / "nodeDefs.json").read_text())
    assert shape(ours) == shape(json.loads((folder / "en" / "nodeDefs.json").read_text()))
    assert set(ours) == set(NODES)
    for name in ("main.json", "commands.json", "settings.json"):
        assert shape(json.loads((folder / language / name).read_text())) \
            == shape(json.loads((folder / "en" / name).read_text()))
    for node in ours:
        assert (WEB / "docs" / f"{node}.md").is_file()  # what every language without a page of its own is shown


def test_the_locales_name_what_the_nodes_have():
    """Read from the sources, since this runs without the host: Input("name" or advanced(io.X, "name"."""
    known = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text())
    for node, file in NODES.items():
        source = (ROOT / "art_nodes" / "nodes" / f"{file}.py").read_text()
        inputs = re.findall(r'(?:\.Input\(|advanced\(io\.\w+, )"(\w+)"', source)
        assert list(known[node]["inputs"]) == inputs, node
        outputs = re.findall(r'\.Output\(display_name="(\w+)"', source)
        assert [each["name"] for each in known[node]["outputs"].values()] == outputs, node


@pytest.mark.parametrize("path", sorted((ROOT / "locales").rglob("*.json")),
                         ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_texts_have_no_marks_of_the_translator(path):
    """The host reads @, {, } and | in a text as its own syntax."""
    assert not re.search(r"[@{}|]", " ".join(texts(json.loads(path.read_text()))))


def texts(value) -> list[str]:
    """Every text in a tree."""
    return [text for each in value.values() for text in texts(each)] if isinstance(value, dict) else [value]


def shape(value):
    """Keys only."""
    return {key: shape(each) for key, each in value.items()} if isinstance(value, dict) else None
