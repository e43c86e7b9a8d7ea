// From the optimiser's variables x to what a step takes in, and back for the gradient.
#pragma once

#include "mechanics/dual.hpp"
#include "mechanics/model.hpp"

namespace optimus_physics {

// Unit quaternion of a rotation vector v, and k = sin(|v|/2) / |v|.
template <class T> Quat<T> exp_quat(const Vec3<T>& v, T& k) {
  using std::cos;
  using std::sin;
  using std::sqrt;
  const T s = dot<T>(v, v);
  if (value(s) > 1e-8) {
    const T angle = sqrt(s);
    k = sin(angle * T(0.5)) / angle;
    return {cos(angle * T(0.5)), k * v(0), k * v(1), k * v(2)};
  }
  k = T(0.5) - s / T(48.0);  // cos by its series too: a square root has no derivative at 0
  return {T(1.0) - s / T(8.0) * (T(1.0) - s / T(48.0)), k * v(0), k * v(1), k * v(2)};
}

// Pulls d/d(quaternion) back to d/dv.
inline Vec3<double> exp_quat_pullback(const Vec3<double>& v, const Quat<double>& e, double k,
                                      const Quat<double>& adjoint) {
  const double s = v.squaredNorm();
  const double dk = s > 1e-4 ? (e.w / 2 - k) / s : -1.0 / 24 + s / 960;  // (dk/d|v|) / |v|
  const Vec3<double> a(adjoint.x, adjoint.y, adjoint.z);
  return k * a + v * (dk * v.dot(a) - 0.5 * k * adjoint.w);
}

// x / sqrt(1 + x^2); hypot does not overflow.
inline double saturate(double x) { return x / std::hypot(1.0, x); }
inline Dual saturate(const Dual& x) {
  const double h = std::hypot(1.0, x.v);
  return {x.v / h, x.d / h / h / h};
}

// One joint's inputs. `index` says which entries of x drive its degrees of freedom; `base` is the
// PD target at x = 0 (unused for torques).
template <class T> struct JointControl {
  const Body& body;
  const T* x;
  const int* index;
  double scale;

  Vec3<T> vector() const {
    return {T(scale) * x[index[0]], T(scale) * x[index[1]], T(scale) * x[index[2]]};
  }
  int dofs() const { return body.joint == JointType::kSpherical ? 3 : 1; }

  void target(const double* base, T* out) const {
    if (dofs() == 1) {
      out[0] = T(base[0]) + T(scale) * x[index[0]];
      return;
    }
    T k(0.0);
    const Quat<T> from{T(base[0]), T(base[1]), T(base[2]), T(base[3])};
    write_quat(multiply(from, exp_quat<T>(vector(), k)), out);
  }
  void target_pullback(const double* base, const double* adjoint, double* grad) const {
    if (dofs() == 1) {
      grad[index[0]] += scale * adjoint[0];
      return;
    }
    double k = 0;
    const Vec3<double> v = vector();
    const Quat<double> e = exp_quat(v, k);
    const Quat<double> back = multiply(conjugate(read_quat(base)), read_quat(adjoint));
    const Vec3<double> g = exp_quat_pullback(v, e, k, back);
    for (int j = 0; j < 3; ++j) grad[index[j]] += scale * g(j);
  }
  // Muscles have a largest torque: x / sqrt(1 + x^2) has slope 1 at 0 and never exceeds it.
  void torque(T* out) const {
    for (int j = 0; j < dofs(); ++j) {
      out[j] = T(body.torque_max) * saturate(T(scale) * x[index[j]]);
    }
  }
  void torque_pullback(const double* adjoint, double* grad) const {
    for (int j = 0; j < dofs(); ++j) {
      const double h = std::hypot(1.0, scale * x[index[j]]);
      grad[index[j]] += scale * body.torque_max * adjoint[j] / (h * h * h);
    }
  }
};

}  // namespace optimus_physics
