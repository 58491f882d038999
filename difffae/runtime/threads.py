"""How many threads a network computes on, where the stages of frames share the cores."""

import os

import cv2
import torch
from threadpoolctl import threadpool_limits

_NUM_STAGES = 3  # prepare, paint, and the codecs: each is busy with a frame of its own


def num_stage_threads() -> int:
    """Threads for each stage of a stream, so that all of them together fill the machine.

    On two cores a network on one thread leaves the other core to the next frame; on two threads
    it takes as much processor time again in waiting for one another.
    """
    return max(1, len(os.sched_getaffinity(0)) // _NUM_STAGES)


def limit_threads(num_threads: int) -> None:
    """Let PyTorch, OpenCV and NumPy compute on so many threads, in the whole process.

    NumPy's BLAS counts most: on small matrices its threads wait for each other on whole cores.
    """
    torch.set_num_threads(num_threads)
    cv2.setNumThreads(num_threads)
    threadpool_limits(num_threads, user_api="blas")
