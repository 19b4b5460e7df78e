"""What a consistency row computes, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.api import Term, term_of
from methods.supervised.outline import MULTISTEP_CM, NOISED, RENOISED, invited, those

ACTS = {"retention": "rows", "time_law": "time", "element_weight": "weight"}
TARGETS = {"ema": "f_target: an average of the student's weights", "online": "f_target: the student itself"}
DISTANCES = {"huber": ("sqrt(d^2 + c^2) - c", "improved consistency training"), "l2": ("d^2", "LCM")}


def grid_of(config: Any) -> dict[str, Any]:
    """The solver's grid as stages are told it."""
    return {"steps": config.solver_steps, "shift": config.shift}


def lines(config: Any) -> Sequence[Term]:
    """Of a `ConsistencyOptions`."""
    guests = invited(config, ACTS)
    step = "n the solver step whose span holds the law's time" if config.time_law else "n ~ U{1 .. N}"
    w = f"w ~ U{list(config.w_range)}, told to the student" if config.guidance_embed else f"w = {config.w:g}"
    decay = {"ema_decay": config.ema_decay} if config.target == "ema" else {}
    distance, source = DISTANCES[config.distance]
    weighed = f"w ({distance})" if config.element_weight else distance
    loss = f"L = mean({weighed}), d = f(x_t) - sg f_target(z_prev)"
    sampling = {"sample_steps": config.sample_steps, "stochastic": config.stochastic}
    return (
        *those(guests, "retention", "time_law"),
        Term("input", f"{NOISED}, t = t_n, {step}", "LCM", options=grid_of(config)),
        Term("teacher", f"y = y_u + (1 + w) (y_c - y_u), {w}", "LCM, Eq. 16"),
        *(term_of("teacher", "stage", spec) for spec in config.steering.stages(grid_of(config))),
        term_of("teacher", "teacher_guidance", config.guidance),
        Term("target", TARGETS[config.target], "LCM", f"target {config.target}", decay),
        *those(guests, "element_weight"),
        Term("loss", loss, source, f"distance {config.distance}"),
        *(term_of("loss", "extra_loss", spec) for spec in config.extra_losses or ()),
        *rewarded(config),
        Term("sampling", RENOISED, MULTISTEP_CM, "sampler renoise", sampling),
    )


def rewarded(config: Any) -> Sequence[Term]:
    """The rewards and what they add; nothing without any."""
    if not config.rewards:
        return ()
    betas = {"beta_img": config.beta_img, "beta_v": config.beta_v}
    total = Term("loss", "- beta_img mean(sum R_img) - beta_v mean(sum R_v)", "T2V-Turbo-v2", options=betas)
    return (*(term_of("reward", "reward", spec) for spec in config.rewards), total)
