"""Holds components, built in or a user's own, to the contracts that the library stands on."""

from vicinal.testing.contract import Check, check_augmentation, checks_for, variants
from vicinal.testing.failure import ContractError
from vicinal.testing.methods import MethodCheck, check_method, checks_for_method
from vicinal.testing.samples import make_batch

__all__ = [
    "Check",
    "ContractError",
    "MethodCheck",
    "check_augmentation",
    "check_method",
    "checks_for",
    "checks_for_method",
    "make_batch",
    "variants",
]
