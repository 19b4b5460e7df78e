"""What a method is handed while it is examined: the real things, behind faces that note what it did not declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from harness import registry
from harness.api import Needs
from harness.conformance.report import Fault

EMBED_CAPS = {"guidance": "guidance_embed", "motion": "motion_embed"}


class Undeclared(KeyError):  # noqa: N818
    """Raised at the method that touches what it did not declare."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass
class Watch:
    """Notes of what was touched without being declared."""

    needs: Needs
    notes: list[str] = field(default_factory=list)

    def refuse(self, what: str) -> Undeclared:
        self.notes.append(what)
        return Undeclared(what)

    def demand(self) -> None:
        """Fault with the first note, also if the method swallowed the exception."""
        if self.notes:
            raise Fault(self.notes[0])

    def scores(self, columns: Mapping[str, Any], of: str) -> Mapping[str, Any]:
        words = f'{of} column "{{}}", which needs().scores does not list'
        return Declared(columns, self.needs.scores, self, words, probing=False)

    def extras(self, extras: Mapping[str, Any]) -> Mapping[str, Any]:
        return Declared(extras, extras, self, 'reads batch.extras["{}"], which no stage of needs().stages computes')

    def roles(self, roles: Mapping[str, Any]) -> Mapping[str, Any]:
        words = 'uses the role "{}", which needs() does not list among its roles'
        return Declared(roles, {*roles, *self.needs.roles}, self, words)

    def network(self, role: Any) -> Any:
        """A backbone with its optional abilities watched; what is no backbone as it is."""
        return WatchedBackbone(role, self) if hasattr(role, "predict") else role

    def rewards(self) -> AbstractContextManager[Any]:
        """Inside the block, building a reward part that is not declared is noted."""
        declared, original = {spec["name"] for spec in self.needs.rewards}, registry.find_part

        def find(kind: str, name: str) -> Any:
            part = original(kind, name)
            return part if kind != "reward" or name in declared else _Reward(part, name, self)

        return mock.patch.object(registry, "find_part", find)


class Declared(Mapping[str, Any]):
    """A mapping that refuses what is not declared, whether it is there or not.

    Args:
        probing: asking whether a name is there (`in`, `get`) is fine, because only what is declared ever is.
    """

    def __init__(
        self, inner: Mapping[str, Any], declared: Iterable[str], watch: Watch, words: str, probing: bool = True
    ) -> None:
        self._inner, self._declared, self._watch = inner, frozenset(declared), watch
        self._words, self._probing = words, probing

    def __getitem__(self, name: str) -> Any:
        if name not in self._declared:
            raise self._watch.refuse(self._words.format(name))
        return self._inner[name]

    def __contains__(self, name: object) -> bool:
        if not self._probing and name not in self._declared:
            raise self._watch.refuse(self._words.format(name))
        return name in self._inner

    def get(self, name: str, default: Any = None) -> Any:
        return self._inner[name] if name in self else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)


class WatchedBackbone:
    """A backbone whose optional abilities need a declared cap; otherwise the backbone."""

    def __init__(self, backbone: Any, watch: Watch) -> None:
        self.__dict__.update(backbone=backbone, watch=watch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["backbone"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.backbone, name, value)

    def temporal_attention(self, x: Any, t: Any, cond: Any) -> Any:
        self._ask("temporal_attention", "calls temporal_attention()")
        return self.backbone.temporal_attention(x, t, cond)

    def decode(self, latents: Any) -> Any:
        import torch

        if latents.requires_grad and torch.is_grad_enabled():
            self._ask("decode_grad", "decodes with gradient")
        return self.backbone.decode(latents)

    def clone(self, trainable: bool, embeds: Sequence[str] = ()) -> Any:
        for name in embeds:
            self._ask(EMBED_CAPS.get(name, name), f'clones with the embedding "{name}"')
        copy = self.backbone.clone(trainable, embeds) if embeds else self.backbone.clone(trainable)
        return WatchedBackbone(copy, self.watch)

    def _ask(self, cap: str, what: str) -> None:
        if cap not in self.watch.needs.caps:
            raise self.watch.refuse(f'{what} without the cap "{cap}" in needs().caps')


class _Reward:
    """An undeclared reward part: its options may be looked at, building it is noted."""

    def __init__(self, part: Any, name: str, watch: Watch) -> None:
        self.part, self.name, self.watch = part, name, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.part, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.watch.notes.append(f'builds the reward "{self.name}", which needs().rewards does not list')
        return self.part(*args, **kwargs)
