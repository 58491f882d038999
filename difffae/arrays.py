"""Named array types.

The one legend of axes: h w image rows and columns, side of a square image, p mesh points, f
triangles, b batch, c channels. The same letter twice in one signature means the same size.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, UInt8
from numpy.typing import NDArray
from torch import Tensor

ImageU8 = UInt8[NDArray[np.uint8], "h w 3"]  # RGB
SquareU8 = UInt8[NDArray[np.uint8], "side side 3"]
SquareF32 = Float32[NDArray[np.float32], "side side"]
AlignedU8 = UInt8[NDArray[np.uint8], "112 112 3"]  # a face where ArcFace wants it
MaskU8 = UInt8[NDArray[np.uint8], "h w"]  # 0 outside, 255 inside
MaskedU8 = UInt8[NDArray[np.uint8], "h w 4"]  # RGB, and a mask of 0 to 255
MaskF32 = Float32[NDArray[np.float32], "h w"]  # 0 outside, 1 inside
BoolMask = Bool[NDArray[np.bool_], "h w"]
MapF32 = Float32[NDArray[np.float32], "h w 2"]  # for each pixel the (x, y) to read from [px]
ShadingF32 = Float32[NDArray[np.float32], "h w 3"]  # multiplies albedo
PaintF32 = Float32[NDArray[np.float32], "h w 4"]  # how much is painted, and the colour times that
Points3 = Float32[NDArray[np.float32], "p 3"]  # x right, y down, z away from the camera
Mesh3 = Float32[NDArray[np.float32], "468 3"]  # the same without the irises
Points2 = Float32[NDArray[np.float32], "p 2"]
Normals = Float32[NDArray[np.float32], "p 3"]
Triangles = Int32[NDArray[np.int32], "f 3"]
Rotation = Float32[NDArray[np.float32], "3 3"]
Lighting = Float32[NDArray[np.float32], "9 3"]  # second-order spherical harmonics, RGB

Images = Float[Tensor, "b 3 h w"]  # RGB in [-1, 1]
Alphas = Float[Tensor, "b 1 h w"]
FoldedImages = Float[Tensor, "b colours h w"]  # the pixels of a patch are channels of one place
FoldedMasks = Float[Tensor, "b masks h w"]
FoldedAlphas = Float[Tensor, "b shares h w"]
Pictures = UInt8[Tensor, "b rows columns 3"]  # RGB, as pictures lie in memory
Latents = Float[Tensor, "b latent latent_h latent_w"]
Conditions = Float[Tensor, "b condition latent_h latent_w"]  # concatenated to a latent
Features = Float[Tensor, "b c h w"]
Widened = Float[Tensor, "b out h w"]
Halved = Float[Tensor, "b out (h+1)//2 (w+1)//2"]
Doubled = Float[Tensor, "b out 2*h 2*w"]
Slots = Float[Tensor, "b slots width"]
SlotMasks = Float[Tensor, "b slots mask_h mask_w"]
Timesteps = Float[Tensor, " b"]
Identities = Float[Tensor, "b identity"]
