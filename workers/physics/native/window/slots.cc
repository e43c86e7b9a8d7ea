#include "window/slots.hpp"

#include <cppad/cppad.hpp>

#include <stdexcept>

namespace optimus_physics {
namespace {

thread_local std::size_t leased = 0;
bool parallel = false;

bool in_parallel() { return parallel; }
std::size_t thread_number() { return leased; }

// Never destroyed: CppAD's pools may be used until the process ends.
struct Table {
  std::mutex mutex;
  std::condition_variable freed;
  bool taken[kSlots] = {};

  Table() {
    CppAD::thread_alloc::parallel_setup(kSlots, in_parallel, thread_number);
    CppAD::parallel_ad<double>();
    CppAD::thread_alloc::hold_memory(true);
    parallel = true;
  }
};

Table& table() {
  static Table* const t = new Table;
  return *t;
}

// A thread that already held a lease would wait for itself for ever once the slots run out.
void refuse_nesting(bool nested) {
  if (nested) throw std::logic_error("a thread asked for a second CppAD slot");
}

thread_local bool holds = false;

}  // namespace

SlotLease::SlotLease() {
  refuse_nesting(holds);
  Table& t = table();
  std::unique_lock<std::mutex> lock(t.mutex);
  for (;;) {
    for (slot_ = 0; slot_ < kSlots; ++slot_) {
      if (!t.taken[slot_]) {
        t.taken[slot_] = true;
        leased = slot_;
        holds = true;
        return;
      }
    }
    t.freed.wait(lock);
  }
}

SlotLease::SlotLease(std::size_t slot) : slot_(slot) {
  refuse_nesting(holds);
  Table& t = table();
  std::unique_lock<std::mutex> lock(t.mutex);
  t.freed.wait(lock, [&] { return !t.taken[slot_]; });
  t.taken[slot_] = true;
  leased = slot_;
  holds = true;
}

SlotLease::~SlotLease() {
  Table& t = table();
  {
    std::lock_guard<std::mutex> lock(t.mutex);
    t.taken[slot_] = false;
    leased = 0;
    holds = false;
  }
  t.freed.notify_all();
}

}  // namespace optimus_physics
