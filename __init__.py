"""ComfyUI-ART: learned step schedules for ComfyUI's samplers.

ComfyUI loads this file as a custom node. Everything that needs the host is imported
inside the entry point, so that `art_nodes.core` and the tests work without it.
"""

# What the page loads: web/art.js is the only script, all it needs besides are modules (*.mjs).
WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """The pack's extension; called by ComfyUI once at start-up."""
    from .art_nodes.host.dropdown import register_scheduler
    from .art_nodes.host.routes import register_routes
    from .art_nodes.nodes import ARTExtension

    register_routes()
    register_scheduler()
    return ARTExtension()
