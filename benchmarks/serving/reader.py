"""A client of the page's events in a process of its own, as a browser is one.

Each line of its standard input is the address of a run's events; for each it prints, as JSON, how
many events it read, and when the first token and the last event came, by ``time.time()``.
"""

from __future__ import annotations

import json
import sys
import time

import httpx


def follow(client: httpx.Client, url: str) -> dict[str, float]:
    count, first, last = 0, 0.0, 0.0
    with client.stream("GET", url) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("event: "):
                count, last = count + 1, time.time()
                if line == "event: token" and not first:
                    first = last
    return {"events": count, "first": first, "last": last}


def main() -> None:
    headers = {"X-Omnitrace-Client": sys.argv[1]}
    with httpx.Client(headers=headers, timeout=600) as client:
        for line in sys.stdin:
            print(json.dumps(follow(client, line.strip())), flush=True)


if __name__ == "__main__":
    main()
