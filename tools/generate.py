"""Writes what is generated from the code: ``make generate``. ``tests/docs/test_generated.py`` checks that nothing is stale.

* ``deploy/crds``: CustomResourceDefinitions from the types.
* ``src/kuttab/rpc/gen``: the gRPC contract from its proto file.
* ``docs/reference``: commands, algorithms with their settings, fields, errors.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def files() -> dict[str, str]:
    """Every generated file: path below the project's root to its text."""
    from kuttab.api import crd
    from kuttab.rpc import generate

    found = {f"deploy/crds/{name}": text for name, text in crd.files().items()}
    found[str(generate.TARGET.relative_to(ROOT))] = generate.text()
    found["docs/reference/commands.md"] = commands()
    found["docs/reference/algorithms.md"] = algorithms()
    found["docs/reference/fields.md"] = fields()
    found["docs/reference/errors.md"] = errors()
    return found


def commands() -> str:
    """The command line, from the help texts."""
    import typer.main

    from kuttab.cli import main

    root: Any = typer.main.get_command(main.app)
    lines = ["# Commands", "", "Made from the help texts by `make generate`.", ""]
    for name in sorted(root.commands):
        lines += _command(name, root.commands[name])
    lines += [
        "## Exit codes",
        "",
        "0 ok, 1 the experiment failed, 2 bad input, 130 interrupted with everything kept. `--debug` before the command shows tracebacks.",
        "",
    ]
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:
    context = command.make_context(f"kuttab {name}", [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## kuttab {name}", "", "```", f"kuttab {name} {usage}", "```", "", _flat(command.help or ""), "")
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in record[0]:
            rows.append(record)
    if rows:
        yield from ("| | |", "|---|---|")
        yield from (f"| `{_flat(left).replace('|', '/')}` | {_flat(right).replace('|', '/')} |" for left, right in rows)
        yield ""
    if command.epilog:
        yield from (_flat(command.epilog).replace("Example: ", "Example: `", 1) + "`", "")


def algorithms() -> str:
    """Search algorithms and early-stopping rules with their settings."""
    from kuttab.algorithms import registry
    from kuttab.algorithms.stopping import rule

    lines = [
        "# Algorithms and their settings",
        "",
        "Made from the code by `make generate`; `kuttab algorithms NAME` prints the same.",
        "",
    ]
    groups: list[tuple[str, Any, Any]] = [
        ("Search: `spec.algorithm`", registry.summaries(), registry.load),
        ("Early stopping: `spec.earlyStopping`", rule.summaries(), rule.load),
    ]
    for title, summaries, load in groups:
        lines += [f"## {title}", ""]
        for name, summary in summaries:
            lines += [f"### {name}", "", summary, ""]
            entries = load(name).Settings.describe()
            if entries:
                lines += ["| setting | type | default | range | |", "|---|---|---|---|---|"]
            for entry in entries:
                default = "required" if entry.required else entry.default
                also = f" Also spelled {', '.join(entry.aliases)}." if entry.aliases else ""
                cells = (f"`{entry.name}`", entry.type, default, entry.range, entry.help + also)
                lines.append("| " + " | ".join(_flat(str(cell)).replace("|", "/") for cell in cells) + " |")
            if entries:
                lines.append("")
    return "\n".join(lines)


def fields() -> str:
    """Every field of the kinds, from their schemas."""
    from kuttab.api import crd

    lines = [
        "# Fields",
        "",
        "Made from the types by `make generate`. Kubernetes' own types inside a trial's manifest are not listed.",
        "",
    ]
    for kind in crd.KINDS:
        lines += [f"## {kind.kind}", "", "| field | type | |", "|---|---|---|"]
        lines += [
            f"| `{path}` | {node.get('type', 'int or string')} | {_flat(node.get('description', '')).replace('|', '/')} |"
            for path, node in _nodes(crd.schema(kind))
            if path and not path.startswith(("apiVersion", "kind", "metadata"))
        ]
        lines.append("")
    return "\n".join(lines)


def _nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, node
        yield from _nodes(node, here)
    if isinstance(schema.get("items"), dict):
        yield from _nodes(schema["items"], f"{path}[]")


def errors() -> str:
    """The error tree with codes."""
    from kuttab.base import errors as tree

    lines = [
        "# Errors", "", "Made from `kuttab.base.errors` by `make generate`. Each front door shows the same error in its own way.", "",
        "| error | reason | HTTP | gRPC | worth another try | |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, cls in sorted(vars(tree).items()):
        if inspect.isclass(cls) and issubclass(cls, tree.KuttabError):
            first = (inspect.getdoc(cls) or "").splitlines()[0]
            retry = "no" if cls.permanent else "yes"
            lines.append(f"| {name} | {cls.reason} | {cls.http_code} | {cls.grpc_code} | {retry} | {_flat(first)} |")
    return "\n".join([*lines, ""])


def _flat(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    """Write all of them."""
    for name, text in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    main()
