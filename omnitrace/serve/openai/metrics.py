"""What ``GET /metrics`` tells Prometheus: the queue now, and the requests so far."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from omnitrace.serve.jobs import Job
from omnitrace.serve.state import ServerState

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class Metrics:
    """The metrics of one server, in a registry of their own.

    Parameters
    ----------
    state:
        The server; jobs that end are observed from now on.
    """

    def __init__(self, state: ServerState) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Now(state))
        ProcessCollector(registry=self._registry)
        self._answers = Counter(
            "omnitrace_http_responses",
            "Responses of the OpenAI-compatible endpoints.",
            ("endpoint", "status"),
            registry=self._registry,
        )
        self._jobs = Counter(
            "omnitrace_jobs", "Jobs that the model has had.", ("state",), registry=self._registry
        )
        self._tokens = Counter(
            "omnitrace_tokens",
            "Tokens read and written.",
            ("kind",),
            registry=self._registry,
        )
        self._waited = self._seconds("queue", "Time that a job waited for the model.")
        self._first = self._seconds("first_token", "Time from the request to its first token.")
        self._ran = self._seconds("model", "Time that a job had the model.")
        state.observers.append(self.ended)

    def answered(self, endpoint: str, status: int) -> None:
        """Count a response."""
        self._answers.labels(endpoint, str(status)).inc()

    def ended(self, job: Job) -> None:
        """Take the times and tokens of a job that has run."""
        times = job.times
        if times.began is None:
            return
        self._jobs.labels(job.state).inc()
        self._waited.observe(times.began - times.asked)
        if times.first is not None:
            self._first.observe(times.first - times.asked)
        if times.ended is not None:
            self._ran.observe(times.ended - times.began)
        self._tokens.labels("written").inc(job.tokens)
        trace = job.trace
        if trace is not None:
            self._tokens.labels("read").inc(len(trace.prompt_ids))

    def text(self) -> bytes:
        """Return everything in Prometheus' format."""
        return generate_latest(self._registry)

    def _seconds(self, name: str, what: str) -> Histogram:
        return Histogram(
            f"omnitrace_{name}_seconds", what, buckets=_SECONDS, registry=self._registry
        )


class _Now(Collector):
    """What is true at the moment: it is looked up, and not counted."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def describe(self) -> Iterator[Metric]:
        """Name nothing ahead: the registry would ask a server that is being made."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Look the values up."""
        state = self._state
        running = state.queue.running is not None
        waiting = len(state.queue.jobs()) - running
        memory, disk = state.jobs.sizes
        yield _gauge("running", "Jobs that have the model, 0 or 1.", running)
        yield _gauge("waiting", "Jobs that wait for the model.", waiting)
        yield _gauge(
            "expected_wait_seconds",
            "How long a request would wait that came now, about.",
            state.queue.seconds_before(waiting + running),
        )
        yield _gauge("kept_memory_bytes", "Traces held in memory.", memory)
        yield _gauge("kept_disk_bytes", "Traces held on disk.", disk)


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"omnitrace_{name}", what, value=float(value))
