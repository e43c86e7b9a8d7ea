// A window of motion: what is simulated, against what, and the loss with its exact gradient.
#pragma once

#include "physics.h"
#include "window/tape.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace optimus_physics {

// Generated code: x holds the point, the adjoint of the result, the parameters (generate.cc).
using GeneratedVjp = void (*)(const double* x, double* grad);

// A model and the gradients of its functions. Shared by all its windows.
struct Simulator {
  Model model;
  std::string structure;
  Parameters parameters;
  // Used instead of the tapes when set, which happens before any window exists.
  GeneratedVjp step_code = nullptr, positions_code = nullptr, motion_code = nullptr;
  std::shared_ptr<Tapes> tapes;  // recorded for the first window that needs them
  std::once_flag recorded;
  std::atomic<bool> has_window{false};
};

using Term = PhysicsTerm;
constexpr int kTerms = PHYSICS_TERMS;

struct Window {
  std::shared_ptr<Simulator> simulator;
  int n_steps = 0, n_controls = 0, n_frames = 0;
  bool initial_velocity = false;         // x ends with nv entries for it
  std::vector<int> control_index;        // [n_steps, n_actuated]
  std::vector<std::pair<int, int>> changes;  // entries of x that follow each other on an axis
  std::vector<double> targets;           // [n_steps, n_target], PD only
  std::vector<int> frame_steps;          // [n_frames], rising, in 1..n_steps
  // What frames are compared with; empty where the term has no weight.
  std::vector<double> reference;         // [n_frames, n_sites, 3], m
  std::vector<double> confidence;        // [n_frames, n_sites], of reference and velocities
  std::vector<double> root, com;         // [n_frames, 3], m
  std::vector<double> velocities;        // [n_frames, n_sites, 3], m/s
  std::vector<double> keypoints;         // [n_frames, n_sites, 2], pixels
  std::vector<double> keypoint_confidence;  // [n_frames, n_sites]
  PhysicsCamera camera{};
  std::vector<double> q0, qd0;
  double control_scale = 1, velocity_scale = 1;
  double scale[kTerms] = {};  // weight / what the term's sum is a mean over; 0: not computed

  bool needs_motion() const { return scale[PHYSICS_VELOCITY] > 0; }
  bool needs_sites() const {
    return scale[PHYSICS_POSITION] > 0 || scale[PHYSICS_REPROJECTION] > 0 || needs_motion();
  }
  bool needs_seen() const { return needs_sites() || scale[PHYSICS_COM] > 0; }
  std::size_t n_seen() const {
    return 3 * simulator->model.sites.size() * (needs_motion() ? 2 : 1) + 3;
  }
  int n_variables() const { return n_controls + (initial_velocity ? simulator->model.nv : 0); }
};

// States of a rollout: q [n_steps + 1, nq], qd [n_steps + 1, nv], input [n_steps, n_input].
template <class T> struct RolloutT {
  std::vector<T> q, qd, input;
};
using Rollout = RolloutT<double>;

// False when a state is not finite; the states after it are zeros.
bool roll_out(const Window& window, const double* x, Rollout& out);

// Loss and, when grad is not null, its gradient [n_variables]. False when either is not finite.
bool loss_and_grad(const Window& window, const double* x, double* loss, double* grad);

// The weighted terms, [kTerms]; their sum is the loss. False when one is not finite.
bool loss_terms(const Window& window, const double* x, double* terms);

// Loss and its derivative along a direction by forward-mode dual numbers, for tests.
void loss_derivative(const Window& window, const double* x, const double* direction, double* loss,
                     double* derivative);

}  // namespace optimus_physics
