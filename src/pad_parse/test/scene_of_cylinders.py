"""A small ray caster for tests: textured cylinders on a textured table, with exact depth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pad_parse import geometry
from pad_parse.camera import Camera


def look_at_camera(width=640, height=480, position=(0.60, 0.0, 0.62), target=(0.0, 0.0, 0.06), fov=0.7505):
    forward = np.subtract(target, position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = geometry.make_pose(np.stack([right, np.cross(forward, right), forward], axis=1), position)
    focal = height / 2 / np.tan(fov / 2)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(matrix, width, height, pose)


def blobs(rng, height, width, colour, count):
    """A label: rectangles and discs of many shades of one colour, no two alike."""
    image = np.full((height, width, 3), colour, np.uint8)
    for _ in range(count):
        shade = tuple(
            int(c) for c in np.clip(np.array(colour) * rng.uniform(0.3, 1.7) + rng.uniform(-30, 30, 3), 0, 255)
        )
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size = int(rng.integers(4, 16))
        if rng.random() < 0.5:
            cv2.rectangle(image, (x, y), (x + size, y + int(rng.integers(4, 16))), shade, -1)
        else:
            cv2.circle(image, (x, y), size // 2, shade, -1)
    return image


@dataclass
class Cylinder:
    """Axis along its z, base at z = 0; `texture` (h, w, 3) wraps around."""

    radius: float
    height: float
    texture: np.ndarray


class Scene:
    """Renders cylinders at given poses over a fixed table."""

    def __init__(self, rng, camera=None):
        self.camera = camera or look_at_camera()
        v, u = np.mgrid[: self.camera.height, : self.camera.width]
        pixels = np.stack([u, v], -1).reshape(-1, 2)
        pose = self.camera.transform_camera_to_task
        self._rays = geometry.unproject(pixels, np.ones(len(pixels)), self.camera.matrix) @ pose[:3, :3].T
        self._eye = pose[:3, 3]
        depth = -self._eye[2] / np.where(self._rays[:, 2] < -1e-3, self._rays[:, 2], np.nan)
        hit = self._eye + depth[:, None] * self._rays
        wood = blobs(rng, 400, 400, (150, 110, 70), 260)
        cell = np.nan_to_num(np.mod((hit[:, :2] + 2) * 300, 400)).astype(int) % 400
        self._depth = np.where(depth < 3, depth, 0.0)
        self._rgb = np.where((self._depth > 0)[:, None], wood[cell[:, 0], cell[:, 1]], 60).astype(np.uint8)
        self.bottle = Cylinder(0.032, 0.17, blobs(rng, 200, 230, (60, 120, 170), 330))
        self.cup = Cylinder(0.040, 0.10, blobs(rng, 120, 290, (180, 80, 60), 260))
        self.hand = Cylinder(0.05, 0.08, np.full((10, 10, 3), (200, 150, 120), np.uint8))

    def render(self, items, rng=None, noise=0.0):
        """rgb (H, W, 3) uint8 and depth (H, W) float32 of [(Cylinder, pose)]; `noise` is depth noise in
        metres at 1 m.
        """
        rgb, depth = self._rgb.copy(), np.where(self._depth > 0, self._depth, np.inf)
        for body, pose in items:
            self._draw(body, pose, rgb, depth)
        depth = np.where(np.isfinite(depth), depth, 0.0)
        height, width = self.camera.height, self.camera.width
        if rng is not None:
            rgb = np.clip(rgb + rng.normal(0, 2.0, rgb.shape), 0, 255).astype(np.uint8)
            depth = depth + (depth > 0) * rng.normal(0, 1.0, depth.shape) * noise * depth**2
        return rgb.reshape(height, width, 3), depth.reshape(height, width).astype(np.float32)

    def _draw(self, body, pose, rgb, depth):
        corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (0, 1)], float)
        corner *= [body.radius, body.radius, body.height]
        pixels = self.camera.task_to_pixels(geometry.transform_points(pose, corner))
        low = np.clip(np.floor(pixels.min(0)).astype(int), 0, [self.camera.width, self.camera.height])
        high = np.clip(np.ceil(pixels.max(0)).astype(int) + 1, 0, [self.camera.width, self.camera.height])
        index = (np.arange(low[1], high[1])[:, None] * self.camera.width + np.arange(low[0], high[0])).ravel()
        if index.size == 0:
            return
        back = geometry.inverse(pose)
        o = geometry.transform_points(back, self._eye)
        d = self._rays[index] @ back[:3, :3].T
        a = d[:, 0] ** 2 + d[:, 1] ** 2
        b = d[:, 0] * o[0] + d[:, 1] * o[1]
        c = o[0] ** 2 + o[1] ** 2 - body.radius**2
        with np.errstate(invalid="ignore", divide="ignore"):
            side = (-b - np.sqrt(b * b - a * c)) / a
            z = o[2] + side * d[:, 2]
            side = np.where((z >= 0) & (z <= body.height) & (side > 0), side, np.inf)
            best, where = np.full(index.size, np.inf), np.zeros((index.size, 2))
            h, w = body.texture.shape[:2]
            hit = o + np.where(np.isfinite(side), side, 0)[:, None] * d
            wrap = np.stack(
                [
                    (1 - hit[:, 2] / body.height) * (h - 1),
                    (np.arctan2(hit[:, 1], hit[:, 0]) / 2 / np.pi + 0.5) * (w - 1),
                ],
                1,
            )
            for level in (0.0, body.height):
                cap = (level - o[2]) / d[:, 2]
                at = o[:2] + cap[:, None] * d[:, :2]
                inside = (np.sum(at**2, 1) <= body.radius**2) & (cap > 0)
                closer = inside & (cap < best)
                best = np.where(closer, cap, best)
                where = np.where(closer[:, None], (at / body.radius + 1) / 2 * [h - 1, w - 1], where)
        closer = side < best
        best = np.where(closer, side, best)
        where = np.where(closer[:, None], wrap, where)
        front = best < depth[index]
        # remap takes at most 32767 columns.
        count = int(np.count_nonzero(front))
        grid = np.zeros((2, -(-count // 1024) * 1024), np.float32)
        grid[:, :count] = where[front].T
        v, u = grid.reshape(2, -1, 1024)
        sample = cv2.remap(body.texture, u, v, cv2.INTER_LINEAR).reshape(-1, 3)[:count]
        rgb[index[front]] = sample
        depth[index[front]] = best[front]


def surface_point(body, angle, height):
    """A point (3,) on the side of a cylinder, its frame."""
    return np.array([body.radius * np.cos(angle), body.radius * np.sin(angle), height])


def pour_scene(rng):
    """A scene, keypoints (11, 3) in their objects' frames, and the object name of each."""
    scene = Scene(rng)
    bottle = [(0.0, 0.165), (-0.5, 0.12), (0.4, 0.08), (0.0, 0.03)]
    cup = [(-0.8, 0.096), (-0.3, 0.096), (0.3, 0.096), (0.8, 0.096), (-0.5, 0.05), (0.1, 0.06), (0.5, 0.03)]
    points = [surface_point(scene.bottle, *p) for p in bottle] + [surface_point(scene.cup, *p) for p in cup]
    return scene, np.array(points), ["bottle"] * 4 + ["cup"] * 7


def placed(scene, placements):
    """What `Scene.render` takes for {"bottle": (x, y, yaw), "cup": ...}."""
    bodies = {"bottle": scene.bottle, "cup": scene.cup}
    return [(bodies[name], geometry.yaw_pose(*place)) for name, place in placements.items()]


def keypoints_at(points, objects, placements):
    """Keypoints (N, 3) in the task frame of objects that stand at `placements`."""
    return np.array(
        [geometry.transform_points(geometry.yaw_pose(*placements[o]), p) for o, p in zip(objects, points, strict=True)]
    )
