"""Starts and stops the real ComfyUI: `with ComfyServer() as server: server.run(workflow)`.

By hand, until Ctrl-C: `python -m benchmarks.comfy.server --port 8188`.
"""

import argparse
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from benchmarks.comfy import install
from benchmarks.comfy.client import Client, HostError, HostInterrupted, Progress

__all__ = ["ComfyServer", "Client", "HostError", "HostInterrupted", "Progress"]

START_SECONDS = 180
STOP_SECONDS = 10
LOG_TAIL = 40  # lines
LAUNCHER = Path(__file__).with_name("launch.py")


class ComfyServer(Client):
    """A ComfyUI process with the pack installed, on a free port of the loopback interface.

    A context manager. Every start refreshes the installed pack. `arguments` are further
    options for main.py; `port` 0 means any free one. The host dies with this process,
    however that ends. Raises HostMissingError when the host is not installed, HostError
    with the end of the log when it does not come up.
    """

    def __init__(self, arguments: tuple[str, ...] = (), port: int = 0, log: Path | None = None):
        self.port = port or _free_port()
        super().__init__(f"http://127.0.0.1:{self.port}")
        self.arguments = tuple(arguments)
        self.log = log or install.HOME / "logs" / f"host-{self.port}.log"
        self.start_seconds = 0.0
        self._process: subprocess.Popen | None = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the host; ValueError when it is not running."""
        if self._process is None:
            raise ValueError("the host must be running; got none; call start()")
        return self._process.pid

    def start(self) -> None:
        """Installs the pack, starts the host and returns once it answers."""
        install.check_installed()
        install.install_pack()
        started = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # The launcher ends the host when this pipe closes, also if we are killed.
            self._process = subprocess.Popen(
                self._command(), cwd=install.tree(), env=_environment(),
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )
        try:
            self._wait_until_serving(started + START_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - started

    def stop(self) -> None:
        """Ends the host and returns when it is gone; harmless when it is not running."""
        self.close()
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()

    def log_tail(self, lines: int = LOG_TAIL) -> str:
        """The last lines of the host's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _command(self) -> list[str]:
        # The data base would lie in the person's own tree otherwise.
        options = ["--port", str(self.port), "--base-directory", str(install.base_directory()),
                   "--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"]
        if "--cpu" not in self.arguments and not install.wants_gpu():
            options.append("--cpu")
        return [install.interpreter(), str(LAUNCHER), str(install.tree()), *options, *self.arguments]

    def _wait_until_serving(self, until: float) -> None:
        while time.monotonic() < until:
            self._check_alive()
            try:
                if requests.get(self.url + "/system_stats", timeout=5).ok:
                    return
            except requests.RequestException:
                time.sleep(0.1)
        text = f"the host must serve within {START_SECONDS} s; it does not; log {self.log}:\n{self.log_tail()}"
        raise HostError(text)

    def _check_alive(self) -> None:
        """Raises HostError with the end of the log when the host has ended on its own."""
        if self._process is not None and (code := self._process.poll()) is not None:
            raise HostError(f"the host ended with exit code {code}; log {self.log}:\n{self.log_tail()}")


def _environment() -> dict[str, str]:
    """The host's environment: no module of this checkout on its path, byte code kept out of all trees.

    OpenMP threads sleep while they wait: when another busy process shares the cores, spinning
    ones make a pass of the demo model a hundred times slower.
    """
    dropped = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {
        "OMP_WAIT_POLICY": "PASSIVE",
        **kept,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPYCACHEPREFIX": str(install.HOME / "pycache"),
        "ART_STOP_WITH_PARENT": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comfy.server", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8188)
    options, others = parser.parse_known_args()
    try:
        with ComfyServer(tuple(others), port=options.port) as server:
            print(f"ComfyUI {install.version()} serves at {server.url} after {server.start_seconds:.1f} s", flush=True)
            print(f"log: {server.log}; Ctrl-C stops it", flush=True)
            server._process.wait()
    except KeyboardInterrupt:
        print("stopped")
    except (HostError, install.HostMissingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
