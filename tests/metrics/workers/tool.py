"""A worker script that misbehaves on request."""

import os
import subprocess
import sys
import time
import urllib.request

PACKAGES = ()


def start(arguments):
    print("loading", arguments, flush=True)
    if arguments.get("die"):
        raise RuntimeError("no such weights")
    return answer


def answer(request):
    do = request["do"]
    if do == "add":
        return {"sum": request["a"] + request["b"]}
    if do == "environment":
        return {"variables": dict(os.environ), "folder": os.getcwd(), "path": sys.path}
    if do == "raise":
        raise ValueError("this clip is not to my taste\nsecond line")
    if do == "crash":
        print("last words", file=sys.stderr)
        os._exit(7)
    if do == "segfault":
        os.kill(os.getpid(), 11)
    if do == "hang":
        time.sleep(600)
    if do == "nan":
        return {"value": float("nan")}
    if do == "print":
        print("this would break the protocol", flush=True)
        os.system("echo so would this")
        return {"sum": 0}
    if do == "shout":
        for _ in range(200):
            sys.stderr.write("x" * 100_000 + "\n")
        return {"sum": 0}
    if do == "wget":
        subprocess.run(["wget", "https://example.org/weights.pth"], check=True)
    if do == "connect":
        urllib.request.urlopen("http://127.0.0.1:9/weights.pth")
    if do == "run":
        return {"said": subprocess.run(["echo", "here"], capture_output=True, text=True).stdout}
    if do == "child":
        return {"pid": subprocess.Popen(["sleep", "600"]).pid}
    raise AssertionError(do)
