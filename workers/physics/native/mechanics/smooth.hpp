// Branch-free, twice continuously differentiable building blocks.
#pragma once

#include <cppad/cppad.hpp>

namespace optimus_physics {

// "left < right ? a : b". A C++ `if` on an active value would be baked into the tape.
inline double if_less(double left, double right, double a, double b) {
  return left < right ? a : b;
}
template <class Base>
CppAD::AD<Base> if_less(const CppAD::AD<Base>& left, const CppAD::AD<Base>& right,
                        const CppAD::AD<Base>& a, const CppAD::AD<Base>& b) {
  return CppAD::CondExpLt(left, right, a, b);
}

template <class T> struct ValueSlope {
  T value, slope;
};

// max(d, 0) with a C2 blend on |d| < width: exactly 0 below, exactly d above.
template <class T, class P> ValueSlope<T> smooth_positive(const T& d, const P& width) {
  const T w(width), zero(0.0), one(1.0);
  const T t = d + w;
  const T t2 = t * t;
  const P cube = width * width * width;
  const T blend = t2 * t * (T(P(3.0) * width) - d) * T(P(1.0) / (P(16.0) * cube));
  const T slope = t2 * (T(P(2.0) * width) - d) * T(P(1.0) / (P(4.0) * cube));
  return {if_less(d, -w, zero, if_less(d, w, blend, d)),
          if_less(d, -w, zero, if_less(d, w, slope, one))};
}

}  // namespace optimus_physics
