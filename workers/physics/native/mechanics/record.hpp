// The functions that are recorded, for any base scalar: double (tape.cc) or code (generate.cc).
#pragma once

#include "mechanics/parameters.hpp"
#include "mechanics/step.hpp"

namespace optimus_physics {

enum class Function { kStep, kPositions, kMotion };

// Sizes of a function's arguments and result.
struct Shape {
  std::size_t domain, range;
};
inline Shape shape(const Model& m, Function which) {
  const std::size_t state = m.nq + m.nv, seen = 3 * m.sites.size() + 3;
  if (which == Function::kStep) return {state + m.n_input(), state};
  if (which == Function::kPositions) return {std::size_t(m.nq), seen};
  return {state, seen + 3 * m.sites.size()};
}

// Evaluates one of them on taped scalars.
template <class T> void trace(const ModelT<T>& m, Function which, const T* x, T* y) {
  if (which == Function::kStep) {
    Workspace<T> ws;
    step<T>(m, x, x + m.nq, x + m.nq + m.nv, y, y + m.nq, ws);
  } else if (which == Function::kPositions) {
    see_positions<T>(m, x, y);
  } else {
    see_motion<T>(m, x, x + m.nq, y);
  }
}

}  // namespace optimus_physics
