#include "window/window.hpp"

#include "window/controls.hpp"
#include "mechanics/record.hpp"
#include "window/terms.hpp"

#include <algorithm>
#include <cmath>

namespace optimus_physics {
namespace {

bool all_finite(const double* x, std::size_t n) {
  // 0 * inf and 0 * nan are nan, so one sum tells; a loop of isfinite is slower.
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += 0 * x[i];
  return sum == 0;
}
bool all_finite(const Dual*, std::size_t) { return true; }  // tests compare what comes out

// Calls visit(joint control, its PD base target or null, offset of its inputs) for every joint.
template <class T, class Visit> void each_joint(const Window& w, int s, const T* x, Visit visit) {
  const Model& m = w.simulator->model;
  const int* index = w.control_index.data() + std::size_t(s) * m.n_actuated;
  const bool pd = m.control == Control::kPd;
  const double* base = pd ? w.targets.data() + std::size_t(s) * m.n_target : nullptr;
  for (const Body& b : m.bodies) {
    if (b.joint == JointType::kFree) continue;
    visit(JointControl<T>{b, x, index + b.u, w.control_scale}, pd ? base + b.target : nullptr,
          pd ? b.target : b.u);
  }
}

template <class T> bool simulate(const Window& w, const T* x, RolloutT<T>& r) {
  const Model& m = w.simulator->model;
  const std::size_t nq = m.nq, nv = m.nv, nu = m.n_input();
  r.q.assign((w.n_steps + 1) * nq, T(0.0));
  r.qd.assign((w.n_steps + 1) * nv, T(0.0));
  r.input.resize(w.n_steps * nu);
  for (std::size_t k = 0; k < nq; ++k) r.q[k] = T(w.q0[k]);
  for (std::size_t k = 0; k < nv; ++k) {
    r.qd[k] = T(w.qd0[k]);
    if (w.initial_velocity) r.qd[k] += T(w.velocity_scale) * x[w.n_controls + k];
  }
  Workspace<T> ws;
  for (int s = 0; s < w.n_steps; ++s) {
    T* input = r.input.data() + s * nu;
    each_joint(w, s, x, [&](const JointControl<T>& c, const double* base, int at) {
      if (base) {
        c.target(base, input + at);
      } else {
        c.torque(input + at);
      }
    });
    T* q = r.q.data() + s * nq;
    T* qd = r.qd.data() + s * nv;
    step<T>(m, q, qd, input, q + nq, qd + nv, ws);
    if (!all_finite(q + nq, nq) || !all_finite(qd + nv, nv)) return false;
  }
  return true;
}

// What frames see and their adjoints, kept for the reverse sweep.
struct Frames {
  std::vector<double> seen, q;  // adjoints [n_frames, n_seen], [n_frames, nq]
};

template <class T>
void compare_frames(const Window& w, const RolloutT<T>& r, Sums<T>& sums, Frames* adjoint) {
  const Model& m = w.simulator->model;
  const std::size_t n_seen = w.n_seen(), nq = m.nq, sites = 3 * m.sites.size();
  if (adjoint) adjoint->seen.assign(w.n_frames * n_seen, 0.0);
  if (adjoint) adjoint->q.assign(w.n_frames * nq, 0.0);
  std::vector<T> seen(n_seen, T(0.0));
  std::vector<BodyPose<T>> poses;
  std::vector<BodyMotion<T>> motions;
  for (int f = 0; f < w.n_frames; ++f) {
    const T* q = r.q.data() + w.frame_steps[f] * nq;
    if (w.needs_seen()) body_poses<T>(m, q, poses);
    if (w.needs_sites()) site_positions<T>(m, poses, seen.data());
    if (w.scale[PHYSICS_COM] > 0) center_of_mass<T>(m, poses, seen.data() + sites);
    if (w.needs_motion()) {
      body_motions<T>(m, poses, r.qd.data() + std::size_t(w.frame_steps[f]) * m.nv, motions);
      site_velocities<T>(m, poses, motions, seen.data() + sites + 3);
    }
    FrameAdjoint back;
    if (adjoint) back = {adjoint->seen.data() + f * n_seen, adjoint->q.data() + f * nq};
    frame_terms(w, f, q, seen.data(), sums, back);
  }
}

// The state after a step of a rollout and what drives the step that follows it.
struct StateView {
  const double *q, *qd, *input;  // [nq], [nv], [n_input]; no input after the last step
};

StateView state_view(const Model& m, const Rollout& r, int step) {
  const std::size_t s = step;
  return {r.q.data() + s * m.nq, r.qd.data() + s * m.nv, r.input.data() + s * m.n_input()};
}

// One vector-Jacobian product after another, by generated code or by tape. The buffer holds point,
// adjoint and parameters, in this order.
class Gradient {
 public:
  Gradient(const Simulator& sim, Function which, GeneratedVjp code, Tape* tape,
           const SlotLease* lease)
      : sim_(sim), size_(shape(sim.model, which)), code_(code), lease_(lease),
        buffer_(size_.domain + size_.range + (lease ? 0 : sim.parameters.values.size())),
        grad_(size_.domain), tape_(tape) {
    if (!lease) {
      std::copy(sim.parameters.values.begin(), sim.parameters.values.end(),
                buffer_.begin() + size_.domain + size_.range);
    }
  }
  // Puts as much of (q, qd, input) into the point as the function takes.
  void set_point(const StateView& at) {
    const std::size_t nq = sim_.model.nq, nv = sim_.model.nv;
    double* out = std::copy_n(at.q, nq, buffer_.data());
    if (size_.domain > nq) out = std::copy_n(at.qd, nv, out);
    if (size_.domain > nq + nv) std::copy_n(at.input, size_.domain - nq - nv, out);
  }
  double* adjoint() { return buffer_.data() + size_.domain; }
  std::size_t domain() const { return size_.domain; }
  // Valid until the next call.
  const double* operator()() {
    if (!lease_) {
      code_(buffer_.data(), grad_.data());
      return grad_.data();
    }
    point_.assign(buffer_.data(), adjoint());
    adjoint_.assign(adjoint(), adjoint() + size_.range);
    tape_->vjp(lease_->slot(), sim_.parameters, point_, adjoint_, grad_);
    return grad_.data();
  }

 private:
  const Simulator& sim_;
  Shape size_;
  GeneratedVjp code_;
  const SlotLease* lease_;
  std::vector<double> buffer_, grad_, point_, adjoint_;
  Tape* tape_;
};

// The gradients of the step and of what a frame sees; tapes need a slot, generated code none.
struct Gradients {
  std::unique_ptr<SlotLease> lease;
  Gradient step, frame;

  explicit Gradients(const Window& w) : Gradients(w, *w.simulator, lease_of(*w.simulator)) {}

 private:
  static std::unique_ptr<SlotLease> lease_of(const Simulator& sim) {
    return sim.step_code ? nullptr : std::make_unique<SlotLease>();
  }
  Gradients(const Window& w, const Simulator& sim, std::unique_ptr<SlotLease> held)
      : lease(std::move(held)),
        step(sim, Function::kStep, sim.step_code, lease ? sim.tapes->step.get() : nullptr,
             lease.get()),
        frame(w.needs_motion()
                  ? Gradient(sim, Function::kMotion, sim.motion_code,
                             lease ? sim.tapes->motion.get() : nullptr, lease.get())
                  : Gradient(sim, Function::kPositions, sim.positions_code,
                             lease ? sim.tapes->positions.get() : nullptr, lease.get())) {}
};

void add(const double* from, std::size_t n, double* to) {
  for (std::size_t k = 0; k < n; ++k) to[k] += from[k];
}

// Adds what frame `f` says of the state it sees to that state's adjoint (q, qd).
void frame_back(const Window& w, const StateView& at, const Frames& frames, int f,
                Gradient& gradient, double* state) {
  const std::size_t nq = w.simulator->model.nq, n_seen = w.n_seen();
  add(frames.q.data() + f * nq, nq, state);
  if (!w.needs_seen()) return;
  gradient.set_point(at);
  std::copy_n(frames.seen.data() + f * n_seen, n_seen, gradient.adjoint());
  add(gradient(), gradient.domain(), state);
}

// Pulls the adjoint of the inputs of step `s` back to x, adding to its gradient.
void controls_back(const Window& w, int s, const double* x, const double* input_adjoint,
                   double* grad) {
  each_joint(w, s, x, [&](const JointControl<double>& c, const double* base, int at) {
    if (base) {
      c.target_pullback(base, input_adjoint + at, grad);
    } else {
      c.torque_pullback(input_adjoint + at, grad);
    }
  });
}

// Sweeps the adjoint of the state backwards through time, adding to the gradient of x.
void reverse_sweep(const Window& w, const double* x, const Rollout& r, const Frames& frames,
                   double* grad) {
  const Model& m = w.simulator->model;
  const std::size_t n_state = m.nq + m.nv;
  Gradients back(w);
  double* const state = back.step.adjoint();  // of (q, qd) after step s
  std::fill_n(state, n_state, 0.0);
  int frame = w.n_frames - 1;
  for (int s = w.n_steps; s > 0; --s) {
    if (frame >= 0 && w.frame_steps[frame] == s) {
      frame_back(w, state_view(m, r, s), frames, frame, back.frame, state);
      --frame;
    }
    back.step.set_point(state_view(m, r, s - 1));
    const double* before = back.step();  // (q, qd, input)
    std::copy_n(before, n_state, state);
    controls_back(w, s - 1, x, before + n_state, grad);
  }
  if (!w.initial_velocity) return;
  const double* qd = state + m.nq;
  for (int k = 0; k < m.nv; ++k) grad[w.n_controls + k] = w.velocity_scale * qd[k];
}

}  // namespace

bool roll_out(const Window& w, const double* x, Rollout& r) { return simulate(w, x, r); }

bool loss_and_grad(const Window& w, const double* x, double* loss, double* grad) {
  Rollout rollout;
  if (!simulate(w, x, rollout)) return false;
  Sums<double> sums;
  Frames frames;
  compare_frames(w, rollout, sums, grad ? &frames : nullptr);
  control_terms(w, x, sums, grad);
  *loss = sums.total(w);
  if (!std::isfinite(*loss)) return false;
  if (!grad) return true;
  reverse_sweep(w, x, rollout, frames, grad);
  return all_finite(grad, w.n_variables());
}

bool loss_terms(const Window& w, const double* x, double* terms) {
  Rollout rollout;
  const bool finite = simulate(w, x, rollout);
  Sums<double> sums;
  compare_frames(w, rollout, sums, nullptr);
  control_terms(w, x, sums, nullptr);
  for (int k = 0; k < kTerms; ++k) terms[k] = w.scale[k] != 0 ? w.scale[k] * sums.at[k] : 0.0;
  return finite && all_finite(terms, kTerms);
}

void loss_derivative(const Window& w, const double* x, const double* direction, double* loss,
                     double* derivative) {
  std::vector<Dual> at(w.n_variables());
  for (std::size_t i = 0; i < at.size(); ++i) at[i] = {x[i], direction[i]};
  RolloutT<Dual> rollout;
  simulate(w, at.data(), rollout);
  Sums<Dual> sums;
  compare_frames(w, rollout, sums, nullptr);
  control_terms(w, at.data(), sums, nullptr);
  const Dual total = sums.total(w);
  *loss = total.v;
  *derivative = total.d;
}

}  // namespace optimus_physics
