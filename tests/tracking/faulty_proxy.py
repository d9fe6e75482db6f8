"""A proxy before an MLflow server that fails from the n-th request on, or at it only, until it is mended."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

# Of these the server sees nothing; or half a request; or all of it, though its answer is lost.
FAULTS = ("error 500", "hang", "refuse", "cut request", "cut answer", "hang on answer", "drop answer")


class FaultyProxy:
    """`fault` strikes when `countdown` requests have passed; `seen` counts those to a `path`, /health aside."""

    def __init__(self, server: str) -> None:
        self.server = urlsplit(server).netloc
        self.fault, self.countdown, self.once, self.seen, self.path = "", 0, False, 0, ""
        self.mended = threading.Event()
        self.lock = threading.Lock()

    def fail(self, fault: str, after: int, once: bool = False, path: str = "") -> None:
        self.fault, self.countdown, self.once, self.seen, self.path = fault, after, once, 0, path
        self.mended.clear()

    def mend(self) -> None:
        self.fault, self.seen, self.path = "", 0, ""
        self.mended.set()

    def strikes(self, path: str) -> str:
        with self.lock:
            if self.path not in path:
                return ""
            self.seen += 1
            struck = self.seen == self.countdown + 1 if self.once else self.seen > self.countdown
            return self.fault if struck else ""


def handler_of(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm, wbufsize = True, -1  # else 40 ms a request

        def relay(self) -> None:
            fault = "" if self.path == "/health" else proxy.strikes(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            while "chunked" in self.headers.get("Transfer-Encoding", "") and self.rfile.readline() not in (
                b"",
                b"\r\n",
            ):
                pass  # so is an empty file sent, and no other
            answer, status, headers = b"", 500, []
            if not fault or "answer" in fault:
                status, headers, answer = self.forward(body, len(body))
            elif fault == "cut request":
                self.forward(body[: len(body) // 2], len(body), whole=False)
            if "hang" in fault:
                proxy.mended.wait(60)
            if fault in ("refuse", "cut request", "drop answer") or "hang" in fault:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if fault == "cut answer":
                self.close_connection = True
                answer = answer[: len(answer) // 2]
            self.wfile.write(answer)

        def forward(self, body: bytes, length: int, whole: bool = True) -> tuple[int, list[tuple[str, str]], bytes]:
            server = http.client.HTTPConnection(proxy.server, timeout=60)
            try:
                server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("transfer-encoding", "content-length"):
                        server.putheader(name, value)
                server.putheader("Content-Length", str(length))
                server.endheaders(body)
                if not whole:
                    return 0, [], b""
                answer = server.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                server.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = relay

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:  # a client that went away
        pass


@contextmanager
def faulty_proxy(server: str) -> Iterator[tuple[str, FaultyProxy]]:
    """The address of a proxy before `server`, and its switch."""
    proxy = FaultyProxy(server)
    with Listener(("127.0.0.1", 0), handler_of(proxy)) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}", proxy
        finally:
            proxy.mend()
            with suppress(OSError):
                listener.shutdown()
            thread.join()
