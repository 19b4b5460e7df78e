"""What every method test starts from: a toy student, services with scores, a batch of random latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from harness.api import Backbone, Batch, Method, Noise, Services
from harness.config import merge, validate
from harness.registry import methods
from tests.toys import ToyBackbone, ToyOptions

TRAINED = ("supervised-uniform", "supervised-logitnormal", "supervised-const2", "data-filter", "tqd", "ltd")
MQ, VQ = (0.8, 0.1, 0.5, 0.3, 1.0, 0.0), (0.2, 0.9, 0.5, 0.3, 0.0, 1.0)  # of six clips


def services(mq: Any = MQ, vq: Any = VQ, **generate: Any) -> Services:
    scores = {"mq": np.array(mq, dtype=np.float64), "vq": np.array(vq, dtype=np.float64)}
    return Services(scores, rows=len(scores["mq"]), generate=generate)


def options(name: str, **settings: Any) -> Any:
    """The method's validated Config: its preset under these settings."""
    cls = methods.get(name)
    return validate(cls.Config, merge(cls.preset, settings), "")


def method(name: str, given: Services | None = None, student: Backbone | None = None, **settings: Any) -> Method:
    """A method by name on a toy student."""
    cls = methods.get(name)
    student = student or ToyBackbone(ToyOptions(), torch.device("cpu"))
    return cls(options(name, **settings), {"student": student}, given or services())


def batch(
    rows: Any,
    given: Services | None = None,
    latent: torch.Tensor | None = None,
    shape: tuple[int, ...] = (3, 4, 2, 2),
    seed: int = 0,
    student: Backbone | None = None,
) -> Batch:
    """The batch of these dataset rows; latents are random in float64 unless given."""
    given, index = given or services(), torch.as_tensor(np.asarray(rows))
    random = torch.Generator().manual_seed(seed)
    if latent is None:
        latent = torch.randn(len(index), *shape, generator=random, dtype=torch.float64)
    prompts = [f"a clip of number {int(row)}" for row in index]
    student = student or ToyBackbone(ToyOptions(), torch.device("cpu"))
    scores: Mapping[str, torch.Tensor] = {k: torch.from_numpy(v[index.numpy()]) for k, v in given.scores.items()}
    noise = Noise(seed, "train", "student", 0, rows=(0, len(index), len(index)))
    return Batch(index, latent, student.encode_text(prompts), prompts, scores, noise)
