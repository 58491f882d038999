"""DiffFAE: one portrait, driven by a face. The public surface, loaded on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difffae.controls import Controls
    from difffae.loading import load_pipeline
    from difffae.pipeline import Pipeline, Reenacted, Source, StreamState

__all__ = ["Controls", "Pipeline", "Reenacted", "Source", "StreamState", "load_pipeline"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'difffae' has no attribute {name!r}")
    module = {"Controls": "controls", "load_pipeline": "loading"}.get(name, "pipeline")
    return getattr(import_module(f"difffae.{module}"), name)
