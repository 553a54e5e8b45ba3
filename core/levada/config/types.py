"""What the annotations of options say: choices, lists, tables, and the rest."""

import types
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypeAlias, Union, get_args, get_origin

from levada.secret import Secret

Type: TypeAlias = Any
"""A type as an annotation writes it: a class, ``list[str]``, ``int | None``, ``Literal["a"]``."""

_LISTS: Mapping[Any, type[list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    Sequence: tuple,
    Collection: tuple,
    Iterable: tuple,
    AbstractSet: frozenset,
}
_TABLES = (dict, Mapping, MutableMapping)
_SCALARS = (str, bool, int, float, timedelta, datetime, Path, Secret, Any)


def plain(tp: Type) -> Type:
    """Return *tp* without `Annotated`, `NewType`, ``type`` aliases and "or None"."""
    while True:
        if _origin(tp) is Annotated:
            tp = get_args(tp)[0]
        elif isinstance(tp, NewType):
            tp = tp.__supertype__
        elif type(tp).__name__ == "TypeAliasType":  # not in `typing` before Python 3.12
            tp = tp.__value__
        elif len(members := union(tp)) == 1:
            tp = members[0]
        else:
            return tp


def union(tp: Type) -> tuple[Type, ...]:
    """Return the members of a union, None left out; empty for any other type."""
    if _origin(tp) not in {Union, types.UnionType}:
        return ()
    return tuple(each for each in get_args(tp) if each is not type(None))


def optional(tp: Type) -> bool:
    """Return whether None is among the members of *tp*."""
    return type(None) in get_args(tp)


def choices(tp: Type) -> tuple[Any, ...]:
    """Return the only values allowed by a `Literal` or an `Enum`; empty for any other type."""
    if _origin(tp) is Literal:
        return get_args(tp)
    if isinstance(tp, type) and issubclass(tp, Enum):
        return tuple(each.value for each in tp)
    return ()


def container(tp: Type) -> type[list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]] | None:
    """Return what holds a list of type *tp* once read; None where *tp* is no list."""
    kind = _LISTS.get(_origin(tp) or tp)
    fixed = kind is tuple and _origin(tp) is tuple and get_args(tp)[-1] is not Ellipsis
    return None if fixed else kind


def is_table(tp: Type) -> bool:
    """Return whether *tp* is a mapping whose keys are the operator's own."""
    return (_origin(tp) or tp) in _TABLES


def item(tp: Type) -> Type:
    """Return the type of a list's items, or of a table's values."""
    arguments = [each for each in get_args(tp) if each is not Ellipsis]
    return plain(arguments[-1]) if arguments else Any


def is_readable(tp: Type) -> bool:
    """Return whether a pipeline file can hold a *tp* at all."""
    tp = plain(tp)
    if members := union(tp):
        return all(map(is_readable, members))
    if container(tp) or is_table(tp):
        return is_readable(item(tp))
    return bool(choices(tp)) or tp in _SCALARS


def _origin(tp: Type) -> Any:
    return get_origin(tp)
