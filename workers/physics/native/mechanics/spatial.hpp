// Small spatial algebra, templated on the scalar (double, or an AD type while a tape is recorded).
//
// All dynamics are written in WORLD-ALIGNED axes with each body's joint origin as its reference
// point. A spherical joint's motion subspace is then simply [1; 0], inertias are passed to the
// parent by a shift without any rotation, and the recorded tape stays about half as long as with
// the usual body-frame 6x6 transforms (Featherstone, Rigid Body Dynamics Algorithms, ch. 7).
#pragma once

#include <cppad/cppad.hpp>
#include <cppad/example/cppad_eigen.hpp>

#include <Eigen/Core>
#include <Eigen/Geometry>

namespace optimus_physics {

template <class T> using Vec3 = Eigen::Matrix<T, 3, 1>;
template <class T> using Mat3 = Eigen::Matrix<T, 3, 3>;

template <class T> Vec3<T> cross(const Vec3<T>& a, const Vec3<T>& b) {
  return Vec3<T>(a(1) * b(2) - a(2) * b(1), a(2) * b(0) - a(0) * b(2), a(0) * b(1) - a(1) * b(0));
}

template <class T> T dot(const Vec3<T>& a, const Vec3<T>& b) {
  return a(0) * b(0) + a(1) * b(1) + a(2) * b(2);
}

// skew(r) * m, column by column.
template <class T> Mat3<T> cross_columns(const Vec3<T>& r, const Mat3<T>& m) {
  Mat3<T> out;
  for (int j = 0; j < 3; ++j) out.col(j) = cross<T>(r, m.col(j));
  return out;
}

// a * b when the product is known to be symmetric: six entries are computed, three copied.
template <class T> Mat3<T> symmetric_product(const Mat3<T>& a, const Mat3<T>& b) {
  Mat3<T> out;
  for (int i = 0; i < 3; ++i) {
    for (int j = i; j < 3; ++j) {
      out(i, j) = a(i, 0) * b(0, j) + a(i, 1) * b(1, j) + a(i, 2) * b(2, j);
      out(j, i) = out(i, j);
    }
  }
  return out;
}

// Inverse of a symmetric positive definite matrix by cofactors (no branches, so it can be taped).
template <class T> Mat3<T> symmetric_inverse(const Mat3<T>& m) {
  const T c00 = m(1, 1) * m(2, 2) - m(1, 2) * m(1, 2);
  const T c01 = m(0, 2) * m(1, 2) - m(0, 1) * m(2, 2);
  const T c02 = m(0, 1) * m(1, 2) - m(0, 2) * m(1, 1);
  const T scale = T(1.0) / (m(0, 0) * c00 + m(0, 1) * c01 + m(0, 2) * c02);
  Mat3<T> out;
  out(0, 0) = scale * c00;
  out(0, 1) = scale * c01;
  out(0, 2) = scale * c02;
  out(1, 1) = scale * (m(0, 0) * m(2, 2) - m(0, 2) * m(0, 2));
  out(1, 2) = scale * (m(0, 1) * m(0, 2) - m(0, 0) * m(1, 2));
  out(2, 2) = scale * (m(0, 0) * m(1, 1) - m(0, 1) * m(0, 1));
  out(1, 0) = out(0, 1);
  out(2, 0) = out(0, 2);
  out(2, 1) = out(1, 2);
  return out;
}

// Quaternions are four scalars w, x, y, z.
template <class T> struct Quat {
  T w, x, y, z;
};

template <class T> Quat<T> read_quat(const T* q) { return {q[0], q[1], q[2], q[3]}; }

template <class T> void write_quat(const Quat<T>& q, T* out) {
  out[0] = q.w;
  out[1] = q.x;
  out[2] = q.y;
  out[3] = q.z;
}

template <class T> Quat<T> multiply(const Quat<T>& a, const Quat<T>& b) {
  return {a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
          a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
          a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
          a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}

template <class T> Quat<T> conjugate(const Quat<T>& q) { return {q.w, -q.x, -q.y, -q.z}; }

// Rotation matrix of a unit quaternion.
template <class T> Mat3<T> rotation(const Quat<T>& q) {
  const T x2 = q.x + q.x, y2 = q.y + q.y, z2 = q.z + q.z;
  const T xx = q.x * x2, yy = q.y * y2, zz = q.z * z2;
  const T xy = q.x * y2, xz = q.x * z2, yz = q.y * z2;
  const T wx = q.w * x2, wy = q.w * y2, wz = q.w * z2;
  Mat3<T> r;
  r << T(1.0) - yy - zz, xy - wz, xz + wy,
       xy + wz, T(1.0) - xx - zz, yz - wx,
       xz - wy, yz + wx, T(1.0) - xx - yy;
  return r;
}

// q turned by the body-frame rotation vector v (radians), then normalised. The half-angle sine and
// cosine are Taylor series in |v|^2: no square root of zero, no branch, and an error below 1e-9 for
// |v| < 0.4, the turn of a limb at 48 rad/s within 1/120 s. Normalising removes the rest.
template <class T> Quat<T> rotate_by(const Quat<T>& q, const Vec3<T>& v) {
  const T s = dot<T>(v, v) * T(0.25);
  const T c = T(1.0) - s * (T(0.5) - s * (T(1.0 / 24) - s * T(1.0 / 720)));
  const T k = T(0.5) - s * (T(1.0 / 12) - s * (T(1.0 / 240) - s * T(1.0 / 10080)));
  const Quat<T> p = multiply<T>(q, {c, k * v(0), k * v(1), k * v(2)});
  using std::sqrt;
  const T norm = T(1.0) / sqrt(p.w * p.w + p.x * p.x + p.y * p.y + p.z * p.z);
  return {p.w * norm, p.x * norm, p.y * norm, p.z * norm};
}

// Generalised (articulated) inertia about a point: [torque; force] =
// [J H; H^T M] [angular acceleration; acceleration of the point], J and M symmetric.
template <class T> struct Inertia {
  Mat3<T> J, H, M;
};

// [torque; force] about a point.
template <class T> struct Wrench {
  Vec3<T> torque, force;
};

}  // namespace optimus_physics
