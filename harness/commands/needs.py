"""The "needs" part of `mutoscope plan`: what a suite asks for, what is there and what is missing."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from harness.requirements import Item, Requirements, RowNeeds, byte_text
from harness.suite import Suite


def show_needs(suite: Suite, needs: Requirements, console: Console) -> None:
    """Things with their state, then a line a row; activations are never estimated."""
    for item in needs.items:
        _show_item(item, console)
    train = suite.train
    console.print(
        f"optimiser  AdamW, lr {train.lr:g}, betas {train.betas[0]:g} {train.betas[1]:g}, {train.steps} steps of "
        f"{train.batch} clips",
        highlight=False,
    )
    table = Table(title=f"{suite.name}: what each row needs", title_justify="left")
    for name in ("row", "roles", "columns", "also", "NFE a clip", "memory to train", "to generate"):
        table.add_column(name, justify="right" if name in {"NFE a clip", "memory to train", "to generate"} else "left")
    for row in needs.rows:
        table.add_row(*_cells(row))
    console.print(table)
    console.print(
        "memory: weights, gradients and AdamW's two moments of the trained roles, the frozen backbone once, text "
        "encoder and codec; activations and reward networks come on top and are not estimated",
        highlight=False,
    )


def _show_item(item: Item, console: Console) -> None:
    state = "[red]missing[/]" if item.problem else "there  "
    note = f"  ({item.note})" if item.note else ""
    console.print(f"{item.kind:<10} {state} ", end="")
    console.print(f"{item.name}{note}", highlight=False, soft_wrap=True, markup=False)
    for line in (item.problem, item.remedy):
        if line:
            console.print(f"           {line}", highlight=False, soft_wrap=True, markup=False)


def _cells(row: RowNeeds) -> list[str]:
    also = [*row.caps, *(f"stage {name}" for name in row.stages), *(f"reward {name}" for name in row.rewards)]
    memory = ["-" if size == 0 else "unknown" if size is None else byte_text(size) for size in row.memory]
    return [
        row.row,
        ", ".join(f"{role} {what}" for role, what in row.roles.items()),
        ", ".join(row.columns) or "-",
        ", ".join(also) or "-",
        str(row.nfe) if row.nfe is not None else "?" if row.roles else "-",
        *memory,
    ]
