"""What a distribution matching row computes, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api import Term, term_of
from methods.supervised.outline import MULTISTEP_CM, RENOISED, invited, those

ROLLOUTS = {
    "simulate": "x_{t_k} on the student's own path from noise, k uniform; no clip is read",
    "data": "x_{t_k} = alpha x0 + sigma eps of a real clip, k ",
}
ACTS = {"retention": "rows", "time_law": "clip times", "element_weight": "clip weight"}
CODE = "CausVid, causvid/dmd.py"


def lines(config: Any) -> Sequence[Term]:
    """Of a `MatchingOptions`."""
    guests = invited(config, ACTS)
    picked = ("nearest to the law's time" if config.time_law else "uniform") if config.rollout == "data" else ""
    times, guided = {"times": list(config.times)}, {"guidance": config.scale}
    return (
        *those(guests, "retention", "time_law"),
        Term("rollout", ROLLOUTS[config.rollout] + picked, "DMD2", f"rollout {config.rollout}", times),
        Term("student", "x = x0_hat(x_{t_k}, t_k, c)"),
        compared(config),
        Term("gradient", "g = (fake(x_t) - real(x_t)) / mean |x - real|, real guided", CODE, options=guided),
        *(term_of("gradient", "gradient_term", spec) for spec in config.gradient_terms),
        Term("loss", "L = 0.5 mean((x - sg(x - g))^2)", CODE),
        *those(guests, "element_weight"),
        *(term_of("loss", "extra_loss", spec) for spec in config.extra_losses),
        Term("fake score", "mean((native_hat(x_t) - native)^2) on the student's x", CODE),
        Term("updates", "student on steps divisible by ratio, fake score on all", CODE, "", {"ratio": config.ratio}),
        sampled(config),
    )


def compared(config: Any) -> Term:
    """Where scores are compared."""
    if config.score_law:
        return term_of("score times", "time_law", config.score_law)
    names = ("score_shift", "score_min", "score_max")
    options = {name: getattr(config, name) for name in names}
    return Term("score times", "t = clamp(shift(u; score_shift)), u ~ U(0, 1)", CODE, options=options)


def sampled(config: Any) -> Term:
    """S2 on the student's times."""
    chosen = config.sampler
    options = {"times": list((chosen and chosen.times) or config.times)}
    options |= {"stochastic": chosen.stochastic} if chosen else {}
    return Term("sampling", RENOISED, MULTISTEP_CM, "sampler renoise", options)
