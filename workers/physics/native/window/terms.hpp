// The terms of the loss: sums over frames of what a frame sees against its reference, and sums over
// x. One piece of code gives the value (of any scalar) and, for doubles, the adjoints.
#pragma once

#include "mechanics/dual.hpp"
#include "mechanics/smooth.hpp"
#include "window/window.hpp"

namespace optimus_physics {

template <class T> struct Sums {
  T at[kTerms];
  Sums() {
    for (T& sum : at) sum = T(0.0);
  }
  T total(const Window& w) const {
    T loss = T(w.scale[0]) * at[0];
    for (int k = 1; k < kTerms; ++k) {
      if (w.scale[k] != 0) loss += T(w.scale[k]) * at[k];
    }
    return loss;
  }
};

// Where adjoints go: null while only values are wanted.
struct FrameAdjoint {
  double* seen = nullptr;  // [n_seen]
  double* q = nullptr;     // [nq]
};

// sum += c |x - to|^2 over n numbers.
template <class T>
void squared(const T* x, const double* to, int n, double c, T& sum, double scale, double* adjoint) {
  for (int k = 0; k < n; ++k) {
    const T d = x[k] - T(to[k]);
    sum += T(c) * (d * d);
    if (adjoint) adjoint[k] += 2 * scale * c * value(d);
  }
}

// Pinhole projection of one site. The depth is bounded from below, smoothly: z stays as it is from
// 1.5 near on, and everything less than 0.5 near in front of the camera, or behind it, is
// projected as if it were at depth near. So a point behind the camera has a finite error that
// still pulls it sideways, but does not feel its depth.
template <class T>
void reprojection(const PhysicsCamera& c, const T* site, const double* to, double confidence,
                  T& sum, double scale, double* adjoint) {
  T at[3];
  for (int i = 0; i < 3; ++i) {
    at[i] = T(c.translation[i]);
    for (int j = 0; j < 3; ++j) at[i] += T(c.rotation[3 * i + j]) * site[j];
  }
  const ValueSlope<T> front = smooth_positive<T>(at[2] - T(c.near), 0.5 * c.near);
  const T inverse = T(1.0) / (T(c.near) + front.value);
  const T du = T(c.fx) * at[0] * inverse + T(c.cx - to[0]);
  const T dv = T(c.fy) * at[1] * inverse + T(c.cy - to[1]);
  sum += T(confidence) * (du * du + dv * dv);
  if (!adjoint) return;
  const double u = 2 * scale * confidence * value(du) * c.fx * value(inverse);
  const double v = 2 * scale * confidence * value(dv) * c.fy * value(inverse);
  const double z = -(u * value(at[0]) + v * value(at[1])) * value(inverse) * value(front.slope);
  for (int j = 0; j < 3; ++j) {
    adjoint[j] += c.rotation[j] * u + c.rotation[3 + j] * v + c.rotation[6 + j] * z;
  }
}

// Squared excess over the limits of the joints that have some, rad^2.
template <class T>
void limit_excess(const Model& m, const T* q, T& sum, double scale, double* adjoint) {
  const double width = m.limit.smoothing;
  for (const Body& b : m.bodies) {
    if (!b.limited) continue;
    const T* at = q + b.q;
    if (b.joint == JointType::kRevolute) {
      const ValueSlope<T> low = smooth_positive<T>(T(b.lower) - at[0], width);
      const ValueSlope<T> high = smooth_positive<T>(at[0] - T(b.upper), width);
      sum += low.value * low.value + high.value * high.value;
      if (adjoint) {
        adjoint[b.q] += 2 * scale * (value(high.value) * value(high.slope) -
                                     value(low.value) * value(low.slope));
      }
    } else {  // as in joint_forces.hpp
      const T s = at[1] * at[1] + at[2] * at[2] + at[3] * at[3];
      const ValueSlope<T> over =
          smooth_positive<T>((s - T(b.cone_square)) * T(b.cone_gain), width);
      sum += over.value * over.value;
      for (int k = 1; adjoint && k < 4; ++k) {
        adjoint[b.q + k] +=
            4 * scale * value(over.value) * value(over.slope) * b.cone_gain * value(at[k]);
      }
    }
  }
}

// Adds frame f's share to the sums. q: the state; seen: what see_motion gives, as far as needed.
template <class T>
void frame_terms(const Window& w, int f, const T* q, const T* seen, Sums<T>& sums,
                 const FrameAdjoint& adjoint) {
  const int n = int(w.simulator->model.sites.size());
  const double* scale = w.scale;
  const auto part = [](double* base, int offset) { return base ? base + offset : nullptr; };
  for (int k = 0; k < n && w.needs_sites(); ++k) {
    const int at = f * n + k;
    double* const back = part(adjoint.seen, 3 * k);
    if (scale[PHYSICS_POSITION] > 0) {
      squared(seen + 3 * k, &w.reference[3 * at], 3, w.confidence[at], sums.at[PHYSICS_POSITION],
              scale[PHYSICS_POSITION], back);
    }
    if (scale[PHYSICS_REPROJECTION] > 0) {
      reprojection(w.camera, seen + 3 * k, &w.keypoints[2 * at], w.keypoint_confidence[at],
                   sums.at[PHYSICS_REPROJECTION], scale[PHYSICS_REPROJECTION], back);
    }
    if (scale[PHYSICS_VELOCITY] > 0) {
      const int from = 3 * n + 3 + 3 * k;
      squared(seen + from, &w.velocities[3 * at], 3, w.confidence[at], sums.at[PHYSICS_VELOCITY],
              scale[PHYSICS_VELOCITY], part(adjoint.seen, from));
    }
  }
  if (scale[PHYSICS_COM] > 0) {
    squared(seen + 3 * n, &w.com[3 * f], 3, 1.0, sums.at[PHYSICS_COM], scale[PHYSICS_COM],
            part(adjoint.seen, 3 * n));
  }
  if (scale[PHYSICS_ROOT] > 0) {
    squared(q, &w.root[3 * f], 3, 1.0, sums.at[PHYSICS_ROOT], scale[PHYSICS_ROOT], adjoint.q);
  }
  if (scale[PHYSICS_LIMIT] > 0) {
    limit_excess(w.simulator->model, q, sums.at[PHYSICS_LIMIT], scale[PHYSICS_LIMIT], adjoint.q);
  }
}

// The terms of x itself; grad, when not null, is set and not added to.
template <class T> void control_terms(const Window& w, const T* x, Sums<T>& sums, double* grad) {
  const double scale = w.scale[PHYSICS_CONTROL], rate = w.scale[PHYSICS_SMOOTHNESS];
  for (int i = 0; i < w.n_controls; ++i) {
    sums.at[PHYSICS_CONTROL] += x[i] * x[i];
    if (grad) grad[i] = 2 * scale * value(x[i]);
  }
  for (int i = w.n_controls; grad && i < w.n_variables(); ++i) grad[i] = 0;
  if (rate == 0) return;
  for (const auto& [from, to] : w.changes) {
    const T d = x[to] - x[from];
    sums.at[PHYSICS_SMOOTHNESS] += d * d;
    if (grad) grad[to] += 2 * rate * value(d);
    if (grad) grad[from] -= 2 * rate * value(d);
  }
}

}  // namespace optimus_physics
