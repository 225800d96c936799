#!/usr/bin/env python3
"""An example of a receiver for Alertmanager's webhooks: prints a line for each alert that fires or is resolved.

    webhook.py [--host ADDRESS] [--port PORT]

What is posted is described at https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. The standard
library is all it needs; it knows no users, and belongs into a private network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

MAX_BYTES: Final = 4 * 2**20


def lines(posted: Any) -> Iterator[str]:
    """Yield a line for each alert of a notification.

    Raises:
        KeyError, TypeError: it is none of Alertmanager's.
    """
    for alert in posted["alerts"]:
        labels, about = alert["labels"], alert["annotations"]
        since = alert["startsAt"] if alert["status"] == "firing" else alert["endsAt"]
        told = about.get("summary") or ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        book = f" ({about['runbook_url']})" if "runbook_url" in about else ""
        yield f"{since} {alert['status']} {labels.get('severity', '')} {labels['alertname']}: {told}{book}"


class Handler(BaseHTTPRequestHandler):
    """Takes notifications at any path."""

    def do_POST(self) -> None:
        """Print what is posted; 400 for what is no notification, which Alertmanager does not send again."""
        try:
            # What is cut off is no JSON any more.
            length = min(int(self.headers["Content-Length"]), MAX_BYTES)
            told = list(lines(json.loads(self.rfile.read(length))))
        except (KeyError, TypeError, ValueError) as error:
            self.send_error(400, f"no notification of Alertmanager: {type(error).__name__}: {error}")
            return
        print(*told, sep="\n", flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 its name there
        """Say only what was refused."""
        if len(arguments) > 1 and str(arguments[1]) >= "400":
            print(format % arguments, file=sys.stderr, flush=True)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="Tell Alertmanager's alerts on standard output.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9094)
    options = parser.parse_args()
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
