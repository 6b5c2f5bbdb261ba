"""Pages that benchmarks write."""

import torch

from benchmarks import machine
from benchmarks.pages import write_page


def test_a_page_goes_to_docs_only_where_that_is_asked_for(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    write_page(tmp_path / "run" / "some.md", ["# Title", "", "Text."], docs=docs)
    assert (tmp_path / "run" / "some.md").read_text() == "# Title\n\nText.\n" and not list(docs.iterdir())
    write_page(tmp_path / "run" / "some.md", ["# Title"], to_docs=True, docs=docs)
    assert (docs / "some.md").read_text() == "# Title\n"


def test_pages_name_the_gpu_that_they_were_made_on(monkeypatch):
    assert machine.command("fid --seeds 3") == "`python -m benchmarks fid --seeds 3`"
    before = machine.this_machine()
    monkeypatch.setattr(machine, "on_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "some GPU")
    assert machine.command("fid --seeds 3") == "`ART_HOST_GPU=1 python -m benchmarks fid --seeds 3`"
    assert machine.this_machine() == f"{before}, some GPU"
