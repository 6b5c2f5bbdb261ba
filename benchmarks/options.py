"""Options that several benchmarks have."""

import argparse
from collections.abc import Iterable


def chosen(parser: argparse.ArgumentParser, asked: str, known: Iterable[str], separator: str = ",") -> list[str]:
    """Those of `known` that an option asks for, in their order; an unknown name ends the program with what there is."""
    known, names = list(known), [name.strip() for name in asked.split(separator)]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; choose of {f'{separator} '.join(known)}")
    return [name for name in known if name in names]


def named(parser: argparse.ArgumentParser, asked: str, known: Iterable) -> list:
    """As `chosen`, of things that have a `name`."""
    known = list(known)
    names = chosen(parser, asked, (one.name for one in known))
    return [one for one in known if one.name in names]


def step_counts(parser: argparse.ArgumentParser, asked: str) -> tuple[int, ...]:
    """The whole numbers that an option asks for, separated by commas; anything else ends the program with a word."""
    try:
        counts = tuple(map(int, asked.split(",")))
    except ValueError:
        counts = ()
    if not counts or min(counts) < 1:
        parser.error(f"steps must be whole numbers of at least 1, separated by commas; got {asked}; write --steps 6,10")
    return counts


def no_page_of_a_look(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """--quick is for a look: its figures are not for docs/."""
    if args.quick and args.docs:
        parser.error("--docs needs the figures of a full run; leave out --quick")
