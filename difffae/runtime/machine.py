"""The machine as far as compiled networks depend on it: device model, driver, library versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("torch", "openvino", "nncf", "torch-tensorrt", "tensorrt", "triton")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def machine_facts(device: torch.device | None = None) -> tuple[str, ...]:
    """What a compiled network has to be compiled anew for when it changes.

    Args:
        device: where the network runs; the CPU by default.

    Returns:
        The device's model, the driver's version where there is one, and versions of libraries.
    """
    device = device or torch.device("cpu")
    facts = [f"{platform.system()} {platform.machine()}", device_name(device)]
    if device.type == "cuda":
        facts.append(f"cuda {torch.version.cuda}, driver {_driver()}")
        facts.append(f"capability {torch.cuda.get_device_capability(device)}")
    return (*facts, *_library_versions())


def device_name(device: torch.device) -> str:
    """The model of a device, as its maker calls it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def threads_fact() -> str:
    """How many threads PyTorch computes on here, which times depend on."""
    return f"{torch.get_num_threads()} threads of {len(os.sched_getaffinity(0))} cores"


def _driver() -> str:
    """First line of what NVIDIA's kernel module says of itself; empty where it says nothing."""
    try:
        return next(iter(_NVIDIA_DRIVER.read_text("utf-8").splitlines()), "")
    except OSError:
        return ""


def _library_versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found
