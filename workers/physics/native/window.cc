#include "window.hpp"

#include "controls.hpp"
#include "step.hpp"

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

// Calls visit(joint control, its PD base target or null, offset of its inputs) for every joint.
template <class Visit> void each_joint(const Window& w, int s, const double* x, Visit visit) {
  const Model& m = w.simulator->model;
  const int* index = w.control_index.data() + std::size_t(s) * m.n_actuated;
  const bool pd = m.control == Control::kPd;
  const double* base = pd ? w.targets.data() + std::size_t(s) * m.n_target : nullptr;
  for (const Body& b : m.bodies) {
    if (b.joint == JointType::kFree) continue;
    visit(JointControl{b, x, index + b.u, w.control_scale}, pd ? base + b.target : nullptr,
          pd ? b.target : b.u);
  }
}

// Mean squared site distance; fills 2 * weight * difference per frame when adjoint is given.
double position_loss(const Window& w, const Rollout& r, std::vector<double>* adjoint) {
  const Model& m = w.simulator->model;
  const std::size_t n = 3 * m.sites.size();
  const double scale = w.weight_position / (double(w.n_frames) * double(m.sites.size()));
  if (adjoint) adjoint->resize(w.n_frames * n);
  std::vector<BodyPose<double>> poses;
  std::vector<double> at(n);
  double sum = 0;
  for (int f = 0; f < w.n_frames; ++f) {
    body_poses<double>(m, r.q.data() + std::size_t(w.frame_steps[f]) * m.nq, poses);
    site_positions<double>(m, poses, at.data());
    for (std::size_t k = 0; k < n; ++k) {
      const double d = at[k] - w.reference[f * n + k];
      sum += d * d;
      if (adjoint) (*adjoint)[f * n + k] = 2 * scale * d;
    }
  }
  return scale * sum;
}

// The two vector-Jacobian products, by generated code or by tape. Points and adjoints are written
// into one buffer, point first.
class Gradients {
 public:
  explicit Gradients(const Simulator& sim) : sim_(sim) {
    if (!sim.step_code || !sim.sites_code) lease_ = std::make_unique<SlotLease>();
  }
  // Both return the gradient, valid until the next call.
  const double* step(const std::vector<double>& x) { return vjp(sim_.step, sim_.step_code, x); }
  const double* sites(const std::vector<double>& x) { return vjp(sim_.sites, sim_.sites_code, x); }

 private:
  const double* vjp(const std::unique_ptr<Tape>& tape, GeneratedVjp code,
                    const std::vector<double>& x) {
    const std::size_t n = tape->domain();
    if (!lease_) {
      grad_.resize(n);
      code(x.data(), grad_.data());
      return grad_.data();
    }
    point_.assign(x.begin(), x.begin() + n);
    adjoint_.assign(x.begin() + n, x.end());
    tape->vjp(lease_->slot(), point_, adjoint_, grad_);
    return grad_.data();
  }

  const Simulator& sim_;
  std::unique_ptr<SlotLease> lease_;
  std::vector<double> point_, adjoint_, grad_;
};

// Sweeps the adjoint of the state backwards through time, collecting the gradient of x.
void reverse_sweep(const Window& w, const double* x, const Rollout& r,
                   const std::vector<double>& site_adjoint, double* grad) {
  const Model& m = w.simulator->model;
  const std::size_t nq = m.nq, nv = m.nv, nu = m.n_input(), n_sites = 3 * m.sites.size();
  Gradients gradients(*w.simulator);
  std::vector<double> at_frame(nq + n_sites), at_step(nq + nv + nu + nq + nv, 0.0);
  double* const state = at_step.data() + nq + nv + nu;  // adjoint of (q, qd) after step s
  int frame = w.n_frames - 1;
  for (int s = w.n_steps; s > 0; --s) {
    if (frame >= 0 && w.frame_steps[frame] == s) {
      std::copy_n(r.q.data() + s * nq, nq, at_frame.begin());
      std::copy_n(site_adjoint.data() + frame * n_sites, n_sites, at_frame.begin() + nq);
      const double* back = gradients.sites(at_frame);
      for (std::size_t k = 0; k < nq; ++k) state[k] += back[k];
      --frame;
    }
    std::copy_n(r.q.data() + (s - 1) * nq, nq, at_step.begin());
    std::copy_n(r.qd.data() + (s - 1) * nv, nv, at_step.begin() + nq);
    std::copy_n(r.input.data() + (s - 1) * nu, nu, at_step.begin() + nq + nv);
    const double* back = gradients.step(at_step);
    std::copy_n(back, nq + nv, state);
    const double* input_adjoint = back + nq + nv;
    each_joint(w, s - 1, x, [&](const JointControl& c, const double* base, int at) {
      if (base) {
        c.target_pullback(base, input_adjoint + at, grad);
      } else {
        c.torque_pullback(input_adjoint + at, grad);
      }
    });
  }
}

}  // namespace

bool roll_out(const Window& w, const double* x, Rollout& r) {
  const Model& m = w.simulator->model;
  const std::size_t nq = m.nq, nv = m.nv, nu = m.n_input();
  r.q.resize((w.n_steps + 1) * nq);
  r.qd.resize((w.n_steps + 1) * nv);
  r.input.resize(w.n_steps * nu);
  std::copy(w.q0.begin(), w.q0.end(), r.q.begin());
  std::copy(w.qd0.begin(), w.qd0.end(), r.qd.begin());
  Workspace<double> ws;
  for (int s = 0; s < w.n_steps; ++s) {
    double* input = r.input.data() + s * nu;
    each_joint(w, s, x, [&](const JointControl& c, const double* base, int at) {
      if (base) {
        c.target(base, input + at);
      } else {
        c.torque(input + at);
      }
    });
    double* q = r.q.data() + s * nq;
    double* qd = r.qd.data() + s * nv;
    step<double>(m, q, qd, input, q + nq, qd + nv, ws);
    if (!all_finite(q + nq, nq) || !all_finite(qd + nv, nv)) return false;
  }
  return true;
}

bool loss_and_grad(const Window& w, const double* x, double* loss, double* grad) {
  Rollout rollout;
  if (!roll_out(w, x, rollout)) return false;
  std::vector<double> site_adjoint;
  *loss = position_loss(w, rollout, grad ? &site_adjoint : nullptr);
  const double scale = w.weight_control / w.n_controls;
  for (int i = 0; i < w.n_controls; ++i) *loss += scale * x[i] * x[i];
  if (!std::isfinite(*loss)) return false;
  if (!grad) return true;
  for (int i = 0; i < w.n_controls; ++i) grad[i] = 2 * scale * x[i];
  reverse_sweep(w, x, rollout, site_adjoint, grad);
  return all_finite(grad, w.n_controls);
}

}  // namespace optimus_physics
