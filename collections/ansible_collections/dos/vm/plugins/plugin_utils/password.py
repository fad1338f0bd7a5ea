# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of people: hashed with argon2id, and refused where anybody would try them first (LIMIT-02, LIMIT-03)."""

from __future__ import annotations

try:
    import argon2
except ImportError:
    argon2 = None

SHORTEST, LONGEST = 12, 1024
# Of the system this one succeeds, and what people write when they must write something.
KNOWN = frozenset(
    ["123456", "123456123456", "sysadm", "sysadmsysadm", "dos", "dosdosdosdos", "password", "passwordpassword"]
)


def hashed(password: str) -> str:
    """The hash to declare, with a salt of its own. Raises `ValueError`, which never quotes the password."""
    if argon2 is None:
        raise ValueError("the controller's Python lacks argon2: install argon2-cffi from PyPI")
    if not isinstance(password, str):
        raise ValueError("a password is text, write it in quotes")
    if password.lower() in KNOWN or len(set(password)) < 5:
        raise ValueError("this is one of the passwords that everybody tries, choose another")
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password has {SHORTEST} to {LONGEST} characters, this one has {len(password)}")
    made: str = argon2.PasswordHasher().hash(password)
    return made


def verified(declared: str, password: str) -> bool:
    """Whether a password is the one that a hash was made of."""
    try:
        return bool(argon2.PasswordHasher().verify(declared, password))
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
