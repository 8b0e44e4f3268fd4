"""The nearest names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vicinal.core.errors import InputError, nearest

KNOWN = ("mixup", "cutmix", "manifold_mixup", "randaugment", "trivialaugment", "none")


def test_a_typo_is_answered_with_what_is_close() -> None:
    assert nearest("cutmx", KNOWN).startswith("did you mean cutmix")
    assert nearest("RandAugment", KNOWN).startswith("did you mean randaugment")
    assert nearest("mixupp", KNOWN) == "did you mean mixup, manifold_mixup, cutmix?"
    assert nearest("mixupp", KNOWN, limit=1) == "did you mean mixup?"


def test_where_nothing_is_close_all_names_are_given() -> None:
    told = nearest("zzz", KNOWN)
    assert told == f"known: {', '.join(sorted(KNOWN))}"


@given(name=st.sampled_from(KNOWN), place=st.integers(0, 20))
def test_a_missing_letter_is_always_found(name: str, place: int) -> None:
    at = place % len(name)
    assert name in nearest(name[:at] + name[at + 1 :], KNOWN)


def test_a_users_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
