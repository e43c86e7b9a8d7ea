#include "tape.hpp"

#include "step.hpp"

namespace optimus_physics {
namespace {

using AD = CppAD::AD<double>;

std::unique_ptr<Tape> finish(const std::vector<AD>& x, const std::vector<AD>& y,
                             std::size_t slot) {
  CppAD::ADFun<double> f;
  f.Dependent(x, y);
  f.check_for_nan(false);  // a non-finite rollout is found by the caller
  f.optimize("no_conditional_skip no_compare_op no_print_for_op");
  return std::make_unique<Tape>(f, slot);
}

}  // namespace

Tape::Tape(CppAD::ADFun<double>& recorded, std::size_t slot)
    : home_(slot), n_variables_(recorded.size_var()), n_domain_(recorded.Domain()),
      master_(std::make_unique<CppAD::ADFun<double>>()) {
  *master_ = recorded;
}

Tape::~Tape() {
  for (std::size_t slot = 0; slot < kSlots; ++slot) {
    if (!copies_[slot] && slot != home_) continue;
    SlotLease lease(slot);
    copies_[slot].reset();
    if (slot == home_) master_.reset();
  }
}

void Tape::vjp(std::size_t slot, const std::vector<double>& x, const std::vector<double>& w,
               std::vector<double>& grad) {
  std::unique_ptr<CppAD::ADFun<double>>& f = copies_[slot];
  if (!f) {
    f = std::make_unique<CppAD::ADFun<double>>();
    *f = *master_;
    f->check_for_nan(false);
  }
  f->Forward(0, x);
  grad = f->Reverse(1, w);
}

std::unique_ptr<Tape> record_step(const Model& m) {
  SlotLease lease;
  std::vector<AD> x(m.nq + m.nv + m.n_input()), y(m.nq + m.nv);
  set_recording_point(m, x.data(), x.size());
  CppAD::Independent(x);
  Workspace<AD> ws;
  step<AD>(m, x.data(), x.data() + m.nq, x.data() + m.nq + m.nv, y.data(), y.data() + m.nq, ws);
  return finish(x, y, lease.slot());
}

std::unique_ptr<Tape> record_sites(const Model& m) {
  if (m.sites.empty()) return nullptr;
  SlotLease lease;
  std::vector<AD> x(m.nq), y(3 * m.sites.size());
  set_recording_point(m, x.data(), x.size());
  CppAD::Independent(x);
  std::vector<BodyPose<AD>> poses;
  body_poses<AD>(m, x.data(), poses);
  site_positions<AD>(m, poses, y.data());
  return finish(x, y, lease.slot());
}

}  // namespace optimus_physics
