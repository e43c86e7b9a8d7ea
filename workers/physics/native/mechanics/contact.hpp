// Contact of spheres with the ground z = 0.
//
// With penetration d, upward speed v and predicted penetration dp = d - dt v, one Newton step of
// implicit Euler for a Hunt-Crossley spring gives the normal force at the END of the step:
//   f = k s(dp) (1 - c v') - k s'(dp) dt (v' - v),   v' = v + dt a,
// where s is the C2 positive part. It is stable for any stiffness and, because dp is already
// negative for a body that leaves the ground quickly, it does not stick. Friction is
//   f_t = - mu k s(dp) v_t' / sqrt(|v_t|^2 + v0^2)
// with the coefficient frozen at the start of the step. Both are linear in the unknown
// acceleration: the explicit part is an external wrench, the rest adds to the body's inertia. The
// centripetal part of the contact point's acceleration (about 0.02 m/s in v') is left out.
#pragma once

#include "mechanics/kinematics.hpp"
#include "mechanics/smooth.hpp"

namespace optimus_physics {

template <class T> struct ContactPoint {
  Vec3<T> r;      // contact point relative to the body's p
  Vec3<T> force;  // explicit part (v' = v), N
  T normal_rate;  // -d force_z / d v'_z, N s/m
  T slip_rate;    // -d force_xy / d v'_xy
};

template <class T, class P>
ContactPoint<T> contact_point(const ModelT<P>& m, const SphereT<P>& s, const BodyPose<T>& pose,
                              const BodyMotion<T>& motion) {
  const ContactT<P>& c = m.contact;
  ContactPoint<T> out;
  const Vec3<T> center = s.center.template cast<T>();
  out.r = pose.R * center;
  const T depth = T(s.radius) - pose.p(2) - out.r(2);
  out.r(2) -= T(s.radius);
  const Vec3<T> v = motion.v + cross<T>(motion.w, out.r);
  const ValueSlope<T> push = smooth_positive<T>(depth - T(m.dt) * v(2), c.smoothing);
  const T normal = T(c.stiffness) * push.value;
  const T damping = T(c.damping) * normal;
  using std::sqrt;
  const T slip = sqrt(v(0) * v(0) + v(1) * v(1) + T(c.slip_velocity * c.slip_velocity));
  out.slip_rate = T(c.friction) * normal / slip;
  out.normal_rate = damping + T(c.stiffness * m.dt) * push.slope;
  out.force = Vec3<T>(-out.slip_rate * v(0), -out.slip_rate * v(1), normal - damping * v(2));
  return out;
}

// Adds a contact to its body's inertia and takes its force off the bias (both about p).
template <class T, class P>
void add_contact(const ModelT<P>& m, const ContactPoint<T>& c, Inertia<T>& inertia, Wrench<T>& bias) {
  const Vec3<T>& r = c.r;
  const T t = T(m.dt) * c.slip_rate, n = T(m.dt) * c.normal_rate;
  bias.force -= c.force;
  bias.torque -= cross<T>(r, c.force);
  inertia.M(0, 0) += t;
  inertia.M(1, 1) += t;
  inertia.M(2, 2) += n;
  // skew(r) B and skew(r) B skew(r)^T with B = diag(t, t, n)
  const T tx = t * r(0), ty = t * r(1), tz = t * r(2), nx = n * r(0), ny = n * r(1);
  inertia.H(0, 1) -= tz;
  inertia.H(0, 2) += ny;
  inertia.H(1, 0) += tz;
  inertia.H(1, 2) -= nx;
  inertia.H(2, 0) -= ty;
  inertia.H(2, 1) += tx;
  const T zz = tz * r(2), xy = ny * r(0), xz = tx * r(2), yz = ty * r(2);
  inertia.J(0, 0) += zz + ny * r(1);
  inertia.J(1, 1) += zz + nx * r(0);
  inertia.J(2, 2) += tx * r(0) + ty * r(1);
  inertia.J(0, 1) -= xy;
  inertia.J(1, 0) -= xy;
  inertia.J(0, 2) -= xz;
  inertia.J(2, 0) -= xz;
  inertia.J(1, 2) -= yz;
  inertia.J(2, 1) -= yz;
}

}  // namespace optimus_physics
