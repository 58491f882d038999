"""A pipeline in, the same pipeline out with a stopwatch around its parts; the given one stays.

The parts are wrapped from outside: the product's own code knows of no clock.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from difffae.benchmark.stopwatch import Stopwatch
from difffae.face.rig import Rig
from difffae.face.tracker import Tracker
from difffae.generator import NETWORK_PLACES, Generator
from difffae.pipeline import Pipeline

TRACK, FIT, RENDER = "track", "fit and retarget", "render condition"
ENCODE, DENOISE, DECODE = "encode condition", "denoise, each step", "decode latent"
INPUTS, PICTURE, PASTE = "inputs and noise", "latent to picture", "paste back"
REGIONS, IDENTITY, SOURCE = "region encoder", "identity encoder", "rest of the source"

NETWORK_STAGES: Mapping[str, str] = {
    "encoder": ENCODE,
    "denoiser": DENOISE,
    "decoder": DECODE,
    "region_encoder": REGIONS,
    "identity_encoder": IDENTITY,
}
"""Each network's stage, by the name of its weight file."""


def timed_pipeline(pipeline: Pipeline, watch: Stopwatch) -> Pipeline:
    """The same model, every part of which is a stage of a stopwatch.

    For one thread. The networks, the tracker and the rig are those of the pipeline given.
    """
    rig = _Watched(pipeline.rig, watch, {"condition": RENDER})
    tracker = _Watched(pipeline._tracker, watch, {"track": TRACK})
    timed = Pipeline(
        config=pipeline.config,
        rig=cast(Rig, rig),
        generator=_timed_generator(pipeline._generator, watch),
        tracker=cast(Tracker, tracker),
        segmenter=pipeline._segmenter,
    )
    stages = {"prepare": FIT, "paint": PASTE, "encode_source": SOURCE}
    for method, stage in stages.items():
        setattr(timed, method, watch.timed(stage, getattr(timed, method)))
    return timed


def compiled_networks(pipeline: Pipeline) -> dict[str, Callable[..., Any]]:
    """Each network as it runs, by the name of its weight file; those the model has."""
    generator = pipeline._generator
    found = {name: getattr(generator, place) for name, place in NETWORK_PLACES.items()}
    return {
        name: getattr(network, "_network", network)  # without the lock around it
        for name, network in found.items()
        if network is not None
    }


def _timed_generator(generator: Generator, watch: Stopwatch) -> Generator:
    timed = generator.watched(lambda name, network: _plain(watch, NETWORK_STAGES[name], network))
    for method, stage in {"follow": INPUTS, "decode": PICTURE}.items():
        setattr(timed, method, watch.timed(stage, getattr(timed, method)))
    return timed


def _plain(watch: Stopwatch, stage: str, network: Callable[..., Any]) -> Callable[..., Any]:
    """A timed network; a function, since `functools.wraps` would copy a module's weights' names."""

    def run(*inputs: Any) -> Any:
        with watch.stage(stage):
            return network(*inputs)

    return run


class _Watched:
    """Another object, some methods of which are stages."""

    def __init__(self, inner: object, watch: Stopwatch, stages: Mapping[str, str]) -> None:
        self._inner = inner
        self._watch = watch
        self._stages = stages

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        stage = self._stages.get(name)
        return value if stage is None else self._watch.timed(stage, value)
