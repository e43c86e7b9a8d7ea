#include "window/tape.hpp"

#include "mechanics/record.hpp"

#include <map>
#include <mutex>

namespace optimus_physics {
namespace {

using AD = CppAD::AD<double>;

std::unique_ptr<Tape> record(const Model& m, Function which) {
  SlotLease lease;
  const Shape size = shape(m, which);
  const std::vector<double> numbers = parameters(m);
  std::vector<AD> x(size.domain), y(size.range), p(numbers.begin(), numbers.end());
  set_recording_point(m, x.data(), x.size());
  CppAD::Independent(x, std::size_t(0), false, p);
  trace<AD>(with_parameters<AD>(m, p.data()), which, x.data(), y.data());
  CppAD::ADFun<double> f;
  f.Dependent(x, y);
  f.check_for_nan(false);  // a non-finite rollout is found by the caller
  f.optimize("no_conditional_skip no_compare_op no_print_for_op");
  return std::make_unique<Tape>(f, lease.slot());
}

}  // namespace

Tape::Tape(CppAD::ADFun<double>& recorded, std::size_t slot)
    : home_(slot), n_variables_(recorded.size_var()),
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

void Tape::vjp(std::size_t slot, const Parameters& parameters, const std::vector<double>& x,
               const std::vector<double>& w, std::vector<double>& grad) {
  std::unique_ptr<Copy>& copy = copies_[slot];
  if (!copy) {
    copy = std::make_unique<Copy>();
    copy->f = *master_;
    copy->f.check_for_nan(false);
  }
  if (copy->bound != parameters.id) {
    copy->f.new_dynamic(parameters.values);
    copy->bound = parameters.id;
  }
  copy->f.Forward(0, x);
  grad = copy->f.Reverse(1, w);
}

std::shared_ptr<Tapes> tapes_of(const Model& m, const std::string& structure) {
  static auto* const mutex = new std::mutex;
  static auto* const known = new std::map<std::string, std::weak_ptr<Tapes>>;
  std::lock_guard<std::mutex> lock(*mutex);
  if (std::shared_ptr<Tapes> found = (*known)[structure].lock()) return found;
  auto made = std::make_shared<Tapes>();
  made->step = record(m, Function::kStep);
  if (!m.sites.empty()) {
    made->positions = record(m, Function::kPositions);
    made->motion = record(m, Function::kMotion);
  }
  for (auto it = known->begin(); it != known->end();) {
    it = it->second.expired() ? known->erase(it) : std::next(it);
  }
  (*known)[structure] = made;
  return made;
}

}  // namespace optimus_physics
