"""The Ray Serve deployment of the engine: one application with one replica for each accelerator.

A session's state lives in its replica, so its frames must all go there. Ray Serve's own stickiness
(session ids with the alpha ConsistentHashRouter) moves sessions whenever a replica comes or goes;
here each replica has a handle of its own, and `ComputePool` keeps sessions with theirs. Ray Serve
places the replicas, checks their health and starts them again.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from streamer.compute_child import EngineFactory
from streamer.compute_pool import ComputePool
from streamer.errors import ComputeLostError, ModelError, UsageError
from streamer.ray_compute import ReplicaCompute
from streamer.ray_replica import LiveReplica, ReplicaRequest, Reply

_MAX_ONGOING = 1000  # of one replica: every session has a frame and a request or two on their way


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Where replicas run and what each takes.

    Attributes:
        address: "local" for a cluster of this process's own, "auto", or HOST:PORT of the head.
        name: of the applications; a server that starts with it again replaces what it left.
        num_replicas: one for each accelerator.
        factory: of the engine; imported in the replica, where the package has to be installed.
        num_cpus: of each replica.
        num_gpus: of each replica.
        health_s: seconds between two checks of a replica's health.
    """

    address: str
    name: str
    num_replicas: int = 1
    factory: EngineFactory
    num_cpus: float = 1
    num_gpus: float = 0
    health_s: float = 10.0


class ServeReplica:
    """See `streamer.ray_compute.Replica`: by the handle of an application with one replica."""

    def __init__(self) -> None:
        self.handle: Any = None

    async def ask(self, kind: ReplicaRequest, *arguments: Any) -> Reply:
        """See `Replica`."""
        reply: Reply = await self._answered("ask", kind, *arguments)
        return reply

    async def live(self) -> None:
        """See `Replica`."""
        try:
            await self._answered("live")
        except ComputeLostError:
            return

    async def _answered(self, method: str, *arguments: Any) -> Any:
        if self.handle is None:
            raise ComputeLostError("the replica was not started yet; wait a few seconds")
        try:
            return await getattr(self.handle, method).remote(*arguments)
        except Exception as error:
            logging.getLogger(__name__).info("a replica did not answer: %s", type(error).__name__)
            raise ComputeLostError(
                "the model's replica ended and is started again; wait a few seconds"
            ) from error


class RayCompute(ComputePool):
    """The `Compute` of a Ray cluster.

    Args:
        settings: of the cluster and its replicas.
    """

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._replicas = [ServeReplica() for _ in range(settings.num_replicas)]
        self._is_connected = False
        super().__init__([ReplicaCompute(replica) for replica in self._replicas])

    async def start(self) -> None:
        """Deploy the replicas and wait until they are warm.

        Raises:
            UsageError: Ray is not installed, or no cluster answers.
            ModelError: the replicas cannot be started.
        """
        deploying = asyncio.ensure_future(asyncio.to_thread(self._deploy))
        try:
            await asyncio.shield(deploying)
        except asyncio.CancelledError:  # a thread cannot be interrupted
            await asyncio.wait([deploying])
            raise
        await super().start()

    async def stop(self) -> None:
        """End the replicas, and the cluster when it is this process's own."""
        await super().stop()
        if self._is_connected:
            self._is_connected = False
            await asyncio.to_thread(self._remove)

    def _names(self) -> list[str]:
        settings = self._settings
        return [f"{settings.name}-{number}" for number in range(settings.num_replicas)]

    def _deploy(self) -> None:
        check_ray()
        from ray import serve  # type: ignore[import-not-found, unused-ignore]

        self._connect()
        targets = [serve.RunTarget(self._application(), name, None) for name in self._names()]
        try:
            serve.start(proxy_location="Disabled")  # nothing comes in but by handles
            handles = serve.run_many(targets)
        except RuntimeError as error:
            raise ModelError(
                f"the replicas cannot be started ({_last_line(error)}); "
                "see the logs of Ray Serve, and whether the cluster has room for them"
            ) from error
        for replica, handle in zip(self._replicas, handles, strict=True):
            replica.handle = handle

    def _connect(self) -> None:
        import ray  # type: ignore[import-not-found, unused-ignore]

        settings = self._settings
        own: dict[str, Any] = {}
        if settings.address == "local":
            # Ray Serve's controller needs no CPU of its own, and neither does the dashboard.
            num_cpus = max(1, round(settings.num_cpus * settings.num_replicas))
            own = {"num_cpus": num_cpus, "include_dashboard": False}
        try:
            ray.init(
                address=settings.address,
                log_to_driver=False,
                logging_level=logging.WARNING,
                **own,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"no Ray cluster answers at {settings.address} ({_last_line(error)}); "
                "start one with ray start (RAY_AUTH_MODE has to be the same here as there), "
                "or take --ray local"
            ) from error
        self._is_connected = True

    def _application(self) -> Any:
        from ray import serve  # type: ignore[import-not-found, unused-ignore]

        settings = self._settings
        deployment = serve.deployment(
            name="live",
            num_replicas=1,
            max_ongoing_requests=_MAX_ONGOING,
            health_check_period_s=settings.health_s,
            health_check_timeout_s=3 * settings.health_s,
            graceful_shutdown_timeout_s=1.0,
            graceful_shutdown_wait_loop_s=0.2,
            ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
        )
        return deployment(LiveReplica).bind(settings.factory)

    def _remove(self) -> None:
        import ray  # type: ignore[import-not-found, unused-ignore]
        from ray import serve  # type: ignore[import-not-found, unused-ignore]

        try:
            if self._settings.address == "local":
                serve.shutdown()
                return
            for name in self._names():
                serve.delete(name)
        finally:
            ray.shutdown()


def check_ray() -> None:
    """Refuse where Ray Serve is not installed.

    Raises:
        UsageError: it is not, and what to install.
    """
    try:
        import ray.serve  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f'--ray needs Ray Serve ({error}); run pip install "difffae-streamer[scale]"'
        ) from error


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{lines[-1].strip():.200}"
