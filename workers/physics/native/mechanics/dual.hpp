// Forward-mode derivatives: a value and its derivative along one direction.
//
// The third way to the gradient, sharing no code with the tapes: for tests, one direction at a time.
#pragma once

#include <Eigen/Core>

#include <cmath>

namespace optimus_physics {

struct Dual {
  double v = 0, d = 0;
  Dual() = default;
  Dual(double value) : v(value) {}  // NOLINT: constants mix freely
  Dual(double value, double slope) : v(value), d(slope) {}
  Dual& operator+=(const Dual& b) { return *this = {v + b.v, d + b.d}; }
  Dual& operator-=(const Dual& b) { return *this = {v - b.v, d - b.d}; }
  Dual& operator*=(const Dual& b) { return *this = {v * b.v, d * b.v + v * b.d}; }
  Dual& operator/=(const Dual& b) { return *this = {v / b.v, (d - v / b.v * b.d) / b.v}; }
};

inline Dual operator+(Dual a, const Dual& b) { return a += b; }
inline Dual operator-(Dual a, const Dual& b) { return a -= b; }
inline Dual operator*(Dual a, const Dual& b) { return a *= b; }
inline Dual operator/(Dual a, const Dual& b) { return a /= b; }
inline Dual operator-(const Dual& a) { return {-a.v, -a.d}; }
inline Dual sqrt(const Dual& a) {
  const double root = std::sqrt(a.v);
  return {root, a.d / (2 * root)};
}
inline Dual sin(const Dual& a) { return {std::sin(a.v), std::cos(a.v) * a.d}; }
inline Dual cos(const Dual& a) { return {std::cos(a.v), -std::sin(a.v) * a.d}; }

inline Dual if_less(const Dual& left, const Dual& right, const Dual& a, const Dual& b) {
  return left.v < right.v ? a : b;
}
inline double value(const Dual& a) { return a.v; }
inline double value(double a) { return a; }

}  // namespace optimus_physics

namespace Eigen {
template <> struct NumTraits<optimus_physics::Dual> : NumTraits<double> {
  using Real = optimus_physics::Dual;
  using NonInteger = optimus_physics::Dual;
  using Nested = optimus_physics::Dual;
  enum { RequireInitialization = 1, ReadCost = 2, AddCost = 2, MulCost = 6 };
};
}  // namespace Eigen
