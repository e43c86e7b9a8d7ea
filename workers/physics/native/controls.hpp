// From the optimiser's variables x to what a step takes in, and back for the gradient.
#pragma once

#include "spatial.hpp"

#include <cmath>

namespace optimus_physics {

// Unit quaternion of a rotation vector v, and k = sin(|v|/2) / |v|.
inline Quat<double> exp_quat(const Vec3<double>& v, double& k) {
  const double s = v.squaredNorm(), angle = std::sqrt(s);
  k = angle > 1e-4 ? std::sin(angle / 2) / angle : 0.5 - s / 48;
  return {std::cos(angle / 2), k * v(0), k * v(1), k * v(2)};
}

// Pulls d/d(quaternion) back to d/dv.
inline Vec3<double> exp_quat_pullback(const Vec3<double>& v, const Quat<double>& e, double k,
                                      const Quat<double>& adjoint) {
  const double s = v.squaredNorm();
  const double dk = s > 1e-4 ? (e.w / 2 - k) / s : -1.0 / 24 + s / 960;  // (dk/d|v|) / |v|
  const Vec3<double> a(adjoint.x, adjoint.y, adjoint.z);
  return k * a + v * (dk * v.dot(a) - 0.5 * k * adjoint.w);
}

// One joint's inputs. `index` says which entries of x drive its degrees of freedom; `base` is the
// PD target at x = 0 (unused for torques).
struct JointControl {
  const Body& body;
  const double* x;
  const int* index;
  double scale;

  Vec3<double> vector() const {
    return {scale * x[index[0]], scale * x[index[1]], scale * x[index[2]]};
  }
  int dofs() const { return body.joint == JointType::kSpherical ? 3 : 1; }

  void target(const double* base, double* out) const {
    if (dofs() == 1) {
      out[0] = base[0] + scale * x[index[0]];
      return;
    }
    double k = 0;
    write_quat(multiply(read_quat(base), exp_quat(vector(), k)), out);
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
  void torque(double* out) const {
    for (int j = 0; j < dofs(); ++j) {
      const double t = scale * x[index[j]];
      out[j] = body.torque_max * t / std::hypot(1.0, t);
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
