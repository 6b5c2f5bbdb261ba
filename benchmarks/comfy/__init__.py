"""A real ComfyUI for the tests and the demo: installed, started and talked to over HTTP."""

import os

# The host is on this machine, which no proxy knows. The small letters are read first, and then no others.
os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"),
                                                "127.0.0.1,localhost")))
