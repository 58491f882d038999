"""DiffFAE: one portrait, driven by a face. The public surface; loaded on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difffae.pipeline import Controls, Pipeline, Reenacted, Source, StreamState, load_pipeline

__all__ = ["Controls", "Pipeline", "Reenacted", "Source", "StreamState", "load_pipeline"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'difffae' has no attribute {name!r}")
    from difffae import pipeline

    return getattr(pipeline, name)
