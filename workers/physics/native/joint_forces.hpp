// What acts inside a joint: control torque, passive damping, limits.
//
// PD control is implicit ("stable PD", Tan, Liu and Turk 2011): position error and velocity are
// those at the end of the step, so torque = explicit - rate * (joint acceleration), and the rate
// joins the joint's inertia. High gains stay stable at large steps.
#pragma once

#include "kinematics.hpp"
#include "smooth.hpp"

namespace optimus_physics {

template <class T> struct JointForce {
  Vec3<T> torque;  // spherical: world axes; revolute: first entry only, N m
  T rate;          // added to the joint's inertia, kg m^2
};

template <class T> using JointForces = std::vector<JointForce<T>>;

// Rotation error of a spherical joint, 2 sin(angle / 2) * axis in the child frame. It lives on the
// double cover of the rotations, so it has no jump at half a turn.
template <class T> Vec3<T> rotation_error(const Quat<T>& q, const Quat<T>& target) {
  const Quat<T> e = multiply<T>(conjugate<T>(q), target);
  return Vec3<T>(e.x + e.x, e.y + e.y, e.z + e.z);
}

// Smooth one-sided springs at both ends of a revolute joint's range, implicit like the contact.
template <class T>
void add_limits(const Model& m, const Body& b, const T& q, const T& qd, JointForce<T>& out) {
  const Limit& l = m.limit;
  const T next = q + T(m.dt) * qd;
  const ValueSlope<T> low = smooth_positive<T>(T(b.lower) - next, l.smoothing);
  const ValueSlope<T> high = smooth_positive<T>(next - T(b.upper), l.smoothing);
  const T damping = T(l.stiffness * l.damping) * (low.value + high.value);
  out.torque(0) += T(l.stiffness) * (low.value - high.value) - damping * qd;
  out.rate += T(m.dt) * (damping + T(l.stiffness * m.dt) * (low.slope + high.slope));
}

template <class T>
JointForce<T> joint_force(const Model& m, const Body& b, const BodyPose<T>& pose, const T* q,
                          const T* qd, const T* input) {
  const bool ball = b.joint == JointType::kSpherical;
  const int n = ball ? 3 : 1;
  const T* v = qd + b.v;
  double rate = b.damping;
  Vec3<T> torque(T(0.0), T(0.0), T(0.0));
  if (m.control == Control::kPd) {
    rate += b.kd + b.kp * m.dt;
    const T* target = input + b.target;
    if (ball) {
      torque = rotation_error<T>(read_quat(q + b.q), read_quat(target)) * T(b.kp);
    } else {
      torque(0) = T(b.kp) * (target[0] - q[b.q]);
    }
  } else {
    for (int j = 0; j < n; ++j) torque(j) = input[b.u + j];
  }
  for (int j = 0; j < n; ++j) torque(j) -= T(rate) * v[j];
  JointForce<T> out{torque, T(rate * m.dt)};
  if (ball) {
    out.torque = pose.R * torque;
  } else {
    add_limits<T>(m, b, q[b.q], v[0], out);
  }
  return out;
}

}  // namespace optimus_physics
