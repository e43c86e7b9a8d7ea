// The two recorded functions of a model and their vector-Jacobian products.
#pragma once

#include "model.hpp"
#include "slots.hpp"

#include <cppad/cppad.hpp>

#include <memory>
#include <vector>

namespace optimus_physics {

// A recorded function with one copy for each slot, made when the slot first needs it.
class Tape {
 public:
  // Takes over `recorded`. Call with a lease held; `slot` is its number.
  Tape(CppAD::ADFun<double>& recorded, std::size_t slot);
  ~Tape();  // waits for each slot in turn; no lease may be held by this thread

  // w^T dF/dx at x. Sizes: x and grad [domain], w [range]. Needs a lease on `slot`.
  void vjp(std::size_t slot, const std::vector<double>& x, const std::vector<double>& w,
           std::vector<double>& grad);
  std::size_t size() const { return n_variables_; }
  std::size_t domain() const { return n_domain_; }

 private:
  std::size_t home_;
  std::size_t n_variables_, n_domain_;
  std::unique_ptr<CppAD::ADFun<double>> master_;  // read only after construction
  std::unique_ptr<CppAD::ADFun<double>> copies_[kSlots];
};

// (q, qd, input) -> (q, qd) one step later.
std::unique_ptr<Tape> record_step(const Model& model);
// q -> site positions.
std::unique_ptr<Tape> record_sites(const Model& model);

}  // namespace optimus_physics
