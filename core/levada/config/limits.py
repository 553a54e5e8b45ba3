"""What attrs validators demand, as data: for messages without the value, and for the schema."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from attrs import field, frozen, validators

from levada._json import Json
from levada.config.faults import Wrong
from levada.config.words import toml
from levada.errors import ConfigError
from levada.secret import scrub_known
from levada.url import ValidUrl

# attrs names its validators' classes privately; their instances are public.
_ALL_OF: type[Any] = type(validators.and_())
_OPTIONAL: type[Any] = type(validators.optional(validators.ge(0)))
_EACH: type[Any] = type(validators.deep_iterable(validators.ge(0)))
_COMPARED: type[Any] = type(validators.ge(0))
_ONE_OF: type[Any] = type(validators.in_(()))
_MIN_LEN: type[Any] = type(validators.min_len(0))
_MAX_LEN: type[Any] = type(validators.max_len(0))
_MATCHES: type[Any] = type(validators.matches_re(""))

_COMPARISONS = {
    ">=": ("at least", "minimum"),
    ">": ("more than", "exclusiveMinimum"),
    "<=": ("at most", "maximum"),
    "<": ("less than", "exclusiveMaximum"),
}


@frozen
class Limit:
    """What one validator demands."""

    text: str
    """To follow "must"."""

    schema: Mapping[str, Json] = field(factory=dict)
    """The same as JSON Schema; empty where it cannot be said there."""


def limits(validator: Any) -> list[Limit]:
    """Return everything that *validator* demands and that is known by shape."""
    return [limit for leaf in _leaves(validator) if (limit := _limit(leaf))]


def check(value: object, attribute: "attrs.Attribute[Any]") -> None:
    """Run every validator of *attribute* on a value that will be given to it.

    Raises:
        Wrong: some refused; a message of our own for the validators of attrs, whose
            messages show the value, and the validator's message otherwise.
    """
    leaves = _leaves(attribute.validator)
    refused = [text for leaf in leaves if (text := _refusal(leaf, value, attribute))]
    if refused:
        raise Wrong("; ".join(refused))


def _refusal(leaf: Any, value: object, attribute: "attrs.Attribute[Any]") -> str | None:
    try:
        leaf(None, attribute, value)
    except ConfigError as error:  # ours, which tells more than the limit does
        return scrub_known(str(error))
    except (ValueError, TypeError) as error:
        limit = _limit(leaf)
        return f"must {limit.text}" if limit else scrub_known(str(error))
    except Exception:  # noqa: BLE001  # no object yet, where it looks at the other options
        return None  # the constructor asks it again
    return None


def _leaves(validator: Any) -> Iterator[Any]:
    if isinstance(validator, _ALL_OF):
        for each in validator._validators:  # noqa: SLF001  # the only way in
            yield from _leaves(each)
    elif isinstance(validator, _OPTIONAL):
        yield from _leaves(validator.validator)
    elif validator is not None:
        yield validator


def _limit(leaf: Any) -> Limit | None:
    describe = _DESCRIBED.get(type(leaf))
    return describe(leaf) if describe else None


def _compared(leaf: Any) -> Limit:
    words, keyword = _COMPARISONS[leaf.compare_op]
    schema = {keyword: leaf.bound} if isinstance(leaf.bound, int | float) else {}
    return Limit(f"be {words} {toml(leaf.bound)}", schema)


def _one_of(leaf: Any) -> Limit:
    options = list(leaf.options)
    return Limit(f"be one of {', '.join(map(toml, options))}", {"enum": options})


def _shortest(leaf: Any) -> Limit:
    text = "not be empty" if leaf.min_length == 1 else f"have {leaf.min_length} or more"
    return Limit(text, _lengths("min", leaf.min_length))


def _longest(leaf: Any) -> Limit:
    return Limit(f"have {leaf.max_length} or fewer", _lengths("max", leaf.max_length))


def _lengths(bound: str, length: int) -> dict[str, Json]:
    return {f"{bound}{what}": length for what in ("Length", "Items", "Properties")}


def _matching(leaf: Any) -> Limit:
    pattern = leaf.pattern.pattern
    whole = leaf.match_func.__name__ != "search"
    return Limit(f"match {pattern}", {"pattern": f"^(?:{pattern})$" if whole else pattern})


def _url(leaf: ValidUrl) -> Limit:
    pattern = r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]"
    return Limit("be an http or https URL", {"pattern": pattern + ("" if leaf.query else "[^?]*$")})


def _each(leaf: Any) -> Limit | None:
    inside = limits(leaf.member_validator)
    schema = {key: value for limit in inside for key, value in limit.schema.items()}
    text = " and ".join(limit.text for limit in inside)
    return Limit(f"have items that each must {text}", {"items": schema}) if inside else None


_DESCRIBED: Mapping[type, Callable[[Any], Limit | None]] = {
    _COMPARED: _compared,
    _ONE_OF: _one_of,
    _MIN_LEN: _shortest,
    _MAX_LEN: _longest,
    _MATCHES: _matching,
    _EACH: _each,
    ValidUrl: _url,
}
