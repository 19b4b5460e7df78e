"""The backbone as it is: the row every comparison should report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from harness.api import Batch, Method, Needs, Options, Sampler, Services, Term, Turn, register_method
from methods.supervised import SamplerOptions, chosen
from methods.supervised.outline import sampled


class BaseOptions(Options):
    """Nothing to train; the row's own sampler settings."""

    sampler: SamplerOptions = SamplerOptions()


@register_method
class Base(Method):
    """The untouched backbone, sampled as it is; nothing is trained."""

    name = "base"
    Config: ClassVar[type[Options]] = BaseOptions
    turns: Sequence[Turn] = ()

    @classmethod
    def needs(cls, config: Any) -> Needs:
        return Needs(fields=())

    def loss(self, role: str, batch: Batch, step: int) -> NoReturn:
        """Never asked for: there are no turns."""
        raise TypeError("base trains nothing and has no loss")

    @classmethod
    def outline(cls, config: Any) -> Sequence[Term]:
        return (sampled(config.sampler),)

    @classmethod
    def nfe(cls, config: Any, generate: Mapping[str, Any]) -> int:
        return chosen(Services({}, 0, generate), config.sampler).nfe

    def sampler(self) -> Sampler:
        return chosen(self.services, self.config.sampler)
