"""Options of the benchmarks: what is unknown is said, and a quick look never becomes a page."""

import argparse

import pytest

from benchmarks.options import chosen, no_page_of_a_look, step_counts

PARSER = argparse.ArgumentParser()


def test_what_is_asked_for_comes_in_the_known_order():
    assert chosen(PARSER, "heun, euler", ("euler", "heun", "deis")) == ["euler", "heun"]
    assert chosen(PARSER, "b, B; a, A", ("a, A", "b, B"), ";") == ["a, A", "b, B"]


def test_an_unknown_name_ends_the_program(capsys):
    with pytest.raises(SystemExit):
        chosen(PARSER, "euler,nonsense", ("euler", "heun"))
    assert "unknown: nonsense; choose of euler, heun" in capsys.readouterr().err


def test_numbers_of_steps(capsys):
    assert step_counts(PARSER, "6, 10") == (6, 10)
    for asked in ("6,x", "", "0,6"):
        with pytest.raises(SystemExit):
            step_counts(PARSER, asked)
        assert f"at least 1, separated by commas; got {asked}; write --steps 6,10" in capsys.readouterr().err


@pytest.mark.parametrize("quick, docs", [(True, False), (False, "results.md"), (False, None)])
def test_other_runs_may_write_pages(quick, docs):
    no_page_of_a_look(PARSER, argparse.Namespace(quick=quick, docs=docs))


@pytest.mark.parametrize("docs", [True, "results.md"])
def test_a_look_may_not(docs, capsys):
    with pytest.raises(SystemExit):
        no_page_of_a_look(PARSER, argparse.Namespace(quick=True, docs=docs))
    assert "leave out --quick" in capsys.readouterr().err
