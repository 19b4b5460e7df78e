"""Does a backbone keep the promises of `harness.api.Backbone`?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import registry
from harness.api import Backbone, UserError
from harness.conformance import abilities, predicting
from harness.conformance.elsewhere import asked_elsewhere
from harness.conformance.loading import MATES, TEXTS, BackboneBench, near
from harness.conformance.randomness import restored
from harness.conformance.report import (
    ONE_FRAME,
    NotApplicable,
    Question,
    Report,
    demand,
    described,
    examine,
    works_or_refuses,
)

if TYPE_CHECKING:
    import torch

KNOWN_CAPS = {"decode_grad", "temporal_attention", "guidance_embed", "motion_embed"}


# ---- declarations ----------------------------------------------------------------------------------------------


def declaration(bench: BackboneBench) -> str:
    described(bench.kind, Backbone)
    unknown = set(bench.kind.capabilities(bench.config)) - KNOWN_CAPS
    demand(not unknown, f"capabilities() names {sorted(unknown)}; known are {sorted(KNOWN_CAPS)}")
    return f"caps {', '.join(sorted(bench.kind.capabilities(bench.config))) or 'none'}"


def loaded(bench: BackboneBench) -> str:
    import torch

    model, said = bench.model, bench.kind.capabilities(bench.config)
    demand(isinstance(model.net, torch.nn.Module), f"net is a {type(model.net).__name__}, not a torch module")
    demand(model.native in {"flow", "v", "eps", "x0"}, f"native is {model.native!r}; flow, v, eps or x0")
    demand(
        frozenset(model.caps) == frozenset(said),
        f"capabilities() promises {sorted(said)}, the loaded backbone has {sorted(model.caps)}",
    )
    count = sum(p.numel() for p in model.net.parameters())
    return f"{count:,} parameters, predicts {model.native}"


def digests(bench: BackboneBench) -> str:
    """The same hex every time and in another process, without torch."""
    first, second = (bench.kind.digest(bench.config) for _ in range(2))
    hexadecimal = isinstance(first, str) and len(first) >= 8 and set(first) <= set("0123456789abcdef")
    demand(hexadecimal, f"digest() is {first!r}; hex digits are expected")
    demand(first == second, "digest() answers differently when it is asked again")
    early, late, elsewhere = asked_elsewhere(bench.kind, "digest", bench.config)
    demand(elsewhere == first, "digest() is another one in another process; nothing may enter but config and files")
    demand(early or not late, "digest() imports torch; plan and list ask for it and must stay quick")
    return f"{first[:12]}, in another process too" + ("; its module imports torch itself" if early else "")


# ---- text and pixels -------------------------------------------------------------------------------------------


def texts(bench: BackboneBench) -> str:
    import torch

    model, cond = bench.model, bench.cond
    demand(cond.ndim == 3 and len(cond) == len(TEXTS), f"encode_text gives {list(cond.shape)}; [B, L, D] is expected")
    alone = model.encode_text([TEXTS[0]])
    demand(
        alone.shape[1:] == cond.shape[1:], f"a text alone has shape {list(alone.shape[1:])}, not {list(cond.shape[1:])}"
    )
    demand(near(cond[0], alone[0], MATES * 10) <= 1, "a text is encoded differently beside others")
    demand(bool(torch.equal(cond, model.encode_text(list(TEXTS)))), "encode_text answers differently the second time")
    null = model.null_cond(2)
    demand(null.shape == (2, *cond.shape[1:]), f"null_cond(2) has shape {list(null.shape)}, texts {list(cond.shape)}")
    demand(bool(torch.equal(null[0], null[1])), "the rows of null_cond differ")
    demand(bool(torch.equal(null[:1], model.null_cond(1))), "null_cond depends on how many are asked for")
    demand(
        not torch.equal(null[0], cond[0]), "a caption is encoded as the null condition is: guidance would do nothing"
    )
    return f"[B, {cond.shape[1]}, {cond.shape[2]}]"


def codec(bench: BackboneBench) -> str:
    import torch

    model, spec = bench.model, bench.spec
    random = torch.Generator().manual_seed(4)
    video = torch.rand(2, 3, spec.frames, spec.height, spec.width, generator=random) * 2 - 1
    with torch.no_grad():
        latents = model.encode(video.to(bench.like.device))
        pixels = model.decode(latents)
    shape = (2, *model.latent_shape(spec))
    demand(latents.shape == shape, f"encode gives {list(latents.shape)}, latent_shape says {list(shape)}")
    demand(pixels.shape == video.shape, f"decode gives {list(pixels.shape)} for clips of {list(video.shape)}")
    for name, found in {"encode": latents, "decode": pixels}.items():
        demand(bool(torch.isfinite(found).all()), f"{name} gives values that are not finite")
    with torch.no_grad():
        again = model.encode(video.to(bench.like.device))
    demand(near(latents, again, MATES) <= 1, "encode answers differently the second time; use the posterior's mode")
    return f"{list(video.shape[1:])} to {list(latents.shape[1:])} and back"


def one_frame(bench: BackboneBench) -> str:
    import torch

    spec = bench.spec.model_copy(update={"frames": 1})
    video = torch.zeros(1, 3, 1, spec.height, spec.width).to(bench.like.device)

    def there_and_back() -> None:
        shape = bench.model.latent_shape(spec)
        with torch.no_grad():
            latents = bench.model.encode(video)
            pixels = bench.model.decode(latents)
        found = list(latents.shape[1:])
        demand(found == list(shape), f"encode gives {found}, latent_shape says {list(shape)}")
        demand(pixels.shape[2] == 1, f"decode gives {pixels.shape[2]} frames")

    return works_or_refuses(there_and_back, ONE_FRAME)


def on_the_gpu(bench: BackboneBench) -> str:
    import torch

    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    device: torch.device = torch.device("cuda")
    model = bench.kind.load(bench.config, device)
    with torch.no_grad():
        found = model.predict(bench.draw(1).to(device), bench.t(), bench.cond.to(device), "native").cpu()
    off = near(bench.ask(), found, 0.05)
    demand(off <= 1, f"the GPU's answer is off by {0.05 * off:.2g} standard deviations from the CPU's")
    return f"the CPU's answer to {0.05 * off:.0e} of its spread"


QUESTIONS = (
    Question("declaration", declaration),
    Question("load", loaded, after=("declaration",)),
    Question("digest", digests, after=("declaration",)),
    Question("text", texts, after=("load",)),
    Question("codec", codec, after=("load",)),
    Question("one frame", one_frame, after=("codec",)),
    *predicting.QUESTIONS,
    *abilities.QUESTIONS,
    Question("GPU", on_the_gpu, after=("predictions",)),
)


def examine_backbone(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """Everything that can be asked about a backbone, on clips as small as it takes.

    Args:
        kind: the class; it is registered under its name if it is not yet.
        settings: its options, e.g. where the weights are.

    Raises:
        UserError: the settings are wrong, or weights are not here.
    """
    registry.backbones.register(kind)
    with restored():
        bench = BackboneBench(kind, settings or {})
        weights = kind.weights(bench.config)
        if weights is not None and weights.problem:
            raise UserError(weights.problem, weights.remedy)
        return examine("backbone", kind.name, bench, QUESTIONS)


def check_backbone(kind: Any, settings: Mapping[str, Any] | None = None) -> Report:
    """`examine_backbone`, for a plugin's own tests: raises one AssertionError that lists every failed check."""
    return examine_backbone(kind, settings).demand()
