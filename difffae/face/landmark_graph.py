"""MediaPipe's face landmark network alone, without its detector: a region in, mesh points out.

It is what MediaPipe's own tracking mode runs on every frame but the first, there hidden behind
state that one tracker keeps; here the region is an argument, so that many streams share a graph.
"""

from typing import Any

import numpy as np

from difffae.arrays import ImageU8, Points3

# Side of the network's input over the larger side of the mesh, and how far below the mesh's middle
# its centre lies: where the detector would put it. MediaPipe's own tracking takes 1.5 and 0, which
# gives points a third farther from those of a detected face, which the head model is learned from.
_LONGEST_TO_REGION = 1.3
_CENTRE_BELOW = 0.04
_EYE_CORNERS = (33, 263)  # outer ones, right and left: the region turns with them
_GRAPH = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


class LandmarkGraph:
    """A native graph; not for use by two threads at once."""

    def __init__(self) -> None:
        from mediapipe.framework.formats import rect_pb2
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import calculator_graph, image_frame

        self._creator, self._getter = packet_creator, packet_getter
        self._rect, self._format = rect_pb2.NormalizedRect, image_frame.ImageFormat.SRGB
        self._found: list[Any] = []
        self._time_us = 0
        self._graph = calculator_graph.CalculatorGraph(graph_config=_GRAPH)
        self._graph.observe_output_stream("landmarks", lambda _, found: self._found.append(found))
        self._graph.start_run({"with_attention": packet_creator.create_bool(True)})

    def find(self, image: ImageU8, around: Points3) -> Any | None:
        """MediaPipe's normalised landmarks of the face near these points; None where none is.

        Args:
            image: the picture.
            around: mesh points of the face a moment ago [px].
        """
        region = self._region(around, *image.shape[:2])
        self._time_us += 1
        frame = self._creator.create_image_frame(
            image_format=self._format, data=np.ascontiguousarray(image)
        )
        self._graph.add_packet_to_input_stream("image", frame.at(self._time_us))
        roi = self._creator.create_proto(region)
        self._graph.add_packet_to_input_stream("roi", roi.at(self._time_us))
        self._graph.wait_until_idle()
        if not self._found:
            return None
        return self._getter.get_proto(self._found.pop())

    def _region(self, points: Points3, height: int, width: int) -> Any:
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        longest = float((high - low).max())
        right, left = points[list(_EYE_CORNERS), :2]
        across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
        down = np.array([-across[1], across[0]])
        centre = (low + high) / 2 + _CENTRE_BELOW * longest * down
        size = _LONGEST_TO_REGION * longest
        return self._rect(
            x_center=centre[0] / width,
            y_center=centre[1] / height,
            width=size / width,
            height=size / height,
            rotation=float(np.arctan2(left[1] - right[1], left[0] - right[0])),
        )
