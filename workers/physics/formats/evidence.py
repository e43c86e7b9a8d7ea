"""Where users' keypoints become part of a window's loss."""

from __future__ import annotations

import dataclasses

from workers.physics.formats.keypoints import Keypoints, at_times
from workers.physics.formats.site_map import SiteMap, to_sites
from workers.physics.model import PhysicsModel
from workers.physics.simulation.window_spec import Camera, WindowSpec


def with_keypoints(
    spec: WindowSpec,
    track: Keypoints,
    site_map: SiteMap,
    model: PhysicsModel,
    start: float,
    dt: float,
    weight: float,
    camera: Camera | None = None,
) -> WindowSpec:
    """The window with a track as what its motion is compared with.

    A 2-D track becomes the reprojection term, in 1/pixels^2 and seen by `camera`; a 3-D one takes
    the place of the reference, in 1/m^2. Weights of the sites are the map's times the confidence.

    Args:
      start: s, when the window begins in the track. dt: s, the spec's time step.

    Raises:
      FormatError: the track is too short, or a name is unknown.
      ValueError: a 2-D track without a camera.
    """
    positions, confidence = at_times(track, start + dt * spec.frame_steps)
    seen = dataclasses.replace(track, positions=positions, confidence=confidence)
    values, trust = to_sites(seen, site_map, [site.name for site in model.sites])
    if values.shape[2] == 3:
        return dataclasses.replace(spec, reference=values, confidence=trust, weight_position=weight)
    if camera is None:
        raise ValueError(f"{track.name}: keypoints in pixels need a camera")
    return dataclasses.replace(
        spec, keypoints=values, keypoint_confidence=trust, camera=camera, weight_reprojection=weight
    )
