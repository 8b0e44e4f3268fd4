"""Holds augmentations, built in or a user's own, to the contract that the library stands on."""

from vicinal.testing.contract import Check, check_augmentation, checks_for, variants
from vicinal.testing.failure import ContractError
from vicinal.testing.samples import make_batch

__all__ = [
    "Check",
    "ContractError",
    "check_augmentation",
    "checks_for",
    "make_batch",
    "variants",
]
