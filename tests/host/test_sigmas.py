"""ART Sigmas: in this process, and in a real ComfyUI over HTTP."""

import dataclasses
import io
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from art_nodes.core import Schedule
from benchmarks.bundle_demo import FOLDER as BUNDLED
from benchmarks.comfy.server import HostError
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
AUTOS = ["auto", "auto-dpmpp_2m", "auto-clock"]
MODEL = {"model": "DemoModel", "model_sampling": "ModelSamplingContinuousEDM + EDM"}


@pytest.fixture
def read(library):
    """The function behind the node, with one schedule "s" of an EDM model in the library."""
    from art_nodes.host.sigmas import read_sigmas

    library.save_schedule(schedules.schedule(**MODEL), "s")
    return lambda *given, **more: read_sigmas(*given, **more).sigmas


@pytest.fixture(scope="module")
def models(comfy):
    from art_nodes.host.demo_model import build_model

    return {dress: build_model(dress) for dress in workflows.DRESSES}


@pytest.fixture
def served(server):
    """The running host and a schedule in it; removed afterwards."""
    schedules.host_folder().mkdir(exist_ok=True)
    name = schedules.fresh_name()
    schedules.schedule(**MODEL).save(schedules.host_folder() / f"{name}.safetensors")
    yield server, name
    schedules.remove_host_files()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 20, 50, 1000, 10000])
@pytest.mark.parametrize("denoise", [1.0, 0.99, 0.75, 0.5, 0.3, 0.1, 0.01])
def test_always_steps_and_a_final_zero(read, models, steps, denoise):
    sigmas = read("s", steps, denoise)
    assert sigmas.shape == (steps + 1,) and sigmas.dtype == torch.float32
    assert sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    if steps <= 100:
        from comfy_extras.nodes_custom_sampler import BasicScheduler

        theirs = BasicScheduler.execute(models[workflows.EDM], "karras", steps, denoise).result[0]
        assert len(sigmas) == len(theirs)


@pytest.mark.parametrize("denoise", [0.9, 0.75, 0.5, 0.33])
def test_denoise_takes_the_end_of_a_longer_run(read, denoise):
    """BasicScheduler's convention: int(steps / denoise) steps, of which the last are run."""
    for steps in (1, 4, 9):
        whole = read("s", int(steps / denoise), 1.0)
        assert torch.allclose(read("s", steps, denoise), whole[-(steps + 1):], rtol=1e-6)


def test_denoise_zero_gives_nothing_as_the_host_does(read):
    for denoise in (0.0, -0.5):
        sigmas = read("s", 10, denoise)
        assert sigmas.shape == (0,) and sigmas.dtype == torch.float32


def test_unknown_name_lists_what_exists(read):
    for denoise in (1.0, 0.0):
        with pytest.raises(ValueError, match="got 'nope'; there are: s;"):
            read("nope", 10, denoise)


def test_a_connected_schedule_wins(read):
    other = schedules.schedule(top=7.0)
    assert torch.equal(read("s", 5, 1.0, other), other.sigmas(5))
    assert torch.equal(read("unknown", 5, 1.0, other), other.sigmas(5))
    assert not torch.equal(read("s", 5, 1.0), other.sigmas(5))


def test_a_smaller_model_starts_later(read, models, caplog):
    table = models[workflows.SDXL].get_model_object("model_sampling")
    with caplog.at_level(logging.WARNING):
        sigmas = read("s", 10, 1.0, model=models[workflows.SDXL])
    assert float(sigmas[0]) == pytest.approx(float(table.sigma_max), rel=1e-6)
    assert len(sigmas) == 11 and (sigmas.diff() < 0).all()
    assert "ModelSamplingContinuousEDM + EDM" in caplog.text and "ModelSamplingDiscrete + EPS" in caplog.text
    assert "below pure noise" not in caplog.text


def test_a_schedule_that_starts_late_says_how_it_is_used(models):
    """One for the refiner's part of the range is meant to start there: a word on that, and no warning."""
    from art_nodes.host.recording import describe_model
    from art_nodes.host.sigmas import mismatches

    model, known = describe_model(models[workflows.SDXL]), {"starts_late": "give it a noised picture"}
    [said] = mismatches(schedules.schedule(top=0.5693, **known), model)
    assert "starts at sigma 0.5693, as it should: give it a noised picture" in said
    for known in ({}, {"starts_late": True}):
        [warned] = mismatches(schedules.schedule(top=0.5693, **known), model)
        assert "below pure noise" in warned


def test_the_model_it_was_learned_on_changes_nothing_and_warns_of_nothing(read, models, caplog):
    with caplog.at_level(logging.WARNING):
        assert torch.equal(read("s", 10, 1.0, model=models[workflows.EDM]), read("s", 10, 1.0))
    assert not caplog.records


@pytest.mark.parametrize("name, dress", [("demo-edm", workflows.EDM), ("demo-sdxl", workflows.SDXL)])
def test_the_bundled_demo_schedules_fit_the_demo_model(read, models, caplog, name, dress):
    bundled = Schedule.load(BUNDLED / f"{name}.safetensors")
    with caplog.at_level(logging.WARNING):
        assert len(read("s", 10, 1.0, bundled, models[dress])) == 11
    assert not caplog.records


def test_a_larger_model_is_warned_about(read, models, caplog):
    small = schedules.schedule(top=14.6, **MODEL)
    with caplog.at_level(logging.WARNING):
        assert float(read("s", 4, 1.0, small, models[workflows.EDM])[0]) == pytest.approx(14.6)
    assert "starts at sigma 80, the schedule at 14.6" in caplog.text


def test_a_smaller_model_is_warned_about(read, models, caplog):
    """What a schedule of a wider range was fitted to is cut off; a range that is a little wider is no matter."""
    for top, warned in ((4518.76, True), (104.0, True), (96.0, False)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            read("s", 4, 1.0, schedules.schedule(top=top, **MODEL), models[workflows.EDM])
        assert ("above that is cut off" in caplog.text) is warned


@pytest.mark.parametrize("steps, denoise", [(20, 0.2), (20, 0.5), (20, 0.8), (4, 0.6), (4, 0.85), (6, 0.9), (10, 0.95)])
def test_less_denoise_says_what_is_as_strong_as_simple(read, models, steps, denoise):
    """Another schedule starts the last part of its steps at another sigma."""
    from comfy_extras.nodes_custom_sampler import BasicScheduler

    from art_nodes.host.sigmas import read_sigmas

    model = models[workflows.SDXL]
    learned = schedules.schedule(top=14.6146)
    reading = read_sigmas("s", steps, denoise, learned, model)
    [line] = [line for line in reading.text.splitlines() if "the host's simple starts at" in line]
    assert f"it starts at sigma {float(reading.sigmas[0]):.3g};" in line and not reading.warnings
    told, alike = float(line.split("starts at ")[2].split(",")[0]), float(line.rpartition("denoise ")[2].rstrip("."))
    theirs = BasicScheduler.execute(model, "simple", steps, denoise).result[0]
    assert told == pytest.approx(float(theirs[0]), rel=0.005)
    starts = [float(read_sigmas("s", steps, share / 100, learned, model).sigmas[0]) for share in range(1, 101)]
    mine = float(read_sigmas("s", steps, alike, learned, model).sigmas[0])
    nearest = min(abs(np.log(start / told)) for start in starts)
    assert abs(np.log(mine / told)) == pytest.approx(nearest, abs=0.006)
    if theirs[0] == reading.sigmas[0]:
        assert alike == denoise, "where it is as strong already nothing else is advised"
    assert "simple" not in read_sigmas("s", 20, 1.0, learned, model).text
    assert "simple" not in read_sigmas("s", 20, 0.0, learned, model).text


def test_of_very_many_steps_no_start_is_looked_for(read, models, monkeypatch):
    """The host takes minutes to count them, and cannot be interrupted."""
    from art_nodes.host.sigmas import read_sigmas

    monkeypatch.setattr("comfy.samplers.calculate_sigmas", lambda *_: pytest.fail("the host was asked"))
    reading = read_sigmas("s", 10, 1e-7, schedules.schedule(top=14.6146), models[workflows.SDXL])
    assert len(reading.sigmas) == 11 and "simple" not in reading.text


def test_a_schedule_of_a_lower_range_cannot_be_as_strong(read, models):
    from art_nodes.host.sigmas import read_sigmas

    reading = read_sigmas("s", 20, 0.9, schedules.schedule(top=2.0), models[workflows.SDXL])
    assert "and the nearest that this schedule can start at is 2, with denoise 0.96." in reading.text


def test_without_a_model_it_says_what_it_is_for(read):
    from art_nodes.host.sigmas import read_sigmas

    reading = read_sigmas("s", 10, 1.0)
    assert "no MODEL is connected: it is for models that start at sigma 80." in reading.text and not reading.warnings


def test_of_a_flow_another_multiplier_is_warned_about_and_another_shift_is_not(read, models, caplog):
    """A shift moves the host's own schedules; what the model is told of a sigma the multiplier decides."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    flow = ModelSamplingSD3().patch(models[workflows.SDXL], 3.0)[0]
    learned = {**MODEL, "model_sampling": "ModelSamplingDiscreteFlow + CONST", "shift": 8.0}
    caplog.clear()  # of what the host warned while it was imported
    with caplog.at_level(logging.WARNING):
        read("s", 4, 1.0, schedules.schedule(top=1.0, **learned, multiplier=1.0), flow)
    assert "learned on multiplier 1.0, this model has 1000.0" in caplog.text
    assert len(caplog.records) == 1
    for known in ({}, {"multiplier": 1000.0}):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            read("s", 4, 1.0, schedules.schedule(top=1.0, **learned, **known), flow)
        assert not caplog.records


def test_the_fingerprint_follows_the_file(library, tmp_path):
    from art_nodes.host.sigmas import choices, fingerprint

    assert choices() == AUTOS
    missing = fingerprint("a")
    library.save_schedule(schedules.schedule(), "a")
    first = fingerprint("a")
    (tmp_path / "trained" / "a.safetensors").unlink()
    library.save_schedule(schedules.schedule(rate=2.0), "a")
    assert len({missing, first, fingerprint("a"), fingerprint(None)}) == 4
    # The host does not tell a name that comes over a wire: any change counts.
    from art_nodes.host.comparing_grids import fingerprint_names

    for of in (fingerprint, fingerprint_names):
        before = of(None)
        assert of(None) == before
        library.save_schedule(schedules.schedule(rate=3.0), f"b-{of.__name__}")
        assert of(None) != before
    names = ["a", "b-fingerprint", "b-fingerprint_names"]
    assert choices() == [*AUTOS, *names]
    for name in names[1:]:
        (tmp_path / "trained" / f"{name}.safetensors").unlink()
    assert choices() == [*AUTOS, "a"]


def pictures(server, name, with_model=False, events=None, **settings) -> np.ndarray:
    """Pictures of the demo model sampled with ART Sigmas, uint8 (B, H, W, 3)."""
    links = {"model": ["demo", 0]} if with_model else {}
    workflow = {**workflows.demo_model(), **workflows.sampler_custom(), **workflows.pictures(["sample", 0]),
                **schedules.sigmas_node(name, **settings, **links)}
    seen = (lambda kind, data: events.append((kind, data))) if events is not None else None
    images = server.run(workflow, timeout=120, on_event=seen)["save"]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(server.view(**image))).convert("RGB")) for image in images])


def test_the_node_describes_itself(served):
    server, name = served
    info = server.object_info("ARTSigmas")["ARTSigmas"]
    assert (info["display_name"], info["category"], info["output"]) == ("ART Sigmas", "ART", ["SIGMAS"])
    assert list(info["input"]["required"]) == ["schedule_name", "steps", "denoise"]
    assert list(info["input"]["optional"]) == ["schedule", "model"]
    inputs = {**info["input"]["required"], **info["input"]["optional"]}
    assert all(options["tooltip"] for _, options in inputs.values())
    assert name in str(info["input"]["required"]["schedule_name"])


def test_pictures_from_a_saved_schedule(served):
    server, name = served
    plain, fitted = pictures(server, name), pictures(server, name, with_model=True)
    assert plain.shape == (2, 28, 28, 3) and plain.std(axis=(1, 2, 3)).min() > 5
    assert np.array_equal(plain, fitted)


def test_the_list_refreshes_and_unknown_names_are_errors(served):
    server, name = served
    with pytest.raises(HostError, match=f"there are: .*{name}") as caught:
        pictures(server, "art-test-unknown")
    assert caught.value.node_type == "ARTSigmas"
    late = schedules.fresh_name()
    schedules.schedule(rate=2.0).save(schedules.host_folder() / f"{late}.safetensors")
    assert late in str(server.object_info("ARTSigmas")["ARTSigmas"]["input"]["required"]["schedule_name"])
    assert pictures(server, late).shape == (2, 28, 28, 3)


def test_a_retrained_file_runs_again_and_an_unchanged_one_does_not(served):
    server, name = served

    def cached(events):
        return any("sigmas" in data["nodes"] for kind, data in events if kind == "execution_cached")

    first, events = pictures(server, name), []
    again = pictures(server, name, events=events)
    assert cached(events) and np.array_equal(first, again)
    schedules.schedule(rate=4.0).save(schedules.host_folder() / f"{name}.safetensors")
    events = []
    changed = pictures(server, name, events=events)
    assert not cached(events) and not np.array_equal(first, changed)


def test_denoise_zero_leaves_the_latent_alone(served):
    server, name = served
    assert pictures(server, name, denoise=0.0).std(axis=(1, 2, 3)).max() < 1


def test_a_model_that_starts_a_little_higher_is_warned_of(comfy):
    from art_nodes.host.sigmas import mismatches

    learned = schedules.schedule(top=14.6, shift=3.0)
    assert any("below pure noise" in line for line in mismatches(learned, {"sigma_max": 16.0, "shift": 3.0}))
    assert mismatches(learned, {"sigma_max": 14.6, "shift": 3.001}) == []
    assert any("shift" in line for line in mismatches(learned, {"sigma_max": 14.6, "shift": 3.2}))
    assert mismatches(learned, {"sigma_max": 14.6 * 1.0005, "shift": 3.0}) == []
    assert any("below pure noise" in line for line in mismatches(learned, {"sigma_max": 14.7, "shift": 3.0}))
    assert any("shift 3.0, this model has 3.01;" in line
               for line in mismatches(learned, {"sigma_max": 14.6, "shift": 3.01}))
    assert any("shift 3.0, this model has none;" in line for line in mismatches(learned, {"sigma_max": 14.6}))


def test_noise_levels_that_know_no_percents_are_read_all_the_same(models):
    """As other packs make them."""
    from art_nodes.host.sigmas import strength_lines

    class Model:
        def get_model_object(self, _name):
            return object()

    schedule = schedules.schedule()
    assert strength_lines(schedule, schedule.sigmas(4), 0.5, Model()) == []


def test_the_words_of_a_file_are_told_if_they_are_words(library):
    from art_nodes.host.sigmas import described

    odd = schedules.schedule(learned_on=["x"], carried_over=3, meant_for="y" * 400)
    assert described(odd)[0] == f"Meant for: {'y' * 300}." and len(described(odd)) == 2


def test_the_words_of_bundled_files_are_told_whole(models):
    from art_nodes.host.library import BUNDLED
    from art_nodes.host.sigmas import described

    told = {path.stem: described(Schedule.load(path)) for path in BUNDLED.glob("*.safetensors")}
    carried = {name: lines for name, lines in told.items() if not name.startswith("demo")}
    assert len(carried) > 20
    for name, lines in carried.items():
        assert lines[0].startswith("Learned on: ") and lines[0].endswith("run ART Train for that."), name


def test_what_a_file_says_of_its_model_is_told_in_short_and_in_any_character_set(models, caplog, monkeypatch):
    from art_nodes.host.sigmas import read_sigmas

    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    long = schedules.schedule(model="写" * 10**5, model_sampling=["x" * 10**5], starts_late="z" * 10**5)
    reading = read_sigmas("s", 10, 1.0, long, models[workflows.SDXL])
    assert len(reading.warnings) == 3 and len(reading.text) < 3000
    caplog.text.encode("cp1252")


def test_the_fingerprint_of_a_file_that_cannot_be_read(library, monkeypatch):
    """The host would swallow an error: it is told when the node runs."""
    from art_nodes.host.sigmas import fingerprint

    library.save_schedule(schedules.schedule(), "s")
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied")))
    assert fingerprint("s") == "no schedule s"


def test_a_family_names_its_others(comfy):
    from art_nodes.host.sigmas import siblings

    assert siblings("sdxl") == ["sdxl-clock", "sdxl-dpmpp_2m"]


def test_a_bundled_schedule_that_takes_ones_own_name_is_told(library):
    """As an update may bring one."""
    from art_nodes.host.sigmas import read_sigmas

    library.save_schedule(schedules.schedule(), "s")
    assert "listed as" not in read_sigmas("s", 4, 1.0).text
    schedules.schedule(top=7.0).save(library.BUNDLED / "s.safetensors")
    reading = read_sigmas("s", 4, 1.0)
    assert reading.sigmas[0] == 7
    assert "The schedule s. One of yours by that name is listed as trained/s." in reading.text
    assert read_sigmas("trained/s", 4, 1.0).sigmas[0] == 80


def test_what_a_schedule_is_for(comfy):
    """The paper's clock is for no sampler, though its objective is called euler."""
    from art_nodes.host.sigmas import sampler_line

    clock, heun = schedules.schedule(objective="euler"), schedules.schedule(objective="end:heun")
    gridded = dataclasses.replace(heun, grids={2: np.array([heun.sigma_max, 1.0, 0.0])})
    lines = [sampler_line(each, ["sdxl-clock"]) for each in (clock, heun, gridded, schedules.schedule(objective=3))]
    assert [line.split(" For other samplers")[0] for line in lines] == [
        "The paper's clock, made for no sampler and no number of steps.",
        "Optimised for the sampler heun; another one runs too, and may do better with a schedule fitted to it.",
        "Optimised for the sampler heun, with a grid of its own for some numbers of steps; another one runs too, and "
        "may do better with a schedule fitted to it.",
        "It does not say which sampler it was optimised for; any can be used.",
    ]
    assert all(line.endswith(" For other samplers there is: sdxl-clock.") for line in lines)
