"""`torch.compile(apply, fullgraph=True)`, for components that declare it."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from vicinal.testing.failure import expect_same, given
from vicinal.testing.subject import Named, Subject, described


def apply_compiles(subject: Subject) -> None:
    """One graph, which serves every draw; a graph break is found by any backend, so by a cheap one.

    Compiled code of this process is forgotten first: the frames of earlier checks would count
    against the limit of recompilations.
    """
    batch = subject.batch()
    with given(described(batch), expected="one graph without a break, as the card declares"):
        torch.compiler.reset()
        try:
            compiled = torch.compile(subject.ready(batch).apply, fullgraph=True, backend="eager")
            first, second = subject.params(batch, seed=1), subject.params(batch, seed=2)
            wanted = subject.apply(batch, first)
            expect_same(compiled(batch, first), wanted, "what apply gives without compiling")
            with torch.compiler.set_stance("fail_on_recompile"):
                again = compiled(batch, second)
            wanted = subject.apply(batch, second)
            expect_same(again, wanted, "what apply gives without compiling, for a second draw")
        finally:
            torch.compiler.reset()


def checks(subject: Subject) -> Iterator[Named]:
    """The check, where the card declares it."""
    if subject.card.compiles:
        yield apply_compiles.__name__, apply_compiles
