"""Hidden randomness: the global generators of Python, numpy and torch, and who draws from what."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from harness.conformance.report import Fault

DRAWS = {  # functions of torch that take a generator
    *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "normal", "bernoulli"),
    *("multinomial", "poisson", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "geometric_"),
    *("log_normal_", "cauchy_"),
}


def scramble(seed: int) -> None:
    """Put all three global generators into another state."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:  # a metric need not use it
        sys.modules["torch"].manual_seed(seed)


def states() -> dict[str, Any]:
    """The state of each global generator, comparable with `==`."""
    found: dict[str, Any] = {"Python's random": random.getstate(), "numpy.random": str(np.random.get_state(False))}
    if "torch" in sys.modules:
        found["torch"] = bytes(sys.modules["torch"].get_rng_state().numpy().data)
    return found


@contextmanager
def restored() -> Iterator[None]:
    """Leave the caller's global generators as they were."""
    python, numpy, torch = random.getstate(), np.random.get_state(), None
    if "torch" in sys.modules:
        torch = sys.modules["torch"].get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch is not None:
            sys.modules["torch"].set_rng_state(torch)


@contextmanager
def undrawn(what: str, remedy: str, exempt: Sequence[str] = ()) -> Iterator[None]:
    """Fault if the block draws from, or seeds, a global generator."""
    before = states()
    yield
    changed = [name for name, state in states().items() if name not in exempt and state != before.get(name, state)]
    if changed:
        raise Fault(f"{what} draws from (or seeds) the global generator of {' and '.join(changed)}; {remedy}")


@contextmanager
def own_generators() -> Iterator[list[str]]:
    """Collects generators that are made inside the block by numpy or Python."""
    made: list[str] = []
    original = np.random.default_rng

    def default_rng(*args: Any, **kwargs: Any) -> Any:
        made.append("np.random.default_rng")
        return original(*args, **kwargs)

    class Legacy(np.random.RandomState):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append("np.random.RandomState")
            super().__init__(*args, **kwargs)

    class Python(random.Random):
        def __init__(self, *args: Any) -> None:
            made.append("random.Random")
            super().__init__(*args)

    with (
        mock.patch.object(np.random, "default_rng", default_rng),
        mock.patch.object(np.random, "RandomState", Legacy),
        mock.patch.object(random, "Random", Python),
    ):
        yield made


@contextmanager
def torch_draws(given: Sequence[Any]) -> Iterator[list[str]]:
    """Collects torch's random functions that are called inside the block with a generator that is not of `given`."""
    from torch.overrides import TorchFunctionMode

    found: list[str] = []

    class Watching(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name, source = getattr(func, "__name__", ""), (kwargs or {}).get("generator")
            if name in DRAWS and source is not None and all(source is not one for one in given):
                found.append(f"torch.{name}")
            return func(*args, **(kwargs or {}))

    with Watching():
        yield found
