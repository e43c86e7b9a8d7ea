// Joint kinematics: where every body is and how it moves, in world axes.
//
// State layout (the same as MuJoCo's qpos and qvel):
//   free       q: position (3, world), quaternion wxyz (4); qd: linear velocity (3, world),
//              angular velocity (3, body frame)
//   spherical  q: quaternion wxyz (4), child relative to parent; qd: relative angular velocity
//              (3, child frame)
//   revolute   q: angle; qd: rate
#pragma once

#include "mechanics/model.hpp"
#include "mechanics/spatial.hpp"

#include <vector>

namespace optimus_physics {

template <class T> struct BodyPose {
  Mat3<T> R;  // body -> world
  Vec3<T> p;  // joint origin, m
  Vec3<T> r;  // p minus the parent's p
};

template <class T> struct BodyMotion {
  Vec3<T> w;      // angular velocity, rad/s
  Vec3<T> v;      // velocity of p, m/s
  Vec3<T> joint;  // the joint's share of w
  Vec3<T> axis;   // revolute axis
};

// Rotation about a constant unit axis by an angle.
template <class T> Mat3<T> axis_rotation(const Eigen::Vector3d& axis, const T& angle) {
  using std::cos;
  using std::sin;
  const T s = sin(angle), c = cos(angle);
  const Eigen::Matrix3d nn = axis * axis.transpose();
  Eigen::Matrix3d k;
  k << 0, -axis(2), axis(1), axis(2), 0, -axis(0), -axis(1), axis(0), 0;
  Mat3<T> r;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      r(i, j) = T(nn(i, j)) + c * T((i == j ? 1.0 : 0.0) - nn(i, j)) + s * T(k(i, j));
    }
  }
  return r;
}

template <class T, class P>
void body_poses(const ModelT<P>& m, const T* q, std::vector<BodyPose<T>>& poses) {
  poses.resize(m.bodies.size());
  for (std::size_t i = 0; i < m.bodies.size(); ++i) {
    const BodyT<P>& b = m.bodies[i];
    BodyPose<T>& pose = poses[i];
    const T* qi = q + b.q;
    if (b.joint == JointType::kFree) {
      pose.p = Vec3<T>(qi[0], qi[1], qi[2]);
      pose.r = pose.p;
      pose.R = rotation(read_quat(qi + 3));
      continue;
    }
    const Mat3<T> turn = b.joint == JointType::kSpherical ? rotation(read_quat(qi))
                                                          : axis_rotation<T>(b.axis, qi[0]);
    const Vec3<T> offset = b.offset.template cast<T>();
    if (b.parent < 0) {
      pose.r = pose.p = offset;
      pose.R = turn;
    } else {
      const BodyPose<T>& up = poses[b.parent];
      pose.r = up.R * offset;
      pose.p = up.p + pose.r;
      pose.R = up.R * turn;
    }
  }
}

template <class T, class P>
void body_motions(const ModelT<P>& m, const std::vector<BodyPose<T>>& poses, const T* qd,
                  std::vector<BodyMotion<T>>& motions) {
  motions.resize(m.bodies.size());
  for (std::size_t i = 0; i < m.bodies.size(); ++i) {
    const BodyT<P>& b = m.bodies[i];
    const BodyPose<T>& pose = poses[i];
    BodyMotion<T>& motion = motions[i];
    const T* vi = qd + b.v;
    if (b.joint == JointType::kFree) {
      motion.v = Vec3<T>(vi[0], vi[1], vi[2]);
      motion.w = pose.R * Vec3<T>(vi[3], vi[4], vi[5]);
      motion.joint = motion.w;
      continue;
    }
    if (b.joint == JointType::kSpherical) {
      motion.joint = pose.R * Vec3<T>(vi[0], vi[1], vi[2]);
    } else {
      motion.axis = pose.R * b.axis.template cast<T>();
      motion.joint = motion.axis * vi[0];
    }
    if (b.parent < 0) {
      motion.w = motion.joint;
      motion.v = Vec3<T>(T(0.0), T(0.0), T(0.0));
    } else {
      const BodyMotion<T>& up = motions[b.parent];
      motion.w = up.w + motion.joint;
      motion.v = up.v + cross<T>(up.w, pose.r);
    }
  }
}

// World positions of the model's sites, m.
template <class T, class P>
void site_positions(const ModelT<P>& m, const std::vector<BodyPose<T>>& poses, T* out) {
  for (std::size_t k = 0; k < m.sites.size(); ++k) {
    const BodyPose<T>& pose = poses[m.sites[k].body];
    const Vec3<T> local = m.sites[k].position.template cast<T>();
    const Vec3<T> x = pose.p + pose.R * local;
    for (int j = 0; j < 3; ++j) out[3 * k + j] = x(j);
  }
}

// Centre of mass of the whole mechanism, m. Massless links weigh nothing.
template <class T, class P>
void center_of_mass(const ModelT<P>& m, const std::vector<BodyPose<T>>& poses, T* out) {
  P total = m.bodies[0].mass;
  for (std::size_t i = 1; i < m.bodies.size(); ++i) total += m.bodies[i].mass;
  for (int j = 0; j < 3; ++j) out[j] = T(0.0);
  for (std::size_t i = 0; i < m.bodies.size(); ++i) {
    const Vec3<T> local = m.bodies[i].com.template cast<T>();
    const Vec3<T> x = poses[i].p + poses[i].R * local;
    const T share(m.bodies[i].mass / total);
    for (int j = 0; j < 3; ++j) out[j] += share * x(j);
  }
}

// World velocities of the model's sites, m/s.
template <class T, class P>
void site_velocities(const ModelT<P>& m, const std::vector<BodyPose<T>>& poses,
                     const std::vector<BodyMotion<T>>& motions, T* out) {
  for (std::size_t k = 0; k < m.sites.size(); ++k) {
    const int body = m.sites[k].body;
    const Vec3<T> local = m.sites[k].position.template cast<T>();
    const Vec3<T> r = poses[body].R * local;
    const Vec3<T> v = motions[body].v + cross<T>(motions[body].w, r);
    for (int j = 0; j < 3; ++j) out[3 * k + j] = v(j);
  }
}

// What a frame of the loss sees. positions: q -> sites [n_sites, 3], centre of mass [3];
// motion: (q, qd) -> the same, then site velocities [n_sites, 3].
template <class T, class P> void see_positions(const ModelT<P>& m, const T* q, T* out) {
  std::vector<BodyPose<T>> poses;
  body_poses<T>(m, q, poses);
  site_positions<T>(m, poses, out);
  center_of_mass<T>(m, poses, out + 3 * m.sites.size());
}
template <class T, class P>
void see_motion(const ModelT<P>& m, const T* q, const T* qd, T* out) {
  std::vector<BodyPose<T>> poses;
  std::vector<BodyMotion<T>> motions;
  body_poses<T>(m, q, poses);
  body_motions<T>(m, poses, qd, motions);
  site_positions<T>(m, poses, out);
  center_of_mass<T>(m, poses, out + 3 * m.sites.size());
  site_velocities<T>(m, poses, motions, out + 3 * m.sites.size() + 3);
}

}  // namespace optimus_physics
