"""Questions about a method's sampler: cost, generators, independence of clips, shape."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.api import ClipSpec
from harness.conformance.bench import PROMPTS, SPEC, Bench
from harness.conformance.randomness import own_generators, scramble, torch_draws, undrawn
from harness.conformance.report import ONE_FRAME, NotApplicable, Question, demand, works_or_refuses
from harness.counted import Counted

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CLOSE, ALONE = 1e-4, 1e-2  # of the latents' standard deviation; another batch size sums in another order
ADVICE = "draw a clip's noise from its own generator of the list it is given"
OTHER = ClipSpec(frames=9, height=48, width=32)


@dataclass(frozen=True)
class Order:
    """What a sampler is asked for: a seed of noise, a prompt and a generator's seed for each clip."""

    noise: Sequence[int] = (11, 12, 13)
    prompts: Sequence[str] = PROMPTS
    sources: Sequence[int] = (21, 22, 23)
    spec: ClipSpec = SPEC
    device: str = "cpu"


@dataclass(frozen=True)
class Sampled:
    """What came of an order."""

    latents: Tensor
    evaluations: int
    nfe: int
    drew: list[bool]  # whether a clip's generator has moved
    foreign: list[str]  # generators that the sampler was not given


def sample(bench: Bench, order: Order, seed: int | None = None) -> Sampled:
    """One call of a fresh method's sampler; with `seed`, from that state of the global generators, which must stay."""
    import torch

    trial = bench.sampling(spec=order.spec, device=order.device)
    model: Any = Counted(trial.roles["student"], trial.count)
    shape = model.latent_shape(order.spec)
    noise = torch.stack([torch.randn(shape, generator=_generator(seed)) for seed in order.noise]).to(order.device)
    sources = [_generator(seed) for seed in order.sources]
    fresh = [bytes(source.get_state().numpy()) for source in sources]
    with torch.no_grad():
        cond = model.encode_text(list(order.prompts))
        scramble(seed or 0)
        watch = undrawn("the sampler", ADVICE) if seed is not None else nullcontext()
        with own_generators() as made, torch_draws(sources) as strange, watch:
            sampler = trial.method.sampler()
            latents = sampler(model, noise, cond, sources)
    drew = [bytes(source.get_state().numpy()) != state for source, state in zip(sources, fresh, strict=True)]
    demand(isinstance(latents, torch.Tensor), f"the sampler returns {type(latents).__name__}, not latents")
    demand(
        latents.shape == (len(order.noise), *shape),
        f"the sampler returns latents {list(latents.shape)} for noise {[len(order.noise), *shape]}: clips of "
        f"{order.spec.frames} frames, {order.spec.height} x {order.spec.width}",
    )
    return Sampled(latents, trial.count.clips, sampler.nfe, drew, [*made, *strange])


def _generator(seed: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed)


def clip_spec(bench: Bench) -> str:
    """Shape and finite values at two clip specs, and clips of one frame or a refusal."""
    import torch

    for spec in (SPEC, OTHER):
        latents = sample(bench, Order(spec=spec)).latents
        size = f"{spec.frames} frames, {spec.height} x {spec.width}"
        demand(latents.is_floating_point(), f"the sampler returns {latents.dtype}")
        demand(bool(torch.isfinite(latents).all()), f"the sampler returns values that are not finite ({size})")
    single = Order(spec=ClipSpec(frames=1, height=32, width=32))
    return f"right shapes; {works_or_refuses(lambda: sample(bench, single), ONE_FRAME)}"


def evaluations(bench: Bench) -> str:
    """What nfe says is what the networks are asked."""
    done = sample(bench, Order())
    clips = len(Order().noise)
    demand(
        done.evaluations == done.nfe * clips,
        f"the sampler says nfe = {done.nfe}, but its network answers {done.evaluations / clips:g} times a clip",
    )
    promised = bench.kind.nfe(bench.config, bench.services.generate)
    demand(promised is None or promised == done.nfe, f"nfe() promises {promised}, the sampler says nfe = {done.nfe}")
    return f"{done.nfe} a clip"


def generators(bench: Bench) -> str:
    """The only randomness is that of the generators it is given, one a clip."""
    one, two = (sample(bench, Order(), seed) for seed in (1, 2))
    demand(
        not one.foreign,
        f"the sampler ignores its generators and draws from one of its own ({', '.join(sorted(set(one.foreign)))}); "
        + ADVICE,
    )
    demand(
        one.latents.equal(two.latents),
        "the same noise, prompts and generators give other latents the second time; draw further noise from the "
        "generators alone, and keep nothing between calls",
    )
    if not any(one.drew):
        return "deterministic: it draws no further noise"
    demand(all(one.drew), f"it draws from {sum(one.drew)} of {len(one.drew)} generators; each clip has its own")
    other = sample(bench, Order(sources=(31, 32, 33)))
    same = [i for i in range(len(one.drew)) if one.latents[i].equal(other.latents[i])]
    demand(not same, f"it draws from its generators, but clip {same[:1]} is the same with another one")
    return "same generators, same latents; others, others"


def batch_mates(bench: Bench) -> str:
    """A clip's latents are a function of its own noise, prompt and generator."""
    whole = sample(bench, Order()).latents
    scale = float(whole.std()) or 1.0
    mates = sample(bench, Order((11, 92, 93), (PROMPTS[0], "another", "and one more"), (21, 82, 83))).latents
    off = float((mates[0] - whole[0]).abs().max()) / scale
    demand(
        off <= CLOSE,
        f"the first clip changes by {off:.2g} standard deviations when the others of its batch are replaced; a clip "
        "may depend on its own noise, prompt and generator only",
    )
    last = len(PROMPTS) - 1
    alone = sample(bench, Order((13,), (PROMPTS[last],), (23,))).latents
    off = float((alone[0] - whole[last]).abs().max()) / scale
    demand(
        off <= ALONE,
        f"the last clip sampled alone is off by {off:.2g} standard deviations; each clip has a generator of its own",
    )
    return f"alone or with other clips, the same to {max(off, 1e-9):.0e} of its spread"


def on_the_gpu(bench: Bench) -> str:
    import torch

    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    host, device = (sample(bench, Order(device=name)).latents.float().cpu() for name in ("cpu", "cuda"))
    off = float((host - device).abs().max() / host.std())
    demand(off <= 0.1, f"latents of the GPU are off by {off:.2g} standard deviations from the CPU's")
    return f"the CPU's latents to {off:.0e} of their spread"


QUESTIONS = (
    Question("clip spec", clip_spec, after=("declaration",)),
    Question("network evaluations", evaluations, after=("declaration", "clip spec")),
    Question("generators", generators, after=("declaration", "clip spec")),
    Question("batch mates", batch_mates, after=("declaration", "clip spec", "generators")),
    Question("sampler on a GPU", on_the_gpu, after=("declaration", "clip spec")),
)
