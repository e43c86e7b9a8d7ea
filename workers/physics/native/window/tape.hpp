// The recorded functions of a structure and their vector-Jacobian products.
#pragma once

#include "mechanics/model.hpp"
#include "window/slots.hpp"

#include <cppad/cppad.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace optimus_physics {

// A model's numbers, with an identity that no other model's ever has.
struct Parameters {
  std::vector<double> values;
  uint64_t id = 0;
};

// A recorded function with one copy for each slot, made when the slot first needs it.
class Tape {
 public:
  // Takes over `recorded`. Call with a lease held; `slot` is its number.
  Tape(CppAD::ADFun<double>& recorded, std::size_t slot);
  ~Tape();  // waits for each slot in turn; no lease may be held by this thread

  // w^T dF/dx at x for a model with these parameters. Sizes: x and grad [domain], w [range].
  // Needs a lease on `slot`.
  void vjp(std::size_t slot, const Parameters& parameters, const std::vector<double>& x,
           const std::vector<double>& w, std::vector<double>& grad);
  std::size_t size() const { return n_variables_; }

 private:
  struct Copy {
    CppAD::ADFun<double> f;
    uint64_t bound = 0;  // whose parameters it holds
  };
  std::size_t home_;
  std::size_t n_variables_;
  std::unique_ptr<CppAD::ADFun<double>> master_;  // read only after construction
  std::unique_ptr<Copy> copies_[kSlots];
};

// The three functions a gradient needs, shared by all models of one structure.
struct Tapes {
  std::unique_ptr<Tape> step;       // (q, qd, input) -> (q, qd) one step later
  std::unique_ptr<Tape> positions;  // q -> what a frame sees (kinematics.hpp); null without sites
  std::unique_ptr<Tape> motion;     // (q, qd) -> that and velocities
};

// Records them, or finds those that another model of the same structure uses.
std::shared_ptr<Tapes> tapes_of(const Model& model, const std::string& structure);

}  // namespace optimus_physics
