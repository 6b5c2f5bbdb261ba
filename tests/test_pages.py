"""Pages that benchmarks write."""

from benchmarks.pages import write_page


def test_a_page_goes_to_docs_only_where_that_is_asked_for(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    write_page(tmp_path / "run" / "some.md", ["# Title", "", "Text."], docs=docs)
    assert (tmp_path / "run" / "some.md").read_text() == "# Title\n\nText.\n" and not list(docs.iterdir())
    write_page(tmp_path / "run" / "some.md", ["# Title"], to_docs=True, docs=docs)
    assert (docs / "some.md").read_text() == "# Title\n"
