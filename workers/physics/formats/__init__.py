"""Readers for users' motion data: AIST++, Human3.6M, SMPL poses and COCO keypoints.

None of these data sets can be redistributed; users bring their files. The readers follow the
published layouts and are tested on small files written in them, not on the data sets themselves.

    track = aist.read_keypoints3d("keypoints3d/gBR_sBM_cAll_d04_mBR0_ch01.pkl")
    clip, fit = states.clip_from_keypoints(track, site_map.load("aist-keypoints3d"), humanoid())
    loss = PhysicsLoss(clip, 0.0, 1.0, options)        # as any other clip
"""

from optimus.errors import UserError


class FormatError(UserError, ValueError):
    """A file is not what its reader expects; one line naming file, field or line, and remedy."""
