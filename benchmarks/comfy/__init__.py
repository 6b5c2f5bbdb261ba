"""A real ComfyUI for the tests and the demo: installed, started and talked to over HTTP."""
