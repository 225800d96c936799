"""A Binance that sends a recording's frames as fast as they are taken: ``python -m tests.benchmarks.blast RECORDING``.

Everything is laid out beforehand, so that it costs next to nothing to send: the frames of BTCUSDT up to the first gap.
Tells its ports and the number of frames as one JSON object on standard output; sends to its client once there is a line
on standard input. The first REST answer is given to every request. Trades become aggregate trades.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from websockets.frames import Frame, Opcode
from websockets.sync.server import ServerConnection, serve

from producers.replay.lines import read


def laid_out(recording: Path) -> tuple[bytes, int, bytes]:
    """Return the frames as they go over the wire, how many they are, and the body of the REST answer."""
    wire: list[bytes] = []
    answer, last = b"", 0
    for line in read(recording):
        frame = line.frame
        if b"BTCUSDT" not in frame:
            continue
        if frame.startswith(b'{"rest"'):
            answer = answer or json.dumps(json.loads(frame)["body"]).encode()
            continue
        if b'"depthUpdate"' in frame:
            diff = json.loads(frame)["data"]
            if last and diff["U"] > last + 1:
                break
            last = diff["u"]
        if b'"e":"trade"' in frame:
            frame = frame.replace(b"@trade", b"@aggTrade").replace(b'"e":"trade"', b'"e":"aggTrade"')
            frame = frame.replace(b'"t":', b'"a":')
        wire.append(Frame(Opcode.TEXT, frame).serialize(mask=False))
    return b"".join(wire), len(wire), answer


def main(recording: Path) -> None:
    """Serve until killed."""
    wire, frames, answer = laid_out(recording)

    class Rest(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it
            pass

    def handler(peer: ServerConnection) -> None:
        sys.stdin.readline()
        peer.socket.sendall(wire)
        time.sleep(3600)

    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    with serve(handler, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        ports = {"websocket": server.socket.getsockname()[1], "rest": rest.server_port, "frames": frames}
        print(json.dumps(ports), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
