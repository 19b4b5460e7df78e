"""Questions about a backbone's answers: schedule, kinds of prediction, regression target, independence of clips."""

from __future__ import annotations

from harness.api import convert, guide
from harness.backbones.base import spread
from harness.conformance.loading import MATES, TIMES, BackboneBench, near
from harness.conformance.randomness import scramble, undrawn
from harness.conformance.report import Question, demand


def schedule(bench: BackboneBench) -> str:
    import torch

    law, t = bench.model.schedule, torch.linspace(0.01, 0.99, 25, dtype=torch.float64)
    alpha, sigma = (torch.as_tensor(f(t), dtype=torch.float64) for f in (law.alpha, law.sigma))
    demand(float(alpha[0]) > 0.9 > 0.3 > float(sigma[0]), "t = 0 is data: alpha near 1, sigma near 0 are expected")
    demand(float(alpha[-1]) < 0.3 and float(sigma[-1]) > 0.9, "t = 1 is noise: alpha near 0, sigma near 1 are expected")
    demand(bool((alpha.diff() <= 0).all() and (sigma.diff() >= 0).all()), "alpha must fall and sigma rise with t")
    x0, eps = bench.draw(2).double(), bench.draw(3).double()
    at = spread(bench.t(), x0)
    off = near(law.alpha(at) * x0 + law.sigma(at) * eps, law.add_noise(x0, eps, at))
    demand(off <= 1, "add_noise is not alpha x0 + sigma eps")
    return "from data at t = 0 to noise at t = 1"


def predictions(bench: BackboneBench) -> str:
    """x0, eps, flow and v are of the same point."""
    model, x = bench.model, bench.draw(1)
    at = spread(bench.t(), x.double())
    alpha, sigma = (f(at).to(x) for f in (model.schedule.alpha, model.schedule.sigma))
    x0, eps, flow, v, native = (bench.ask(want) for want in ("x0", "eps", "flow", "v", "native"))
    for want, found in {"x0": x0, "eps": eps, "flow": flow, "v": v}.items():
        demand(found.shape == x.shape, f'predict(want="{want}") has shape {list(found.shape)} for {list(x.shape)}')
    demand(near(x, alpha * x0 + sigma * eps) <= 1, "alpha x0 + sigma eps is not the x it was asked about")
    demand(near(flow, eps - x0) <= 1, "flow is not eps - x0")
    demand(near(v, alpha * eps - sigma * x0) <= 1, "v is not alpha eps - sigma x0")
    own = {"x0": x0, "eps": eps, "flow": flow, "v": v}[model.native]
    demand(near(own, native) <= 1, f'predict(want="native") is not its {model.native}')
    scaled = guide(native, bench.ask(), 3.0)
    demand(near(native, scaled) <= 1, "guiding an answer with itself changes it")
    return f"x0, eps, flow and v agree at t = {', '.join(map(str, TIMES))}"


def targets(bench: BackboneBench) -> str:
    """The regression target says exactly x0 and eps at the noised point."""
    model, x0, eps = bench.model, bench.draw(2), bench.draw(3)
    at = spread(bench.t(), x0.double())
    x = model.schedule.add_noise(x0.double(), eps.double(), at)
    target = model.target(x0, eps, bench.t()).double()
    demand(target.shape == x0.shape, f"target has shape {list(target.shape)} for {list(x0.shape)}")
    for want, truth in {"x0": x0, "eps": eps}.items():
        found = convert(target, x, at, model.schedule, model.native, want)
        demand(near(truth.double(), found) <= 10, f"target() does not say {want}: it is not the native {model.native}")
    return f"target() is the {model.native} of the noised point"


def independence(bench: BackboneBench) -> str:
    """An answer is a function of its own clip, the same every time, and draws nothing."""
    import torch

    first = bench.ask()
    scramble(1)
    with undrawn("predict()", "a frozen network in evaluation mode draws nothing"):
        again = bench.ask()
    demand(bool(torch.equal(first, again)), "predict() answers differently the second time")
    x, cond = bench.draw(1), bench.cond.clone()
    x[1:], cond[1:] = bench.draw(8)[1:], bench.cond[1:].flip(-1)
    given = x.clone()
    with torch.no_grad():
        other = bench.model.predict(x, bench.t(), cond, "native")
        alone = bench.model.predict(x[:1], bench.t()[:1], cond[:1], "native")
    demand(bool(torch.equal(x, given)), "predict() changes its input latents in place")
    demand(near(first[0], other[0], MATES) <= 1, "the first clip's answer changes with the others of its batch")
    demand(near(first[0], alone[0], 10 * MATES) <= 1, "a clip's answer is another one alone than in a batch")
    return "a clip's answer is its own, and the same every time"


QUESTIONS = (
    Question("schedule", schedule, after=("load",)),
    Question("independence", independence, after=("text",)),
    Question("predictions", predictions, after=("schedule", "independence")),
    Question("target", targets, after=("schedule",)),
)
