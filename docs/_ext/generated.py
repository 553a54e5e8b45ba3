"""The parts of the documentation that are made from the code.

In a page such a part stands between two comments::

    <!-- generated: connector kapso -->
    …
    <!-- end -->

It stands there for whoever reads the page as it is. ``python docs/_ext/generated.py`` brings all
pages up to date, building the documentation does so too, and a test fails while one is not.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
PARTS = re.compile(r"(<!-- generated: (\S+) ?(\S*) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 96


def main() -> None:
    """Bring every page up to date."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        fresh = refreshed(text)
        if fresh != text:
            page.write_text(fresh, encoding="utf-8")


def pages() -> list[Path]:
    """Return the pages that have generated parts."""
    found = sorted(DOCS.glob("*/*.md"))
    return [page for page in found if PARTS.search(page.read_text(encoding="utf-8"))]


def refreshed(text: str) -> str:
    """Return a page's text with its generated parts made anew."""

    def fresh(part: re.Match[str]) -> str:
        begin, what, which, end = part.groups()
        body = MAKERS[what](which) if which else MAKERS[what]()
        return f"{begin}\n{body.strip()}\n\n{end}"

    return PARTS.sub(fresh, text)


def connector(name: str) -> str:
    """Describe a connector and list its options."""
    from levada.describe import describe

    found = describe(connector_class(name))
    promise = f"\n\nOver a crash it delivers **{found.guarantee}**." if found.guarantee else ""
    rows = [
        (f"`{each.name}`", _takes(each.type, each.limits), _default(each), each.help)
        for each in found.options
    ]
    return f"{found.summary}{promise}\n\n{_table(('Option', 'Takes', 'Default', 'Meaning'), rows)}"


def settings() -> str:
    """List the settings of the ``[pipeline]`` table."""
    from levada.config.limits import limits
    from levada.config.options import options_of
    from levada.config.words import expected, toml
    from levada.setup import Settings

    rows = [
        (
            f"`{name}`",
            _takes(expected(each.type), [one.text for one in limits(each.attribute.validator)]),
            "by the file's name" if name == "state" else f"`{toml(each.default)}`",
            each.help,
        )
        for name, each in options_of(Settings).items()
    ]
    return _table(("Setting", "Takes", "Default", "Meaning"), rows)


def host_keys(role: str) -> str:
    """List the keys that the host keeps for itself in a source's, or a sink's, table."""
    from levada.config import host_keys as host
    from levada.config.words import expected

    keys = host.host_keys("source" if role == "source" else "sink")
    rows = [(f"`{key.name}`", expected(key.type), key.help) for key in keys]
    return _table(("Key", "Takes", "Meaning"), rows)


def commands() -> str:
    """Show the help of every command."""
    import click

    from levada.cli.root import levada

    root = click.Context(levada, info_name="levada", terminal_width=WIDTH)
    shown = [f"```console\n$ levada --help\n{levada.get_help(root)}\n```"]
    for name, command in commands_below(levada, root):
        context = click.Context(command, info_name=name, parent=root, terminal_width=WIDTH)
        text = command.get_help(context)
        shown.append(f"## {name}\n\n```console\n$ levada {name} --help\n{text}\n```")
    return "\n\n".join(re.sub(r"[ \t]+$", "", each, flags=re.MULTILINE) for each in shown)


def exit_codes() -> str:
    """List the exit codes."""
    from levada.cli.exit_codes import ExitCode

    return _table(("Code", "Meaning"), [(f"`{code:d}`", code.meaning) for code in ExitCode])


def errors() -> str:
    """List the error classes."""
    from levada import errors as module

    classes = [each for each in vars(module).values() if inspect.isclass(each)]
    ours = [each for each in classes if issubclass(each, module.LevadaError)]
    rows = [(f"`{each.__name__}`", f"`{_parent(each)}`", _first_line(each)) for each in ours]
    return _table(("Error", "Is a", "Meaning"), rows)


def hooks() -> str:
    """Show the hooks as they are specified."""
    from levada import hookspecs

    shown = []
    for name, hook in vars(hookspecs).items():
        if inspect.isfunction(hook) and hook.__module__ == hookspecs.__name__:
            kind = name.removeprefix("event_").removesuffix("s").title()
            signature = f"def {name}() -> Iterable[type[{kind}]] | None: ..."
            shown.append(f"## {name}\n\n```text\n{signature}\n```\n\n{inspect.getdoc(hook)}")
    return "\n\n".join(shown)


def kinds() -> str:
    """List the shared vocabulary beside each vendor's own."""
    from levada_kapso.kinds import KINDS as KAPSO
    from levada_stevora.kinds import KINDS as STEVORA

    both = sorted({*KAPSO.values(), *STEVORA.values()}, key=_natural)
    rows = [(f"`{kind}`", _types(KAPSO, kind), _types(STEVORA, kind)) for kind in both]
    return _table(("Kind", "Kapso", "Stevora"), rows)


def switches(vendor: str) -> str:
    """List the switches of the sandbox that are one vendor's, or `both`."""
    from levada.sandbox.quirks import Quirks
    from levada.sandbox.switches import switches as all_switches

    shared = {name for name in vars(Quirks) if not name.startswith("_")}
    wanted = vendor if vendor != "both" else "kapso"
    rows = [
        (f"`{each.field}{'=' if each.value else ''}{each.value}`", each.help)
        for each in all_switches()
        if each.vendor == wanted and (each.field in shared) == (vendor == "both")
    ]
    return _table(("Switch", "What it does"), rows)


def connector_class(name: str) -> Any:
    """Return the class of the connector called *name*."""
    from levada.errors import ConfigError
    from levada.plugins import Registry

    registry = Registry()
    try:
        return registry.source(name)
    except ConfigError:
        return registry.sink(name)


def commands_below(group: Any, context: Any, above: str = "") -> Iterable[tuple[str, Any]]:
    """Yield every command below *group* with the words that call it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{above}{name}", command
        if hasattr(command, "list_commands"):
            yield from commands_below(command, context, f"{above}{name} ")


MAKERS: Mapping[str, Callable[..., str]] = {
    "connector": connector,
    "settings": settings,
    "host-keys": host_keys,
    "commands": commands,
    "exit-codes": exit_codes,
    "errors": errors,
    "hooks": hooks,
    "kinds": kinds,
    "switches": switches,
}


def _takes(kind: str, limits: Iterable[str]) -> str:
    return ", must ".join((kind, *limits))


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.env:
        return f"`${option.env}`"
    return f"`{option.default}`" if option.default is not None else "none"


def _parent(cls: type) -> str:
    return cls.__mro__[1].__name__


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").splitlines()[0]


def _types(kinds: Mapping[str, str], wanted: str) -> str:
    return ", ".join(f"`{name}`" for name, kind in kinds.items() if kind == wanted)


def _natural(kind: str) -> tuple[int, str]:
    """Sort runs first, then steps, then the rest by name."""
    order = ("run", "step")
    entity = kind.partition(".")[0]
    return (order.index(entity) if entity in order else len(order), kind)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


if __name__ == "__main__":
    main()
