"""``omnitrace serve`` as an application of Ray Serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ray import serve

if TYPE_CHECKING:
    from omnitrace import Tracer
    from omnitrace.serve import ServeOptions

__all__ = ["serve_app"]


def serve_app(
    load: Callable[[], Tracer],
    options: ServeOptions | None = None,
    *,
    gpus: float = 0.0,
    cpus: float = 1.0,
    readers: int = 1000,
) -> serve.Application:
    """Return the server as an application for ``serve.run``: one replica, which loads the model.

    Parameters
    ----------
    load:
        Makes the tracer in the replica; it is pickled.
    options:
        As for :func:`omnitrace.serve.create_app`.
    gpus, cpus:
        Of the replica.
    readers:
        How many connections are open at once: a page that follows a run keeps one.
    """

    def build() -> Any:
        from omnitrace.serve import ServeOptions, create_app

        return create_app(load(), ServeOptions() if options is None else options)

    deployment = serve.deployment(
        serve.ingress(build)(),
        name="omnitrace",
        num_replicas=1,  # the runs that a page shows live in the memory of their process
        max_ongoing_requests=readers,
        ray_actor_options={"num_gpus": gpus, "num_cpus": cpus},
    )
    return deployment.bind()
