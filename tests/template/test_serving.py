"""A real server under bad requests, and a batch that is killed."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from generated import ENVIRONMENT, UV, Render, demo, run, start

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("serving")]

ROW = {"date": "2015-03-05", "precipitation": 1.0, "temp_max": 10.0, "temp_min": 3.0, "wind": 2.0}
GOOD = json.dumps({"rows": [ROW]}).encode()
CASES = 2000


@pytest.fixture(scope="module")
def project(render: Render) -> Path:
    """A project with a champion."""
    project = render({"project_name": "demo", "description": "Says what the weather is"})
    start(project)
    demo(project, "retrain")
    return project


@contextmanager
def served(project: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The project's server and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(project / ".venv/bin/demo"), "serve", "--port", str(port)]
    with (project / "reports/serve.log").open("w") as log:
        server = subprocess.Popen(command, cwd=project, env=ENVIRONMENT, stdout=log, stderr=log)
        try:
            until(lambda: ask(port, None, method="GET", path="/ready") == 200)
            yield server, port
        finally:
            server.kill()
            server.wait()


def until(holds: Callable[[], bool]) -> None:
    for _ in range(1200):
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("this has not happened within two minutes")


def ask(port: int, body: bytes | Iterable[bytes] | None, **more: str) -> int:
    """The status of the answer, which says nothing of what was sent and nothing of the code."""
    headers = {"Content-Type": "application/json", **json.loads(more.get("headers", "{}"))}
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request(more.get("method", "POST"), more.get("path", "/predict"), body, headers)
    answer = client.getresponse()
    text = answer.read().decode()
    assert "Traceback" not in text
    assert "site-packages" not in text
    return answer.status


BAD: dict[str, tuple[Any, dict[str, str], int]] = {
    "not JSON": (b"{", {}, 400),
    "NaN": (GOOD.replace(b"10.0", b"NaN"), {}, 400),
    "text for a number": (GOOD.replace(b"10.0", b'"10"'), {}, 422),
    "a number out of range": (GOOD.replace(b"10.0", b"1000"), {}, 422),
    "an unknown key": (GOOD.replace(b"wind", b"wnd"), {}, 422),
    "1001 rows": (json.dumps({"rows": [ROW] * 1001}).encode(), {}, 422),
    "2 MiB": (b" " * 2**21, {}, 413),
    "2 MiB in chunks": ([b" " * 2**16] * 32, {}, 413),
    "compressed": (gzip.compress(GOOD), {"headers": '{"Content-Encoding": "gzip"}'}, 415),
    "a form": (b"a=1", {"headers": '{"Content-Type": "application/x-www-form-urlencoded"}'}, 415),
    "nested": (b"[" * 10**6, {}, 400),
    "another method": (GOOD, {"method": "PUT"}, 405),
}


def test_server_refuses_bad_requests_and_goes_on(project: Path) -> None:
    with served(project) as (server, port):
        assert {name: ask(port, body, **more) for name, (body, more, _) in BAD.items()} == {
            name: status for name, (_, _, status) in BAD.items()
        }
        assert slowly(port) == 408
        assert is_cut(socket.create_connection(("127.0.0.1", port)))
        assert is_cut(answered(port))
        assert ask(port, GOOD) == 200
        # What has begun is answered before the server ends.
        client = begin(port, len(GOOD))
        client.sendall(GOOD[:9])
        time.sleep(0.5)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        client.sendall(GOOD[9:])
        assert status(client) == 200
        server.wait(60)
    lines = (project / "reports/serve.log").read_text(encoding="utf-8")
    assert '"status": 500' not in lines
    assert "temp_max" not in lines


class Clients:
    """Sixteen that keep their connection until they are told to close it, and what became of it.

    They connect to the port that is named last, as what routes requests to pods lets them.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.ends = threading.Event()
        self.answers: list[int] = []
        self.sent_away: set[int] = set()
        self.lost: list[Exception] = []
        self.threads = [threading.Thread(target=self._go_on, args=(n,)) for n in range(16)]

    def __enter__(self) -> Clients:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        for thread in self.threads:
            thread.join()

    def _go_on(self, number: int) -> None:
        client, port = None, 0
        while not self.ends.is_set():
            client = client or http.client.HTTPConnection(
                "127.0.0.1", port := self.port, timeout=60
            )
            try:
                client.request("POST", "/predict", GOOD, {"Content-Type": "application/json"})
                answer = client.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(error)
                client = None
                continue
            self.answers.append(answer.status)
            if answer.will_close:
                self.sent_away.add(number)
                client.close()
                client = None
            time.sleep(number / 200)
        assert port, "it has connected"


def test_no_client_loses_a_request_when_another_server_takes_over(project: Path) -> None:
    """As in a rollout: the old pod ends, and a second later new connections go to the new one."""
    with served(project) as (old, port), served(project) as (_, other), Clients(port) as clients:
        until(lambda: len(clients.answers) > 100)
        old.send_signal(signal.SIGTERM)
        until(lambda: ask(port, None, method="GET", path="/ready") == 503)
        assert ask(port, None, method="GET", path="/health") == 200
        time.sleep(1)
        clients.port = other
        assert old.wait(60) == 0
        answered = len(clients.answers)
        until(lambda: len(clients.answers) > answered + 100)
    assert clients.lost == []
    assert set(clients.answers) == {200}
    assert len(clients.sent_away) == 16


def begin(port: int, length: int) -> socket.socket:
    """A request of which the body is still to come."""
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = ["POST /predict HTTP/1.1", "Host: a", "Content-Type: application/json"]
    head += [f"Content-Length: {length}", "", ""]
    client.sendall("\r\n".join(head).encode())
    return client


def slowly(port: int) -> int:
    """Sends one byte a second until there is an answer."""
    client = begin(port, 1000)
    client.settimeout(1)
    for _ in range(60):
        client.sendall(b" ")
        try:
            return status(client)
        except TimeoutError:
            continue
    raise AssertionError("the server still waits")


def is_cut(client: socket.socket) -> bool:
    """Sends the head of a request, one byte a second, until the server closes the connection."""
    client.settimeout(1)
    for byte in b"GET /health HTTP/1.1".ljust(60, b"1"):
        try:
            client.sendall(bytes([byte]))
            return client.recv(1000) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def answered(port: int) -> socket.socket:
    """A connection that is kept after its first answer."""
    client = begin(port, len(GOOD))
    client.sendall(GOOD)
    answer = http.client.HTTPResponse(client)
    answer.begin()
    assert (answer.status, answer.read()[:1]) == (200, b"{")
    return client


def status(client: socket.socket) -> int:
    return int(client.recv(1000).split()[1])


def test_server_has_an_answer_to_whatever_its_own_description_allows(project: Path) -> None:
    with served(project) as (_, port):
        command = [UV, "tool", "run", "schemathesis@4.32.5", "run", "--no-color", "--seed", "1"]
        command += ["--max-examples", str(CASES), "--phases", "coverage,fuzzing"]
        checks = ["not_a_server_error", "status_code_conformance"]
        checks += ["content_type_conformance", "response_schema_conformance"]
        run(
            project, *command, "--checks", ",".join(checks), f"http://127.0.0.1:{port}/openapi.json"
        )
    lines = (project / "reports/serve.log").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines if '"path": "/predict"' in line]
    assert len(asked) >= CASES
    assert {line["status"] for line in asked} >= {200, 400, 415, 422}
    assert not [line for line in asked if line["status"] >= 500]


def test_batch_that_is_killed_leaves_nothing_and_may_be_run_again(project: Path) -> None:
    line = ",".join(map(str, ROW.values())) + "\n"
    table = ",".join(ROW) + "\n" + line * 300_000
    (project / "rows.csv").write_text(table, encoding="utf-8")
    before = {path.name for path in project.iterdir()}
    command = [str(project / ".venv/bin/demo"), "predict", "rows.csv", "predicted.csv"]
    batch = subprocess.Popen(command, cwd=project, env=ENVIRONMENT)
    partial = project / ".predicted.csv.partial"
    until(lambda: partial.stat().st_size > 0)
    os.kill(batch.pid, signal.SIGKILL)
    batch.wait()
    assert {path.name for path in project.iterdir()} - before == {partial.name}
    demo(project, "predict", "rows.csv", "predicted.csv")
    assert {path.name for path in project.iterdir()} - before == {"predicted.csv"}
    with (project / "predicted.csv").open(encoding="utf-8") as file:
        assert sum(1 for _ in file) == 300_001
