"""What `mutoscope doctor` finds of the installation."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

from rich.console import Console

from harness import provenance, registry
from harness.commands import DONE, FAILED
from harness.errors import UserError

OURS = ("harness", "methods", "metrics", "leaderboards")
Finding = tuple[bool | None, str]  # None: not set up, which is a choice
STATES = {True: "[green]ok[/]  ", False: "[red]no[/]  ", None: "[dim]off[/] "}


def examine(plugins: Sequence[str]) -> int:
    """Print every finding; 1 if something stands in the way."""
    for plugin in plugins:
        registry.load_plugin(plugin)
    console = Console()
    sound = True
    for title, findings in (
        ("packages", _versions()),
        ("import names", _shadows()),
        ("devices", _devices()),
        ("plugins and weights", _plugins()),
        ("official implementations", _workers()),
    ):
        console.print(f"[bold]{title}[/]")
        for good, text in findings:
            sound &= good is not False
            console.print(f"  {STATES[good]}", end="")
            console.print(text, highlight=False, soft_wrap=True, markup=False)
    return DONE if sound else FAILED


def _versions() -> Iterator[Finding]:
    for name, version in provenance.versions().items():
        yield version is not None, f"{name} {version or 'is not installed'}"


def _shadows() -> Iterator[Finding]:
    """Our top-level names are common words: another distribution or a folder in the way would be imported instead."""
    home = Path(__file__).resolve().parents[2]
    owners = packages_distributions()
    for name in OURS:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve().parent if spec and spec.origin else None
        others = sorted(set(owners.get(name, ())) - {"mutoscope"})
        if origin != home / name:
            yield False, f"{name} is imported from {origin}, not from {home / name}: move or rename it"
        elif others:
            yield False, f"{name} is also provided by {', '.join(others)}: uninstall one"
        else:
            yield True, f"{name} from {origin}"


def _devices() -> Iterator[Finding]:
    import torch

    facts = provenance.hardware("cpu")
    yield True, f"{facts['cores']} x {facts['cpu']}"
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield True, f"cuda:{index} {torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
    if not torch.cuda.is_available():
        yield True, "no GPU: runs use the CPU"


def _plugins() -> Iterator[Finding]:
    for name in registry.methods.names():
        try:
            registry.methods.get(name)
        except UserError as error:
            yield False, f"method {name}: {error.problem}"
    yield from _metrics()
    for name in registry.backbones.names():
        try:
            kind = registry.backbones.get(name)
            kind.digest(kind.Config())
            yield True, f"backbone {name}, default weights present"
        except UserError as error:
            yield False, f"backbone {name}: {error.problem} {error.remedy}"


def _metrics() -> Iterator[Finding]:
    """Metrics that can run as they are; those that lack something that can be fetched or built are not a fault."""
    from harness.features import fingerprint

    lacking: dict[str, list[str]] = {}
    for name in registry.metrics.names():
        try:
            kind = registry.metrics.get(name)
        except UserError as error:
            yield False, f"metric {name}: {error.problem} {error.remedy}"
            continue
        try:
            fingerprint(kind, kind.Config())  # reads its weights, and those of what it summarises
            yield True, f"metric {name}"
        except UserError as error:
            lacking.setdefault(error.remedy, []).append(name)
    for remedy, names in lacking.items():
        yield None, f"metric {', '.join(names)}: {remedy}"


def _workers() -> Iterator[Finding]:
    """Environments of official implementations."""
    from harness.commands.workers import findings

    yield from findings()
