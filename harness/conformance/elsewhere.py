"""What a class answers in a fresh process: without what this one has imported, and with other hashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from harness.conformance.report import Fault, NotApplicable

PROGRAM = """
import importlib, json, sys
from harness import registry
module, name, method, config = json.loads(sys.argv[1])
if module.endswith(".py"):
    registry.load_plugin(module)
    module = next(key for key, value in sys.modules.items() if getattr(value, "__file__", None) == module)
kind = getattr(importlib.import_module(module), name)
before = "torch" in sys.modules
answer = getattr(kind, method)(kind.Config.model_validate(config))
print(json.dumps([before, "torch" in sys.modules, answer]))
"""


def asked_elsewhere(kind: Any, method: str, config: Any) -> tuple[bool, bool, Any]:
    """`kind.method(config)` in a new process: (torch was there before, is there after, the JSON-able answer).

    Raises:
        NotApplicable: the class cannot be imported by name there.
        Fault: it could be, and asking it failed.
    """
    module = sys.modules.get(kind.__module__)
    path = getattr(module, "__file__", None) or ""
    if "<locals>" in kind.__qualname__ or kind.__module__ == "__main__" or not path:
        raise NotApplicable(f"{kind.__qualname__} cannot be imported by name in another process")
    where = path if kind.__module__.startswith("mutoscope_plugin_") else kind.__module__
    words = json.dumps([where, kind.__qualname__, method, config.model_dump(mode="json")])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, words], capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise Fault(f"{method}() fails in a fresh process: {lines[-1][:300]}")
    before, after, answer = json.loads(done.stdout.splitlines()[-1])
    return before, after, answer
