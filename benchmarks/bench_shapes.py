"""How fast one core makes captions, clips and ground truth of the embedded world."""

import time
from collections.abc import Callable, Iterable

from harness.api import ClipSpec
from harness.data.shapes import Shapes, ShapesConfig
from harness.data.world import cast, render, scene, truth


def rate(work: Callable[[int], object], items: Iterable[int]) -> float:
    """Calls per second."""
    items = list(items)
    begin = time.perf_counter()
    for item in items:
        work(item)
    return len(items) / (time.perf_counter() - begin)


def main() -> None:
    spec, spoilt = ClipSpec(), Shapes(ShapesConfig(size=1000, preset="set-a"), ClipSpec())
    render(scene(0, 0))
    rows = Shapes(ShapesConfig(size=5000), spec)
    begin = time.perf_counter()
    rows.rows()
    print(f"rows                        {5000 / (time.perf_counter() - begin):8.0f} /s")
    print(f"heldout casts               {rate(lambda i: cast(0, i, 'heldout'), range(2000)):8.0f} /s")
    print(f"scenes                      {rate(lambda i: scene(0, i), range(2000)):8.0f} /s")
    print(f"clips, 17 x 64 x 64         {rate(lambda i: render(scene(0, i), spec), range(500)):8.0f} /s")
    print(f"set-a clips, 17 x 64 x 64   {rate(spoilt.video, range(300)):8.0f} /s")
    large = ClipSpec(frames=33, height=256, width=256)
    print(f"clips, 33 x 256 x 256       {rate(lambda i: render(scene(0, i), large), range(10)):8.1f} /s")
    print(f"truths, 17 x 64 x 64        {rate(lambda i: truth(scene(0, i), spec), range(200)):8.0f} /s")


if __name__ == "__main__":
    main()
