// A window of motion: what is simulated, against what, and the loss with its exact gradient.
#pragma once

#include "model.hpp"
#include "tape.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace optimus_physics {

// Generated code: x holds the point, then the adjoint of the result (generate/generate.cc).
using GeneratedVjp = void (*)(const double* x, double* grad);

// A model and the gradients of its two functions. Shared by all its windows.
struct Simulator {
  Model model;
  std::unique_ptr<Tape> step, sites;
  // Used instead of the tapes when both are set, which happens before any window exists.
  GeneratedVjp step_code = nullptr, sites_code = nullptr;
  std::atomic<bool> has_window{false};
};

struct Window {
  std::shared_ptr<Simulator> simulator;
  int n_steps = 0, n_controls = 0, n_frames = 0;
  std::vector<int> control_index;     // [n_steps, n_actuated]
  std::vector<double> targets;        // [n_steps, n_target], PD only
  std::vector<int> frame_steps;       // [n_frames], rising, in 1..n_steps
  std::vector<double> reference;      // [n_frames, n_sites, 3], m
  std::vector<double> q0, qd0;
  double control_scale = 1, weight_position = 1, weight_control = 0;
};

// States of a rollout: q [n_steps + 1, nq], qd [n_steps + 1, nv], input [n_steps, n_input].
struct Rollout {
  std::vector<double> q, qd, input;
};

// False when a state is not finite; the states after it are not filled in.
bool roll_out(const Window& window, const double* x, Rollout& out);

// Loss and, when grad is not null, its gradient [n_controls]. False when either is not finite.
bool loss_and_grad(const Window& window, const double* x, double* loss, double* grad);

}  // namespace optimus_physics
