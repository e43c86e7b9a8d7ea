// Objects behind the C interface's handles.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace optimus_physics {

struct BadHandle : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Handles of one kind: numbers that are never used twice.
template <class Object> class Registry {
 public:
  explicit Registry(const char* kind) : kind_(kind) {}
  int64_t add(std::shared_ptr<Object> object) {
    std::lock_guard<std::mutex> lock(mutex_);
    objects_[++last_] = std::move(object);
    return last_;
  }
  std::shared_ptr<Object> get(int64_t handle) { return find(handle, false); }
  // The object is returned so that it dies outside the lock.
  std::shared_ptr<Object> remove(int64_t handle) { return find(handle, true); }

 private:
  std::shared_ptr<Object> find(int64_t handle, bool erase) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = objects_.find(handle);
    if (found == objects_.end()) {
      throw BadHandle(std::string("no ") + kind_ + " has handle " + std::to_string(handle) +
                      "; it was destroyed or belongs to another process");
    }
    std::shared_ptr<Object> object = found->second;
    if (erase) objects_.erase(found);
    return object;
  }
  const char* kind_;
  std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<Object>> objects_;
  int64_t last_ = 0;
};

}  // namespace optimus_physics
