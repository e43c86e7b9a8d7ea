// Articulated-body algorithm in world axes (Featherstone 2008, ch. 7), about each joint origin,
// with classical (not spatial) accelerations.
#pragma once

#include "mechanics/contact.hpp"
#include "mechanics/joint_forces.hpp"

namespace optimus_physics {

// Everything one step needs, kept between calls so that the double path never allocates.
template <class T> struct Workspace {
  std::vector<BodyPose<T>> poses;
  std::vector<BodyMotion<T>> motions;
  std::vector<Inertia<T>> inertias;  // rigid, then articulated
  std::vector<Wrench<T>> bias;       // what must act on the body at zero acceleration
  JointForces<T> joints;
  std::vector<Mat3<T>> gain;         // spherical: (J + rate)^-1; revolute: unused
  std::vector<Wrench<T>> row;        // revolute: [J n; H^T n] / D
  std::vector<Vec3<T>> drive;        // joint acceleration before the parent moves
  std::vector<Vec3<T>> alpha, accel;
  std::vector<T> qacc;
};

// Inertia of a body about its joint origin, and the wrench its motion and gravity ask for.
template <class T, class P>
void rigid_body(const ModelT<P>& m, const BodyT<P>& b, const BodyPose<T>& pose,
                const BodyMotion<T>& motion, Inertia<T>& inertia, Wrench<T>& bias) {
  const Vec3<T> com = b.com.template cast<T>();
  const Vec3<T> h = pose.R * com;
  const Vec3<T> mh = h * T(b.mass);
  // J = i0 1 + (i1 - i0) n1 n1^T + (i2 - i0) n2 n2^T + m (h.h 1 - h h^T); the principal axis with
  // the odd moment is the base, so that round bodies need one outer product, spheres none.
  const T sum = T(b.moments(b.base)) + dot<T>(mh, h);
  for (int i = 0; i < 3; ++i) {
    for (int j = i; j < 3; ++j) inertia.J(i, j) = (i == j ? sum : T(0.0)) - mh(i) * h(j);
  }
  for (int k = 0; k < 3; ++k) {
    if (!b.extra[k]) continue;
    const P extra = b.moments(k) - b.moments(b.base);
    const Vec3<P> axis = b.principal.col(k);
    const Vec3<T> local = axis.template cast<T>();
    const Vec3<T> n = pose.R * local;
    const Vec3<T> en = n * T(extra);
    for (int i = 0; i < 3; ++i) {
      for (int j = i; j < 3; ++j) inertia.J(i, j) += en(i) * n(j);
    }
  }
  const T zero(0.0);
  inertia.J(1, 0) = inertia.J(0, 1);
  inertia.J(2, 0) = inertia.J(0, 2);
  inertia.J(2, 1) = inertia.J(1, 2);
  inertia.H << zero, -mh(2), mh(1), mh(2), zero, -mh(0), -mh(1), mh(0), zero;
  inertia.M << T(b.mass), zero, zero, zero, T(b.mass), zero, zero, zero, T(b.mass);

  const Vec3<T> g = m.gravity.template cast<T>();
  const Vec3<T> jw = inertia.J * motion.w;
  const Vec3<T> spin = cross<T>(motion.w, cross<T>(motion.w, mh));
  bias.torque = cross<T>(motion.w, jw) - cross<T>(mh, g);
  bias.force = spin - g * T(b.mass);
}

// The part of a body's acceleration that comes from velocities alone.
template <class T, class P>
Wrench<T> velocity_acceleration(const BodyT<P>& b, const Workspace<T>& ws, std::size_t i) {
  Wrench<T> c;
  const T zero(0.0);
  c.torque = cross<T>(ws.motions[i].w, ws.motions[i].joint);
  c.force = Vec3<T>(zero, zero, zero);
  if (b.parent >= 0) {
    const Vec3<T>& w = ws.motions[b.parent].w;
    c.force = cross<T>(w, cross<T>(w, ws.poses[i].r));
  }
  return c;
}

// Adds a child's articulated inertia and bias to its parent, r away.
template <class T>
void shift_to_parent(const Vec3<T>& r, const Inertia<T>& a, const Wrench<T>& f,
                     Inertia<T>& parent, Wrench<T>& bias) {
  const Mat3<T> G = a.H + cross_columns<T>(r, a.M);
  const Mat3<T> right = cross_columns<T>(r, a.H.transpose());
  for (int i = 0; i < 3; ++i) {
    // row i of -G skew(r) is cross(r, G.row(i))
    const Vec3<T> left = cross<T>(r, G.row(i).transpose());
    for (int j = i; j < 3; ++j) {
      parent.J(i, j) += a.J(i, j) + left(j) + right(i, j);
      if (j > i) parent.J(j, i) = parent.J(i, j);
    }
  }
  parent.H += G;
  parent.M += a.M;
  bias.force += f.force;
  bias.torque += f.torque + cross<T>(r, f.force);
}

// Eliminates a spherical joint: fills gain and drive, returns what the parent feels.
template <class T>
Inertia<T> eliminate_spherical(Workspace<T>& ws, std::size_t i, const Wrench<T>& c, Wrench<T>& f) {
  const Inertia<T>& I = ws.inertias[i];
  const JointForce<T>& joint = ws.joints[i];
  Mat3<T> D = I.J;
  for (int k = 0; k < 3; ++k) D(k, k) += joint.rate;
  const Mat3<T> K = symmetric_inverse<T>(D);
  const Vec3<T> t = joint.torque - ws.bias[i].torque - I.J * c.torque - I.H * c.force;
  const Vec3<T> u = K * t;
  const Mat3<T> KH = K * I.H;
  ws.gain[i] = K;
  ws.drive[i] = u;
  Inertia<T> out;
  out.J = -K * (joint.rate * joint.rate);
  for (int k = 0; k < 3; ++k) out.J(k, k) += joint.rate;
  out.H = KH * joint.rate;
  out.M = I.M - symmetric_product<T>(I.H.transpose(), KH);
  f.torque = joint.torque - u * joint.rate;
  f.force = ws.bias[i].force + I.H.transpose() * (c.torque + u) + I.M * c.force;
  return out;
}

template <class T>
Inertia<T> eliminate_revolute(Workspace<T>& ws, std::size_t i, const Wrench<T>& c, Wrench<T>& f) {
  const Inertia<T>& I = ws.inertias[i];
  const JointForce<T>& joint = ws.joints[i];
  const Vec3<T>& n = ws.motions[i].axis;
  const Vec3<T> Jn = I.J * n, Hn = I.H.transpose() * n;
  const T scale = T(1.0) / (dot<T>(n, Jn) + joint.rate);
  const T t = joint.torque(0) - dot<T>(n, ws.bias[i].torque) - dot<T>(Jn, c.torque) -
              dot<T>(Hn, c.force);
  const T u = t * scale;
  ws.row[i].torque = Jn * scale;
  ws.row[i].force = Hn * scale;
  ws.drive[i](0) = u;
  Inertia<T> out = I;
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) {
      out.H(a, b) -= ws.row[i].torque(a) * Hn(b);
      if (b < a) continue;
      out.J(a, b) -= ws.row[i].torque(a) * Jn(b);
      out.M(a, b) -= ws.row[i].force(a) * Hn(b);
      out.J(b, a) = out.J(a, b);
      out.M(b, a) = out.M(a, b);
    }
  }
  f.torque = ws.bias[i].torque + I.J * c.torque + I.H * c.force + Jn * u;
  f.force = ws.bias[i].force + I.H.transpose() * c.torque + I.M * c.force + Hn * u;
  return out;
}

// Accelerations of all joints from ws.inertias, ws.bias and ws.joints (which it overwrites).
template <class T, class P> void forward_dynamics(const ModelT<P>& m, Workspace<T>& ws) {
  const std::size_t n = m.bodies.size();
  ws.gain.resize(n);
  ws.row.resize(n);
  ws.drive.resize(n);
  ws.alpha.resize(n);
  ws.accel.resize(n);
  ws.qacc.resize(m.nv);
  for (std::size_t i = n; i-- > 0;) {
    const BodyT<P>& b = m.bodies[i];
    if (b.joint == JointType::kFree) continue;
    Wrench<T> f;
    const Wrench<T> c = velocity_acceleration<T>(b, ws, i);
    const Inertia<T> up = b.joint == JointType::kSpherical ? eliminate_spherical<T>(ws, i, c, f)
                                                           : eliminate_revolute<T>(ws, i, c, f);
    if (b.parent >= 0) {
      shift_to_parent<T>(ws.poses[i].r, up, f, ws.inertias[b.parent], ws.bias[b.parent]);
    }
  }
  const T zero(0.0);
  for (std::size_t i = 0; i < n; ++i) {
    const BodyT<P>& b = m.bodies[i];
    T* out = ws.qacc.data() + b.v;
    const Mat3<T>& R = ws.poses[i].R;
    if (b.joint == JointType::kFree) {
      const Inertia<T>& I = ws.inertias[i];
      const Wrench<T>& f = ws.bias[i];
      const Mat3<T> K = symmetric_inverse<T>(I.J);
      const Mat3<T> KH = K * I.H;
      const Mat3<T> S = symmetric_inverse<T>(I.M - symmetric_product<T>(I.H.transpose(), KH));
      ws.accel[i] = S * (KH.transpose() * f.torque - f.force);
      ws.alpha[i] = -(K * f.torque) - KH * ws.accel[i];
      const Vec3<T> local = R.transpose() * ws.alpha[i];
      for (int k = 0; k < 3; ++k) out[k] = ws.accel[i](k);
      for (int k = 0; k < 3; ++k) out[3 + k] = local(k);
      continue;
    }
    Vec3<T> alpha(zero, zero, zero), accel(zero, zero, zero);
    if (b.parent >= 0) {
      alpha = ws.alpha[b.parent];
      accel = ws.accel[b.parent] + cross<T>(alpha, ws.poses[i].r);
    }
    const Wrench<T> c = velocity_acceleration<T>(b, ws, i);
    if (b.joint == JointType::kSpherical) {
      const Inertia<T>& I = ws.inertias[i];
      const Vec3<T> u = ws.drive[i] - ws.gain[i] * (I.J * alpha + I.H * accel);
      const Vec3<T> local = R.transpose() * u;
      for (int k = 0; k < 3; ++k) out[k] = local(k);
      ws.alpha[i] = alpha + u + c.torque;
    } else {
      out[0] = ws.drive[i](0) - dot<T>(ws.row[i].torque, alpha) - dot<T>(ws.row[i].force, accel);
      ws.alpha[i] = alpha + ws.motions[i].axis * out[0] + c.torque;
    }
    ws.accel[i] = accel + c.force;
  }
}

}  // namespace optimus_physics
