"""An open loop: requests begin at a fixed rate, whether or not the ones before have been answered.

A request's latency counts from the moment at which it was to begin, so that a server that stalls pays for every request that had to
wait. One thread and non-blocking sockets: on the two cores of the measurement, as the closed loop's generator is.
"""

import argparse
import json
import os
import selectors
import socket
import time


class Connection:
    def __init__(self, selector, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.began = None
        self.received = b""
        selector.register(self.socket, selectors.EVENT_READ, self)

    def send(self, request, began):
        self.began, self.received = began, b""
        # A request fits an empty socket's buffer.
        self.socket.send(request)

    def receive(self):
        """The whole answer, once it is there."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed a connection")
        self.received += part
        head, gap, body = self.received.partition(b"\r\n\r\n")
        if not gap:
            return None
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), None)
        if length is None:
            # Chunked: its last chunk is empty.
            return self.received if body.endswith(b"0\r\n\r\n") else None
        return self.received if len(body) >= length else None


def end(selector, connection):
    """Closes a connection; how many that were."""
    selector.unregister(connection.socket)
    connection.socket.close()
    return 1


def request_of(path, headers, body):
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode() + body


def run(port, path, headers, bodies, rate, connections, expect):
    """Sends every body once and returns what came of it, latencies in milliseconds."""
    selector = selectors.DefaultSelector()
    free = [Connection(selector, port) for _ in range(min(connections, 16))]
    opened, waiting, latencies, bad, example = len(free), [], [], 0, b""
    requests = [request_of(path, headers, body.encode()) for body in bodies]
    interval, start, sent = 1 / rate, time.perf_counter() + 0.1, 0
    while len(latencies) + bad < len(requests):
        now = time.perf_counter()
        while sent < len(requests) and start + sent * interval <= now:
            waiting.append(sent)
            sent += 1
        while waiting and (free or opened < connections):
            if not free:
                free.append(Connection(selector, port))
                opened += 1
            n = waiting.pop(0)
            free.pop().send(requests[n], start + n * interval)
        next_at = start + sent * interval if sent < len(requests) else now + 1
        for key, _ in selector.select(max(0, next_at - time.perf_counter())):
            if key.data in free:
                # Servers end connections that wait long for a request.
                free.remove(key.data)
                opened -= end(selector, key.data)
                continue
            answer = key.data.receive()
            if answer is None:
                continue
            if answer.startswith(b"HTTP/1.1 200") and expect.encode() in answer:
                latencies.append((time.perf_counter() - key.data.began) * 1000)
            else:
                bad, example = bad + 1, answer[:300]
            if b"\r\nconnection: close" in answer.partition(b"\r\n\r\n")[0].lower():
                opened -= end(selector, key.data)
            else:
                free.append(key.data)
    seconds = time.perf_counter() - start
    latencies.sort()
    at = lambda share: latencies[min(len(latencies) - 1, int(len(latencies) * share))] if latencies else None
    result = {"good": len(latencies), "bad": bad, "broken": 0, "seconds": round(seconds, 3), "per_second": len(latencies) / seconds,
              "rate": rate, "connections": opened, "p50_ms": at(0.5), "p99_ms": at(0.99), "bad_example": example.decode(errors="replace")}
    if len(latencies) >= 100_000:
        result["p999_ms"] = at(0.999)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--file", required=True, help="bodies, one a line")
    parser.add_argument("--type", required=True)
    parser.add_argument("--expect", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--connections", type=int, default=512, help="at most")
    options = parser.parse_args()
    headers = {"Content-Type": options.type}
    if os.environ.get("AUTHORIZATION"):
        headers["Authorization"] = os.environ["AUTHORIZATION"]
    with open(options.file, encoding="utf-8") as lines:
        bodies = [line.rstrip("\n") for line in lines]
    result = run(options.port, options.path, headers, bodies, options.rate, options.connections, options.expect)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
