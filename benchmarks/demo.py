"""`make demo`: learn a schedule in a real ComfyUI and compare it with the host's own, in one workflow.

Starts the host, has it train on the demo model and render the same noise with every schedule,
then prints a table and leaves pictures, plot, schedule and numbers in build/demo/.
"""

import argparse
import dataclasses
import datetime
import os
import platform
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from safetensors.numpy import load as load_tensors

from art_nodes.core import Schedule
from art_nodes.demo.unet import PIXEL_MEAN, PIXEL_STD
from benchmarks import demo_scores as scores
from benchmarks import demo_workflow as flow
from benchmarks.comfy import install
from benchmarks.comfy.client import Client, HostError
from benchmarks.comfy.server import ComfyServer
from benchmarks.machine import cpu_name
from benchmarks.pictures import Block, Row, draw_sheet

OUT = install.ROOT / "build" / "demo"
TIMEOUT = 1800.0  # seconds for the whole workflow
GREY_LEVELS = 255 * PIXEL_STD  # one unit of the latent
BAR, REDRAW_SECONDS = 24, 0.2


class DemoError(RuntimeError):
    """The demo cannot go on; the message says what is missing."""


@dataclass(frozen=True)
class Result:
    """All that came back from the host."""

    rendered: dict[scores.Key, np.ndarray]  # (N, 28, 28) latents each
    reference: np.ndarray
    finer: np.ndarray | None  # the reference with twice the steps
    plot: bytes  # PNG
    report: str
    schedule: Path
    seconds: dict[str, float]  # of each phase


class Progress:
    """Shows the phases of a workflow: a bar while one runs (on a terminal), a line when it is over."""

    def __init__(self, labels: dict[str, str], out=None):
        self.labels = labels
        self.out = out or sys.stdout
        self.seconds: dict[str, float] = {}
        self._node, self._started, self._drawn = None, 0.0, 0.0

    def __call__(self, kind: str, data: dict) -> None:
        """Takes one event of the host."""
        if kind == "executing" and data.get("node") != self._node:
            self.finish()
            self._node, self._started = data.get("node"), time.monotonic()
        elif kind == "progress" and data.get("node") == self._node in self.labels:
            self._draw(data["value"] / max(1, data["max"]))

    def finish(self) -> None:
        """Ends the phase that is running, if one is."""
        if self._node in self.labels:
            self.seconds[self._node] = time.monotonic() - self._started
            self._write(f"{self._label(len(self.seconds))} {self.seconds[self._node]:6.1f} s\n")
        self._node = None

    def _draw(self, share: float) -> None:
        now = time.monotonic()
        if self.out.isatty() and now - self._drawn > REDRAW_SECONDS:
            full = round(BAR * share)
            bar = "#" * full + "." * (BAR - full)
            self._write(f"{self._label(len(self.seconds) + 1)} {now - self._started:6.1f} s [{bar}] {share:4.0%}")
            self._drawn = now

    def _label(self, number: int) -> str:
        return f"[demo] {number:2}/{len(self.labels)} {self.labels[self._node]:<34}"

    def _write(self, text: str) -> None:
        start = "\r\x1b[K" if self.out.isatty() else ""
        self.out.write(start + text)
        self.out.flush()


def run(client: Client, settings: flow.Settings, progress: Progress) -> Result:
    """Runs the workflow in the host and fetches what it made.

    Raises DemoError where the host lacks a node or an output, HostError where it fails.
    """
    known = client.object_info()
    if missing := flow.missing_nodes(known):
        raise DemoError(f"the host must have the nodes {', '.join(flow.NEEDED)}; it lacks {', '.join(missing)}; "
                        "look for the reason in its log, or use a newer ComfyUI")
    outputs = client.run(flow.build(settings, known), on_event=progress, timeout=TIMEOUT)
    progress.finish()  # the host's last event may come after its outputs
    rendered = {(name, steps): _latents(client, outputs, flow.save_node(name, steps))
                for name in flow.SCHEDULES for steps in settings.steps}
    references = [_latents(client, outputs, flow.save_node(flow.REFERENCE, steps))
                  for steps in flow.reference_steps(settings)]
    return Result(
        rendered, references[0], references[1] if settings.check_reference else None,
        client.view(**_output(outputs, "plot", "images")), _output(outputs, "report", "text"),
        _trained_file(settings.name), dict(progress.seconds),
    )


def _output(outputs: dict, node: str, kind: str):
    """First entry of one node's output."""
    found = outputs.get(node, {}).get(kind)
    if not found:
        raise DemoError(f"node {node} must put out {kind}; the host reports {outputs.get(node)}; look at its log")
    return found[0]


def _latents(client: Client, outputs: dict, node: str) -> np.ndarray:
    """Latents (N, 28, 28) that a SaveLatent node wrote."""
    return load_tensors(client.view(**_output(outputs, node, "latents")))["latent_tensor"][:, 0]


def _schedules() -> Path:
    return install.base_directory() / "models" / "art_schedules"


def _trained_file(name: str) -> Path:
    path = _schedules() / f"{name}.safetensors"
    if not path.is_file():
        raise DemoError(f"ART Train must save {path}; it is not there; look at the host's log")
    return path


def remove_files(name: str) -> None:
    """Deletes what the demo called `name` left with the host."""
    for folder in (install.base_directory() / "output", _schedules()):
        for path in folder.glob(f"{name}[-_.]*"):
            path.unlink(missing_ok=True)


def pixels(latents: np.ndarray) -> np.ndarray:
    """Latents (N, H, W) as grey pictures uint8."""
    return (255 * np.clip(latents * PIXEL_STD + PIXEL_MEAN, 0, 1)).round().astype(np.uint8)


def score(result: Result, reference: np.ndarray | None = None) -> list[scores.Score]:
    """Errors in grey levels against the reference of the result, or another one."""
    reference = result.reference if reference is None else reference
    grey = {key: latents * GREY_LEVELS for key, latents in result.rendered.items()}
    return scores.score(grey, reference * GREY_LEVELS)


def comparison(result: Result, scored: list[scores.Score], settings: flow.Settings):
    """The comparison picture: the reference, then each schedule at each number of steps."""
    def shown(latents):
        return pixels(latents[:settings.shown])

    sampler = f"{settings.reference_sampler}, {settings.reference_steps} steps"
    blocks = [Block("What few steps should come close to", (Row("reference", sampler, shown(result.reference)),))]
    for steps in settings.steps:
        rows = tuple(
            Row(s.schedule, f"error {s.rms:.1f}, median {s.median:.1f}" + ("\nlowest error" if best else ""),
                shown(result.rendered[s.schedule, steps]), best)
            for s in scored if s.steps == steps for best in [s is scores.best(scored, steps)]
        )
        blocks.append(Block(f"{steps} Euler steps", rows))
    return draw_sheet(
        "The same noise, the same model, another step schedule in every row",
        f"Error: RMS difference to the reference over {settings.pictures} pictures, in grey levels of 255. "
        f"Shown: the first {settings.shown}.", blocks,
    )


def facts(client: Client, settings: flow.Settings, result: Result) -> dict:
    """What the numbers depend on: date, machine, versions, settings; and how long it took."""
    system = requests.get(client.url + "/system_stats", timeout=60).json()["system"]
    sigmas = {steps: Schedule.load(result.schedule).sigmas(steps).tolist() for steps in settings.steps}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {
            "pack": re.search(r'^version = "(.+)"', (install.ROOT / "pyproject.toml").read_text(), re.M).group(1),
            "comfyui": install.version(), "torch": system.get("pytorch_version"),
            "python": system.get("python_version", "").split()[0],
        },
        "settings": dataclasses.asdict(settings),
        "seconds": {name: round(seconds, 2) for name, seconds in result.seconds.items()},
        "report": result.report,
        "learned_sigmas": sigmas,
    }


def write(folder: Path, settings: flow.Settings, result: Result, scored, known_facts: dict) -> list[Path]:
    """Writes everything into `folder` and returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("comparison.png", "schedule.png", "results.json", "report.txt")]
    comparison(result, scored, settings).save(paths[0])
    paths[1].write_bytes(result.plot)
    paths[2].write_text(scores.as_json(scored, known_facts))
    paths[3].write_text(result.report.rstrip() + "\n")
    return [*paths, Path(shutil.copy(result.schedule, folder / "schedule.safetensors"))]


def reference_shift(result: Result, scored: list[scores.Score]) -> float:
    """Largest relative change of an error in the table when the reference takes twice the steps."""
    again = score(result, result.finer)
    return max(abs(b.rms / a.rms - 1) for a, b in zip(scored, again, strict=True))


def summary(settings: flow.Settings, result: Result, scored: list[scores.Score]) -> str:
    """What is printed at the end: table, verdicts, report."""
    lines = [
        f"Error: RMS difference to the reference over {settings.pictures} pictures, in grey levels of 255; median of "
        "the pictures' own;", "ratio to the strongest built-in schedule; * lowest. "
        f"Model calls are a picture's (cfg {settings.cfg:g}: two passes each).", "",
        scores.table(scored), "", *(scores.verdict(scored, steps) for steps in settings.steps),
    ]
    if result.finer is not None:
        lines.append(f"reference: twice its steps change an error by at most {reference_shift(result, scored):.2%}")
    return "\n".join([*lines, "", "ART Train reports:", result.report.strip()])


def demo(settings: flow.Settings) -> None:
    """The whole demo, with its output in the terminal."""
    began = time.monotonic()
    print("[demo] starting ComfyUI", flush=True)
    try:
        with ComfyServer(log=install.HOME / "logs" / f"{settings.name}.log") as server:
            print(f"[demo] ComfyUI {install.version()} serves after {server.start_seconds:.1f} s; log {server.log}",
                  flush=True)
            result = run(server, settings, Progress(flow.phases(settings)))
            scored = score(result)
            paths = write(OUT, settings, result, scored, facts(server, settings, result))
    finally:
        remove_files(settings.name)
    print(f"\n{summary(settings, result, scored)}\n")
    print(f"Done after {time.monotonic() - began:.0f} s. Look at:")
    print("\n".join(f"  {path}" for path in paths))


def _settings(arguments: list[str] | None) -> flow.Settings:
    parser = argparse.ArgumentParser(prog="python -m benchmarks demo", description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=flow.Settings.pictures,
                        help="pictures rendered with each schedule (default %(default)s)")
    parser.add_argument("--cfg", type=float, default=flow.Settings.cfg, help="guidance scale (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another training and another noise (default %(default)s)")
    parser.add_argument("--check-reference", action="store_true",
                        help="render the reference with twice the steps too, and print what that changes")
    given = vars(parser.parse_args(arguments))
    seed = given.pop("seed")
    # A name of its own: ART Train would append _2 to one that is taken, by a demo beside this one perhaps.
    return flow.Settings(name=f"art-demo-{os.getpid()}", train_seed=1 + seed,
                         render_seed=flow.Settings.render_seed + seed, **given)


def main(arguments: list[str] | None = None) -> None:
    """Runs the demo; exit code 1 with a message when something is missing or the host fails."""
    settings = _settings(arguments)
    try:
        demo(settings)
    except KeyboardInterrupt:
        sys.exit("\n[demo] stopped")
    except (DemoError, HostError, install.HostMissingError, requests.RequestException, OSError, ValueError) as error:
        sys.exit(f"\n[demo] failed: {error}")


if __name__ == "__main__":
    main()
