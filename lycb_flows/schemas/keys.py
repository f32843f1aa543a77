"""Canonical forms and SHA-256 keys, under which results are stored.

A key is the SHA-256 of the kind, its method version and the canonical form of the
inputs: JSON with sorted keys, floats as `float.hex`, -0.0 as 0.0, `None` left out,
fields marked `NOT_KEYED` left out. Each document's `key_of` says which inputs.
`tests/data/golden_keys.json` holds keys that may not change unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import ClassVar, Protocol

import numpy as np

from lycb_flows.config.base import Config
from lycb_flows.errors import InputError

_SEED_DIGITS = 8

Canonical = dict[str, "Canonical"] | list["Canonical"] | str | int | bool


_EARLIER: ContextVar[Mapping[str, int | None]] = ContextVar("earlier", default=MappingProxyType({}))


class Keyed(Protocol):
    """A kind of document, as far as its keys depend on it."""

    kind: ClassVar[str]
    method_version: ClassVar[int]


def canonical(value: object) -> Canonical:
    """Return the canonical form of a keyed input (see the module's rules).

    Raises
    ------
    InputError
        When it is NaN, infinity, None inside a list, or a type without a canonical form.
    """
    match value:  # the most frequent first: structures are floats in lists
        case float():
            return _canonical_float(value)
        case bool() | int() | str():
            return value
        case list() | tuple():
            return [canonical(item) for item in value]
        case Config():
            return canonical(value.keyed())
        case np.ndarray() | np.generic():
            return canonical(value.tolist())
        case Mapping():
            return {
                str(name): canonical(item)
                for name, item in sorted(value.items(), key=lambda pair: str(pair[0]))
                if item is not None
            }
        case _:
            raise InputError(
                "no canonical form for this input", fix="key plain data only", type=type(value)
            )


def _canonical_float(value: float) -> str:
    if not math.isfinite(value):
        raise InputError("a keyed number is not finite", fix="check the inputs", found=value)
    return (value + 0.0).hex()  # -0.0 + 0.0 is 0.0


def make_key(kind: type[Keyed], **inputs: object) -> str:
    """Return the key of a result of this kind.

    Parameters
    ----------
    kind
        The Document class; its `kind` and `method_version` are part of the key.
    **inputs
        Everything that the result depends on, and nothing else.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    return digest(_form(kind, inputs))


def _form(kind: type[Keyed], inputs: Mapping[str, object]) -> dict[str, object]:
    version = _EARLIER.get().get(kind.kind) or kind.method_version
    return {"kind": kind.kind, "method_version": version, "inputs": inputs}


def make_keys(kind: type[Keyed], name: str, values: Iterable[str], **inputs: object) -> list[str]:
    """Return the keys of many results of a kind that differ in one text among their inputs.

    They are those of `make_key`; the form that they share is made once.

    Parameters
    ----------
    kind
        The Document class.
    name
        The input that differs.
    values
        Its values.
    **inputs
        The other inputs.
    """
    marker = "\0"
    shared = _text(_form(kind, {name: marker, **inputs}))
    before, after = shared.split(json.dumps(marker))
    return [_sha256(f"{before}{_quoted(value)}{after}") for value in values]


def _quoted(value: str) -> str:
    """Return a text as JSON; keys, which are most of them, need no escaping."""
    plain = value.isascii() and value.isalnum()
    return f'"{value}"' if plain else json.dumps(value)


@contextmanager
def at_versions(versions: Mapping[str, int | None]) -> Iterator[None]:
    """Make keys as they were made at earlier method versions, to find what was stored then.

    Parameters
    ----------
    versions
        Method version by kind; a kind that is absent or None has today's.
    """
    token = _EARLIER.set(versions)
    try:
        yield
    finally:
        _EARLIER.reset(token)


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical form, in 64 hexadecimal digits."""
    return _sha256(_text(value))


def _text(value: object) -> str:
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def seed_for(campaign_seed: int, *role: str) -> int:
    """Return a seed of its own for each role, the same at every call.

    Parameters
    ----------
    campaign_seed
        Root of all seeds of the campaign.
    *role
        Words that no other random choice of the campaign has.
    """
    return int(digest([campaign_seed, *role])[:_SEED_DIGITS], 16)
