"""Colour and metric depth of a MuJoCo camera in one pass."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from pad_bringup.errors import CellError


class RgbdRenderer:
    """Renders one camera of a model off screen. Belongs to the thread that makes it.

    Multisampling must be off in the model (`vis.quality.offsamples = 0`): averaged depth would lie between surfaces.
    """

    def __init__(self, model: mujoco.MjModel, camera: str, width: int, height: int) -> None:
        """width, height: pixels; the model's off-screen buffer must be at least as large.

        Raises:
            CellError: no such camera, buffer too small, or no OpenGL.
        """
        if width > model.vis.global_.offwidth or height > model.vis.global_.offheight:
            raise CellError(f"images of {width} x {height} exceed the model's off-screen buffer")
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        if self._camera.fixedcamid < 0:
            raise CellError(f"the model has no camera {camera!r}")
        self._model = model
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._option = mujoco.MjvOption()
        self._rect = mujoco.MjrRect(0, 0, width, height)
        try:
            self._gl = mujoco.GLContext(width, height)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:  # whatever the OpenGL back end raises
            raise CellError(
                f"no off-screen OpenGL: {error}; install libosmesa6 and set MUJOCO_GL=osmesa (or libegl1 and egl)"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        extent = model.stat.extent
        self._near = model.vis.map.znear * extent
        self._far = model.vis.map.zfar * extent

    def render(self, data: mujoco.MjData) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) RGB and depth (H, W) in m along the optical axis (0 where there is nothing)."""
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(self._rect, self._scene, self._context)
        rgb = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        buffer = np.empty((self._rect.height, self._rect.width), np.float32)
        mujoco.mjr_readPixels(rgb, buffer, self._rect, self._context)
        # The buffer is linear in 1 / depth, 1 at the near plane and 0 at the far plane.
        inverse = np.float32(1 / self._far) + buffer * np.float32(1 / self._near - 1 / self._far)
        depth = np.where(buffer > 0, 1 / inverse, np.float32(0))
        return np.ascontiguousarray(rgb[::-1]), np.ascontiguousarray(depth[::-1])

    def close(self) -> None:
        """Free the graphics context; the renderer cannot be used any more."""
        self._context.free()
        self._gl.free()
