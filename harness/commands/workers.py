"""`mutoscope workers`: environments of official tools; and what `mutoscope doctor` says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from harness.commands import DONE


def list_workers() -> int:
    """A row for every environment and its extras; then where those are that have been built."""
    from metrics.workers.known import known

    table = Table("environment", "status", "what it is", box=None, header_style="bold", pad_edge=False)
    for name, environment in known().items():
        table.add_row(name, environment.status(), environment.description.about)
        for extra, layer in environment.description.extras.items():
            table.add_row(f"{name} {extra}", environment.status(extra), layer.about)
    console = Console()
    console.print(table)
    for environment in known().values():
        if environment.status() != "missing":
            console.print(f"{environment.name}: {environment.python}", highlight=False, markup=False, soft_wrap=True)
    return DONE


def build_worker(name: str, extras: Sequence[str] = ()) -> int:
    """Build an environment with these extras, showing uv's output; UserError when that fails."""
    from metrics.workers.known import environment

    console = Console()
    found = environment(name)
    found.build(extras, lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True))
    console.print(f"{' + '.join([name, *extras])} is ready in {found.folder}", highlight=False, soft_wrap=True)
    return DONE


def remove_worker(name: str) -> int:
    """Delete an environment, also those of earlier requirements."""
    from metrics.workers.known import environment

    count = environment(name).remove()
    Console().print(f"{name}: {count or 'no'} environment{'' if count == 1 else 's'} removed")
    return DONE


def findings() -> Iterator[tuple[bool | None, str]]:
    """For `mutoscope doctor`; None: not built, which is no fault, as native engines do without."""
    from metrics.workers.known import known

    for name, environment in known().items():
        for extra in ("", *environment.description.extras):
            status, words = environment.status(extra), f"{name} {extra}".strip()
            remedy = f" (mutoscope workers build {words})"
            text = "not built, needed for official engines only" if status == "missing" else status
            state = {"ready": True, "missing": None}.get(status, False)
            yield state, f"worker {words}: {text}{'' if status == 'ready' else remedy}"
