"""Talks to a running ComfyUI over HTTP and its websocket."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import requests
import websocket

Workflow = dict  # API format: {node id: {"class_type": ..., "inputs": {...}}}
EventHandler = Callable[[str, dict], None]
REQUEST_SECONDS = 60
LAST_EVENT_SECONDS = 2.0  # how long the last event may come after the outputs


class HostError(RuntimeError):
    """A workflow failed in the host, or the host itself did.

    `node_type` is the host's own word and None where the host names no node, as for a workflow that it refuses.
    """

    def __init__(self, text: str, node_type: str | None = None):
        super().__init__(text)
        self.node_type = node_type


class HostInterrupted(HostError):
    """The workflow was stopped by an interrupt."""


@dataclass(frozen=True)
class Progress:
    """One step of a node's progress bar."""

    node: str
    value: float
    total: float


class Client:
    """A client of the ComfyUI at `url`, with a websocket of its own for progress and events."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex
        self._socket: websocket.WebSocket | None = None
        self._session = requests.Session()

    def object_info(self, node: str | None = None) -> dict:
        """Inputs and outputs of every node type by name, or of one of them."""
        return self._get("/object_info" + (f"/{node}" if node else "")).json()

    def submit(self, workflow: Workflow) -> str:
        """Queues an API-format workflow and returns its prompt id; HostError if the host refuses it."""
        self._connect()
        answer = self._post("/prompt", {"prompt": workflow, "client_id": self.client_id})
        if answer.status_code == 400:
            raise _refusal(answer.json(), workflow)
        answer.raise_for_status()
        if answer.json().get("node_errors"):  # the host would drop the outputs behind them and run the rest
            raise _refusal({"error": {"message": "some of its outputs"}, **answer.json()}, workflow)
        return answer.json()["prompt_id"]

    def wait(
        self,
        prompt_id: str,
        on_progress: Callable[[Progress], None] | None = None,
        timeout: float = 600.0,
        on_event: EventHandler | None = None,
    ) -> dict:
        """Waits for a queued workflow and returns its outputs, {node id: {"images": [...], ...}}.

        `on_progress` sees the progress bars, `on_event` every message as (type, data),
        also those that nodes send themselves. Raises HostError when a node fails,
        HostInterrupted when it was interrupted, TimeoutError after `timeout` seconds.
        """
        handler, told_all = _handler(prompt_id, on_progress, on_event), on_progress is None and on_event is None
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            entry = self._get(f"/history/{prompt_id}").json().get(prompt_id)
            if entry is not None:
                if not told_all:  # a quick workflow is over before its events were read
                    self._listen(prompt_id, handler, time.monotonic() + LAST_EVENT_SECONDS)
                _raise_failure(entry)
                return entry["outputs"]
            told_all |= self._listen(prompt_id, handler, min(end, time.monotonic() + 1.0))
        raise TimeoutError(f"the workflow must end within {timeout:g} s; {prompt_id} has not")

    def run(self, workflow: Workflow, **wait_options) -> dict:
        """Submits a workflow and waits for its outputs; takes wait()'s options."""
        return self.wait(self.submit(workflow), **wait_options)

    def view(self, filename: str, subfolder: str = "", type: str = "output") -> bytes:  # noqa: A002
        """Content of an output file; an entry of a node's "images" can be passed as **image."""
        answer = self._get("/view", {"filename": filename, "subfolder": subfolder, "type": type})
        return answer.content

    def interrupt(self) -> None:
        """Stops the running workflow at its next step."""
        self._post("/interrupt", {}).raise_for_status()

    def free(self) -> None:
        """Asks the host to unload its models and drop cached outputs once the queue is idle."""
        self._post("/free", {"unload_models": True, "free_memory": True}).raise_for_status()

    def close(self) -> None:
        """Closes the connections; the client can be used again afterwards."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._session.close()

    def _get(self, path: str, query: dict | None = None) -> requests.Response:
        answer = self._request("GET", path, params=query)
        answer.raise_for_status()
        return answer

    def _post(self, path: str, body: dict) -> requests.Response:
        return self._request("POST", path, json=body)

    def _request(self, method: str, path: str, **options) -> requests.Response:
        try:
            return self._session.request(method, self.url + path, timeout=REQUEST_SECONDS, **options)
        except requests.ConnectionError:
            self._check_alive()
            raise

    def _check_alive(self) -> None:
        """Raises HostError if the host is known to have died; overridden by whoever started it."""

    def _connect(self) -> None:
        # Before submitting: the host sends events to connected clients only and repeats none.
        if self._socket is None:
            address = self.url.replace("http", "ws", 1) + f"/ws?clientId={self.client_id}"
            self._socket = websocket.create_connection(address, timeout=REQUEST_SECONDS)

    def _listen(self, prompt_id: str, handler: EventHandler, until: float) -> bool:
        """Hands events on until the workflow's last one, or until the time `until`; whether the last one came."""
        self._connect()
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                message = self._socket.recv()
            except websocket.WebSocketTimeoutException:
                return False
            except (websocket.WebSocketException, OSError):
                self._socket = None
                self._check_alive()
                return False
            if isinstance(message, bytes) or not message:  # previews are binary
                continue
            event = json.loads(message)
            data = event.get("data") or {}
            handler(event["type"], data)
            if event["type"] == "executing" and data.get("node") is None and data.get("prompt_id") == prompt_id:
                return True
        return False


def _handler(prompt_id: str, on_progress, on_event) -> EventHandler:
    def handle(kind: str, data: dict) -> None:
        if on_event is not None:
            on_event(kind, data)
        # On a busy machine a workflow's last events may still be unread when the next one is waited for.
        if on_progress is not None and kind == "progress" and data.get("prompt_id", prompt_id) == prompt_id:
            on_progress(Progress(data["node"], data["value"], data["max"]))

    return handle


def _refusal(answer: dict, workflow: Workflow) -> HostError:
    """The error for a workflow that the host's validation refuses."""
    lines = [answer["error"]["message"], answer["error"].get("details", "")]
    for node_id, problem in (answer.get("node_errors") or {}).items():
        for error in problem["errors"]:
            node = workflow[node_id]["class_type"]
            lines.append(f"node {node_id} ({node}): {error['message']}: {error['details']}")
    return HostError("the host refuses the workflow: " + "\n".join(line for line in lines if line))


def _raise_failure(entry: dict) -> None:
    """Raises what a history entry says went wrong, if anything did."""
    for kind, data in entry["status"]["messages"]:
        if kind == "execution_interrupted":
            raise HostInterrupted(f"interrupted in node {data['node_id']} ({data['node_type']})", data["node_type"])
        if kind == "execution_error":
            message = data["exception_message"].strip()
            trace = "".join(data["traceback"])
            text = f"node {data['node_id']} ({data['node_type']}): {data['exception_type']}: {message}\n{trace}"
            raise HostError(text, data["node_type"])
