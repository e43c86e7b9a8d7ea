// One time step: semi-implicit Euler (velocities first, then positions with the new velocities).
#pragma once

#include "mechanics/dynamics.hpp"

namespace optimus_physics {

// Poses, velocities, rigid inertias and bias wrenches at a state, without any contact.
template <class T, class P>
void prepare(const ModelT<P>& m, const T* q, const T* qd, Workspace<T>& ws) {
  body_poses<T>(m, q, ws.poses);
  body_motions<T>(m, ws.poses, qd, ws.motions);
  const std::size_t n = m.bodies.size();
  ws.inertias.resize(n);
  ws.bias.resize(n);
  ws.joints.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    rigid_body<T>(m, m.bodies[i], ws.poses[i], ws.motions[i], ws.inertias[i], ws.bias[i]);
  }
}

// A point at which to record a tape: all rotations the identity. The tape holds no branch, so the
// choice is free. x is (q), or (q, qd, input).
template <class T, class P>
void set_recording_point(const ModelT<P>& m, T* x, std::size_t n) {
  const std::size_t input = m.nq + m.nv;
  for (std::size_t i = 0; i < n; ++i) x[i] = T(0.0);
  for (const BodyT<P>& b : m.bodies) {
    if (b.joint == JointType::kFree) x[b.q + 3] = T(1.0);
    if (b.joint != JointType::kSpherical) continue;
    x[b.q] = T(1.0);
    if (n > input && m.control == Control::kPd) x[input + b.target] = T(1.0);
  }
}

// New positions from old positions and NEW velocities.
template <class T, class P>
void integrate(const ModelT<P>& m, const T* q, const T* qd, T* out) {
  const T dt(m.dt);
  for (const BodyT<P>& b : m.bodies) {
    const T* qi = q + b.q;
    const T* vi = qd + b.v;
    T* oi = out + b.q;
    if (b.joint == JointType::kRevolute) {
      oi[0] = qi[0] + dt * vi[0];
      continue;
    }
    if (b.joint == JointType::kFree) {
      for (int k = 0; k < 3; ++k) oi[k] = qi[k] + dt * vi[k];
      qi += 3;
      vi += 3;
      oi += 3;
    }
    const Vec3<T> turn(dt * vi[0], dt * vi[1], dt * vi[2]);
    write_quat<T>(rotate_by<T>(read_quat(qi), turn), oi);
  }
}

// (q, qd, input) -> (q, qd) after dt. input: PD targets [n_target] or torques [n_actuated], N m.
// The outputs must not overlap the inputs.
template <class T, class P>
void step(const ModelT<P>& m, const T* q, const T* qd, const T* input, T* q_next, T* qd_next,
          Workspace<T>& ws) {
  prepare<T>(m, q, qd, ws);
  for (const SphereT<P>& s : m.spheres) {
    const ContactPoint<T> c = contact_point<T>(m, s, ws.poses[s.body], ws.motions[s.body]);
    add_contact<T>(m, c, ws.inertias[s.body], ws.bias[s.body]);
  }
  for (std::size_t i = 0; i < m.bodies.size(); ++i) {
    if (m.bodies[i].joint == JointType::kFree) continue;
    ws.joints[i] = joint_force<T>(m, m.bodies[i], ws.poses[i], q, qd, input);
  }
  forward_dynamics<T>(m, ws);
  for (int k = 0; k < m.nv; ++k) qd_next[k] = qd[k] + T(m.dt) * ws.qacc[k];
  integrate<T>(m, q, qd_next, q_next);
}

}  // namespace optimus_physics
