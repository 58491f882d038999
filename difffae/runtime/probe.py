"""First compile of an OpenVINO network, run as a script in a process of its own.

A folder with ``network.xml`` and ``example.npz`` in; exit status 0 and a filled compile cache
out. A compiler that crashes takes this process down, not the one that wants the network. It
imports neither torch nor this package, and so starts fast.
"""

import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_RELATIVE_ERROR = 0.1
_MAX_ABSOLUTE_ERROR = 1e-3
_WRONG_ANSWERS = 3  # exit status; Python's own failures give 1 and 2


def main(folder: Path, settings: dict[str, str | int | bool]) -> int:
    """Compile the network in ``folder``, run it on its example, and compare with the answers.

    Args:
        folder: Holds network.xml, network.bin, and example.npz with input_0... and output_0...
        settings: Properties of the CPU device.

    Returns:
        0 if the results agree, 3 with a line on stderr if they do not.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(folder / "network.xml"), "CPU", settings)
    with np.load(folder / "example.npz") as example:
        inputs = [example[f"input_{index}"] for index in range(len(compiled.inputs))]
        expected = [example[f"output_{index}"] for index in range(len(compiled.outputs))]
    results = compiled.create_infer_request().infer(inputs)
    for index, wanted in enumerate(expected):
        error = relative_error(np.asarray(results[index]), wanted)
        if not error <= MAX_RELATIVE_ERROR:
            sys.stderr.write(f"output {index} is wrong: relative error {error:.3g}\n")
            return _WRONG_ANSWERS
    return 0


def relative_error(got: NDArray[np.generic], wanted: NDArray[np.generic]) -> float:
    """Root-mean-square error over root-mean-square value; not a number if anything is not."""
    if got.shape != wanted.shape:
        return float("inf")
    difference = got.astype(np.float64) - wanted.astype(np.float64)
    scale = np.sqrt(np.mean(np.square(wanted.astype(np.float64))))
    return float(np.sqrt(np.mean(np.square(difference))) / (scale + _MAX_ABSOLUTE_ERROR))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
