"""What a supervised row computes, line by line, and the lines that other trainers share with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.api import Term, term_of
from methods.supervised.sampler import SamplerOptions

if TYPE_CHECKING:
    from methods.supervised.guests import GuestOptions

NOISED = "x_t = alpha(t) x0 + sigma(t) eps, eps ~ N(0, I)"
RENOISED = "x0 = x0_hat(x, t_k), x = alpha(t_k+1) x0 + sigma(t_k+1) eps, ...; the last x0"
MULTISTEP_CM = "consistency models, multistep sampling"


def lines(config: Any) -> Sequence[Term]:
    """Of a `SupervisedOptions`."""
    return (
        term_of("rows", "retention", config.retention),
        Term("caption", "the null condition with probability p_drop", options={"p_drop": config.p_drop}),
        term_of("time", "time_law", config.time_law),
        Term("input", NOISED),
        Term("error", "e = (native_hat(x_t, t, c) - native)^2, native as the backbone predicts: flow, v or eps"),
        term_of("weight", "element_weight", config.element_weight),
        Term("loss", "L = mean(w e)"),
        sampled(config.sampler),
    )


def sampled(options: SamplerOptions) -> Term:
    """How a denoiser is sampled; what a row leaves open is the suite's."""
    settings = options.model_dump(mode="json", exclude_none=True, exclude={"name"})
    if options.name == "renoise":
        return Term("sampling", f"{RENOISED}; x0_hat guided", MULTISTEP_CM, "sampler renoise", settings)
    formula = "x <- alpha(s) x0_hat + sigma(s) eps_hat along the grid, both guided"
    return Term("sampling", formula, "DDIM (eta = 0), Euler for flows", "sampler multistep", settings)


def invited(config: GuestOptions, acts: Mapping[str, str]) -> dict[str, Term]:
    """Lines of the guests a row names, by kind; `acts` says where each acts."""
    return {kind: term_of(acts[kind], kind, spec) for kind, spec in config.invited.items()}


def those(found: Mapping[str, Term], *kinds: str) -> tuple[Term, ...]:
    """The lines of these kinds that are there, in this order."""
    return tuple(found[kind] for kind in kinds if kind in found)
