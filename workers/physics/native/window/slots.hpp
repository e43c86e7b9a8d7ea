// Threads and CppAD.
//
// CppAD keeps one memory pool per thread NUMBER, and the callers' threads (Python's) come and go.
// So an evaluation leases a slot, a small number that no other thread holds meanwhile, and that
// slot is its CppAD thread number. Each slot owns its copy of every tape; evaluations in different
// slots really run at the same time. When all slots are taken the caller waits.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace optimus_physics {

constexpr std::size_t kSlots = 32;  // CppAD's own limit is CPPAD_MAX_NUM_THREADS = 48

class SlotLease {
 public:
  SlotLease();                           // any free slot, the lowest first; waits for one
  explicit SlotLease(std::size_t slot);  // this slot; waits for it
  ~SlotLease();
  SlotLease(const SlotLease&) = delete;
  SlotLease& operator=(const SlotLease&) = delete;
  std::size_t slot() const { return slot_; }

 private:
  std::size_t slot_;
};

}  // namespace optimus_physics
