"""The benchmark of labels that nothing was learned on: nobody is judged on labels of its own."""

from dataclasses import replace

import numpy as np
import pytest

from art_nodes.demo.unet import CLASSES
from benchmarks import labels
from benchmarks.chunks import save_whole
from benchmarks.matched_cells import BATCH, PLACES, Cell
from benchmarks.trial_cells import Ground

pytestmark = pytest.mark.host
SDXL = PLACES[0]


def test_nobody_is_judged_on_labels_of_its_own(comfy):
    """Errors of 1 where the half has the label, by the host's conditionings; as a control, halves exchanged are so."""
    from art_nodes.host.demo_model import ALL_CLASSES, class_conditioning

    classes = class_conditioning(ALL_CLASSES, BATCH)[0][0].argmax(2).flatten().tolist() * 2  # of two chunks
    own = [np.array([float(CLASSES[index] in half) for index in classes]) for half in labels.HALVES]
    assert not labels.unseen(own).any()
    assert labels.unseen(own[::-1]).all()


def test_a_recording_of_some_classes_has_these_only(comfy):
    from art_nodes.host.demo_model import class_conditioning

    ground = Ground(SDXL, 0, batches=3, classes=labels.HALVES[1])
    for given, name in zip(ground.positives, labels.HALVES[1], strict=False):
        assert (given[0][0] == class_conditioning(name)[0][0]).all()
    assert len(ground.positives) == len(ground.banks) == 3


@pytest.fixture
def jobs(tmp_path):
    """The trials of both halves and of all labels, saved; errors 0.8 on other labels, 0.1 on those of the half."""
    both = labels.pair(SDXL, "euler", 6, 0)
    every = [*both, replace(both[0], classes=CLASSES)]
    assert len({job.path(tmp_path) for job in every}) == 3
    rng = np.random.default_rng(0)
    base = rng.uniform(0.9, 1.1, labels.NOISES)
    label = np.arange(labels.NOISES) % BATCH % len(CLASSES)
    sizes = (np.where(label % 2 == 0, 0.1, 0.8), np.where(label % 2 == 1, 0.1, 0.8), np.full(labels.NOISES, 0.75))
    for i, (job, size) in enumerate(zip(every, sizes, strict=True)):
        job.path(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        job.path(tmp_path).write_text(f'{{"sigmas": [14.6, {2.0 + i}, 0.0]}}')
        save(labels.cell_of(job, tmp_path), tmp_path, size * base)
    return [both]


def save(cell, folder, errors):
    """Errors in chunks."""
    for number, part in enumerate(np.split(errors, len(errors) // BATCH)):
        save_whole(cell.path(folder, number), errors=part)


@pytest.mark.parametrize(("size", "verdict"), [(1.0, "wins"), (0.5, "loses")])
def test_the_page_tells_of_other_labels_only(jobs, tmp_path, monkeypatch, size, verdict):
    """On labels of its own a half would win against anyone."""
    rival = Cell(SDXL, "euler", 6, "karras", (14.6, 9.0, 0.0))
    save(rival, tmp_path, size * np.random.default_rng(1).uniform(0.9, 1.1, labels.NOISES))
    monkeypatch.setattr(labels, "built_in", lambda *_: [rival])
    labels.write(jobs, tmp_path, "python -m benchmarks labels")
    [row] = labels.rows_of(jobs, tmp_path)[1:]
    assert row[:4] == ["euler", SDXL.title, "6", "0"] and row[5:7] == ["karras", verdict]
    assert float(row[4].split()[0]) == pytest.approx(0.8 / size, rel=0.03)
    assert row[7].startswith("1.07")
    assert f"1 {verdict}" in (tmp_path / labels.PAGE).read_text()


def test_without_rivals_it_says_what_to_run_first(comfy, tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "built_in", lambda *_: [])
    with pytest.raises(SystemExit, match="run `python -m benchmarks matched` with the same"):
        labels.main(["--folder", str(tmp_path)])
