// What acts inside a joint: control torque, passive damping and springs, limits.
//
// PD control is implicit ("stable PD", Tan, Liu and Turk 2011): position error and velocity are
// those at the end of the step, so torque = explicit - rate * (joint acceleration), and the rate
// joins the joint's inertia. High gains stay stable at large steps. Springs and limits likewise.
#pragma once

#include "mechanics/kinematics.hpp"
#include "mechanics/smooth.hpp"

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
template <class T, class P>
void add_limits(const ModelT<P>& m, const BodyT<P>& b, const T& q, const T& qd,
                JointForce<T>& out) {
  const LimitT<P>& l = m.limit;
  const T next = q + T(m.dt) * qd;
  const ValueSlope<T> low = smooth_positive<T>(T(b.lower) - next, l.smoothing);
  const ValueSlope<T> high = smooth_positive<T>(next - T(b.upper), l.smoothing);
  const T damping = T(l.stiffness * l.damping) * (low.value + high.value);
  out.torque(0) += T(l.stiffness) * (low.value - high.value) - damping * qd;
  out.rate += T(m.dt) * (damping + T(l.stiffness * m.dt) * (low.slope + high.slope));
}

// A spherical joint's limit on its total rotation angle (MuJoCo's meaning of a ball's range).
//
// The angle a enters through s = sin^2(a / 2) = |v|^2, v the quaternion's vector part: a polynomial
// that is the same for q and -q and smooth everywhere. The excess e = (s - s_max) 2 / sin(a_max) is
// measured in radians near the limit, the potential is k smooth_positive(e)^2 / 2, and its torque
// along u = g w v has size k e at the limit. It fades towards half a turn, where the direction back
// is undefined. The implicit rate is the true one along u, taken isotropic.
template <class T, class P>
void add_cone(const ModelT<P>& m, const BodyT<P>& b, const Quat<T>& q, const Vec3<T>& w,
              Vec3<T>& torque, T& rate) {
  const LimitT<P>& l = m.limit;
  const Vec3<T> v(q.x, q.y, q.z);
  const Vec3<T> u = v * (q.w * T(b.cone_gain));
  const T speed = dot<T>(u, w);
  const T excess = (dot<T>(v, v) - T(b.cone_square)) * T(b.cone_gain) + T(m.dt) * speed;
  const ValueSlope<T> push = smooth_positive<T>(excess, l.smoothing);
  const T damping = T(l.stiffness * l.damping) * push.value;
  torque -= u * (T(l.stiffness) * push.value + damping * speed);
  rate += T(m.dt) * (damping + T(l.stiffness * m.dt) * push.slope) * dot<T>(u, u);
}

template <class T, class P>
JointForce<T> joint_force(const ModelT<P>& m, const BodyT<P>& b, const BodyPose<T>& pose,
                          const T* q, const T* qd, const T* input) {
  const bool ball = b.joint == JointType::kSpherical;
  const int n = ball ? 3 : 1;
  const T* v = qd + b.v;
  P rate = b.damping + b.stiffness * m.dt;
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
  if (!ball) torque(0) -= T(b.stiffness) * q[b.q];
  for (int j = 0; j < n; ++j) torque(j) -= T(rate) * v[j];
  JointForce<T> out{torque, T(rate * m.dt + b.armature)};
  if (ball) {
    if (b.limited) {
      const Vec3<T> w(v[0], v[1], v[2]);
      add_cone<T>(m, b, read_quat(q + b.q), w, torque, out.rate);
    }
    out.torque = pose.R * torque;
  } else if (b.limited) {
    add_limits<T>(m, b, q[b.q], v[0], out);
  }
  return out;
}

}  // namespace optimus_physics
