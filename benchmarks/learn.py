"""How well and how fast ART-RL learns, from a bank and live, against the closed form; `python -m benchmarks learn`.

Every clock is charged on one recording of held-out noise a target. What is complete is kept in build/learn, and the
same command goes on where it stopped; delete that folder once the learner has changed.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import re
import sys
import time
import timeit
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from art_nodes.core import OrbitBank, TrainConfig, learn, optimal_schedule
from art_nodes.core.actor_critic import ActorCritic
from art_nodes.core.files import write_whole
from benchmarks import learn_report as report
from benchmarks.learn_report import LABELS, MARKS, Point, Result
from benchmarks.options import no_page_of_a_look
from benchmarks.pages import DOCS, as_markdown, as_text
from benchmarks.targets import DEMO, EXACT, Target

FOLDER = Path("build/learn")
HELD_OUT = 1000  # first seed of the noise that clocks are judged on
RECORDINGS = {EXACT[0].name: 4, EXACT[1].name: 4}  # that make up a yardstick; 2 of any other target
PHASES = {"roll-outs": ("roll_out",), "policy evaluation (critic)": ("evaluate",),
          "policy improvement (actor)": ("improve",), "distillation, new base": ("mean_clock", "renew_base")}


@dataclass(frozen=True)
class Job:
    """One run: a target, a way to learn and a seed; no config for the closed form."""

    target: Target
    way: str
    seed: int
    config: TrainConfig | None

    @property
    def setting(self) -> str:
        """What the tables say of the config."""
        c = self.config
        return f"{c.episodes} × {c.clock_nodes} × {c.iterations}" if c else "–"

    def path(self, folder: Path) -> Path:
        """Where the result is kept; the name tells all that it depends on, but for the code."""
        config = dataclasses.asdict(self.config) if self.config else None
        told = [self.target.name, self.target.sigma_max, self.target.sigma_min, self.target.shape, self.way, self.seed,
                config, MARKS, HELD_OUT, RECORDINGS]
        mark = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]
        name = re.sub(r"\W+", "-", f"{self.target.name} {self.way} {self.seed}")
        return folder / f"{name}-{mark}.json"


def ways(target: Target, quick: bool) -> dict[str, TrainConfig | None]:
    """The environments of a target and how to learn in each. A live call on a network or on images is dear."""
    if target in DEMO:
        live = TrainConfig(episodes=20, iterations=60)
    else:
        live = TrainConfig(episodes=16 if len(target.shape) > 2 else 128)
    if quick:
        live = dataclasses.replace(live, clock_nodes=32, iterations=40)
    found = {"closed form": None, "bank": TrainConfig(), "live": live}
    if target in DEMO:
        return found
    return {**found, "live, one clock": dataclasses.replace(live, state_dependent=False),
            "published": dataclasses.replace(live, budget="price")}


def plan(seeds: int, quick: bool) -> list[Job]:
    """All runs: the cheap ones first, then seed by seed those that take minutes."""
    targets = EXACT if quick else (*EXACT, *DEMO)
    jobs = [Job(target, way, seed, config and dataclasses.replace(config, seed=seed))
            for seed in range(seeds) for target in targets for way, config in ways(target, quick).items()]
    return sorted(jobs, key=lambda job: job.way == "published" or (job.way.startswith("live") and job.target in DEMO))


@functools.cache
def yardstick(target: Target) -> OrbitBank:
    """Orbits of noise that nothing learns on."""
    count = RECORDINGS.get(target.name, 2)
    return OrbitBank.merge(target.record(HELD_OUT + i) for i in range(count))


def compute(job: Job) -> Result:
    """Learn, keep the clocks of the iterations in MARKS, and charge them once learning is over."""
    began, clocks, bank = _now(), [], None
    if job.way in ("closed form", "bank"):
        source = bank = job.target.record(job.seed)
    else:
        source = job.target.live(stiffness="jvp" if job.way == "published" else "secant")
    if job.config is None:
        schedule = optimal_schedule(bank)
        clocks.append((0, bank.calls, bank.sample_calls, schedule, _now() - began))
    else:
        for record in learn(source, job.config):
            if record.iteration in (*MARKS, job.config.iterations):
                schedule = record.schedule
                samples = schedule.provenance["sample_calls"]
                clocks.append((record.iteration, record.calls, samples, schedule, _now() - began))
    points = tuple(Point(iteration, calls, samples, *map(float, spent), clock.cost(yardstick(job.target)))
                   for iteration, calls, samples, clock, spent in clocks)
    return Result(job.target.name, job.way, job.seed, job.setting, points, schedule.cost(bank) if bank else None)


def _now() -> np.ndarray:
    """Seconds of computing by this process, and by the clock on the wall."""
    return np.array([time.process_time(), time.perf_counter()])


def kept(job: Job, folder: Path) -> Result | None:
    """The result of a job that is complete."""
    path = job.path(folder)
    return Result.from_json(json.loads(path.read_text())) if path.exists() else None


def run(jobs: list[Job], folder: Path, say) -> list[Result]:
    """Results of all jobs; computes and keeps what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    for i, job in enumerate(jobs):
        result = kept(job, folder)
        if result is None:
            result = compute(job)
            write_whole(job.path(folder), json.dumps(dataclasses.asdict(result)).encode())
            say(f"{i + 1}/{len(jobs)}  {job.target.name}, {job.way}, seed {job.seed}: "
                f"{result.last.cost:.4f} in {result.last.wall:.0f} s")
        results.append(result)
    return results


@contextmanager
def timers(note):
    """While it lasts, each phase of the learner and each linear solve calls note(name, seconds)."""
    def timed(name, function):
        def call(*args, **kwargs):
            began = time.process_time()
            answer = function(*args, **kwargs)
            note(name, time.process_time() - began)
            return answer
        return call

    with ExitStack() as stack:
        for name, methods in PHASES.items():
            for method in methods:
                stack.enter_context(mock.patch.object(ActorCritic, method, timed(name, getattr(ActorCritic, method))))
        stack.enter_context(mock.patch.object(np.linalg, "solve", timed("linear solves", np.linalg.solve)))
        yield


def profile(bank: OrbitBank, episodes=(32, 128, 512), iterations: int = 200) -> dict[int, dict[str, float]]:
    """Milliseconds an iteration of each phase, for several numbers of episodes, taken in turns."""
    runs = {count: learn(bank, TrainConfig(episodes=count, iterations=iterations)) for count in episodes}
    books = {count: Counter() for count in episodes}
    for _ in range(iterations):
        for count, records in runs.items():
            began = time.process_time()
            with timers(lambda name, seconds, book=books[count]: book.update({name: seconds})):
                next(records)
            books[count]["all"] += time.process_time() - began
    return {count: {name: 1000 * seconds / iterations for name, seconds in book.items()}
            for count, book in books.items()}


def profile_report(found: dict[int, dict[str, float]]) -> tuple[list[list[str]], str]:
    """The profile as rows of cells, a heading first, and what bounds the time, in words."""
    low, default, high = found
    whole, solves = found[default]["all"], found[default]["linear solves"]
    rows = [["ms an iteration", f"share at {default}", *(f"{count} episodes" for count in found),
             f"{low} / {default}", f"{high} / {default}"]]
    for name in (*PHASES, "linear solves", "all"):
        times = [book[name] for book in found.values()]
        label = "linear solves (within critic and actor)" if name == "linear solves" else name
        rows.append([label, f"{times[1] / whole:.0%}", *(f"{ms:.2f}" for ms in times),
                     f"{times[0] / times[1]:.2f}", f"{times[2] / times[1]:.2f}"])
    slope = (found[high]["all"] - found[low]["all"]) / (high - low)
    fixed = (found[low]["all"] - slope * low) / whole
    step = 1000 * found[default]["roll-outs"] / TrainConfig().clock_nodes
    a = np.ones(default)
    addition = 1e6 * min(timeit.repeat(lambda: a + a, number=10_000, repeat=5)) / 10_000
    bound = "the overhead of many small numpy calls" if fixed > 0.5 else "arithmetic"
    return rows, (f"Of an iteration's {whole:.1f} ms {fixed:.0%} do not depend on the number of episodes (a straight"
                  f" line through {low} and {high}), so {bound} bounds it: a clock step takes {step:.0f} µs of"
                  f" roll-out, as long as {step / addition:.0f} additions of two arrays of {default} numbers, and there"
                  f" are {TrainConfig().clock_nodes} steps, one after another; linear solves take"
                  f" {solves / whole:.0%}.")


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks learn", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="default 5, with --quick 2")
    parser.add_argument("--quick", action="store_true", help="exact targets only, and live learning cut short")
    parser.add_argument("--profile", action="store_true", help="only where the time of learning on a bank goes")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", action="store_true", help="also write docs/learn.md and its picture")
    args = parser.parse_args(argv)
    no_page_of_a_look(parser, args)
    args.seeds = args.seeds or (2 if args.quick else 5)
    return args


def main(argv=None):
    args = _arguments(argv)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if args.profile or args.docs:
            rows, words = profile_report(profile(EXACT[0].record(0)))
            print(f"{as_text(rows, LABELS)}\n{words}\n", flush=True)
        if args.profile and not args.docs:
            return
        jobs = plan(args.seeds, args.quick)
        results = ([result for job in jobs if (result := kept(job, FOLDER))] if args.report
                   else run(jobs, FOLDER, lambda line: print(line, file=sys.stderr, flush=True)))
    order = [target.name for target in (*EXACT, *DEMO)]
    results.sort(key=lambda result: order.index(result.target))
    print(f"{as_text(report.summary(results), LABELS)}\n\nJ/J* over training, by iteration\n"
          f"{as_text(report.progress(results), LABELS)}\n\n{report.verdict(results)}")
    report.plot(results, FOLDER / "learn.png")
    if args.docs:
        report.plot(results, DOCS / report.PLOT)
        page = report.markdown(results, "python -m benchmarks learn --docs", f"{as_markdown(rows, LABELS)}\n\n{words}")
        (DOCS / report.PAGE).write_text(page)


if __name__ == "__main__":
    main()
