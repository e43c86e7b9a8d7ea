// What all functions of the C interface share.
#pragma once

#include "physics.h"
#include "registry.hpp"
#include "window/window.hpp"

namespace optimus_physics {

// Why this thread's last call failed.
inline std::string& last_error() {
  thread_local std::string message;
  return message;
}

// Both registries are never destroyed: threads may still call in while the process exits.
inline Registry<Simulator>& simulators() {
  static auto* const registry = new Registry<Simulator>("model");
  return *registry;
}
inline Registry<Window>& windows() {
  static auto* const registry = new Registry<Window>("window");
  return *registry;
}

// Runs body; no exception leaves.
template <class Body> int guarded(Body body) {
  try {
    return body();
  } catch (const BadHandle& e) {
    last_error() = e.what();
    return PHYSICS_BAD_HANDLE;
  } catch (const std::invalid_argument& e) {
    last_error() = e.what();
    return PHYSICS_BAD_ARGUMENT;
  } catch (const std::exception& e) {
    last_error() = e.what();
    return PHYSICS_INTERNAL;
  } catch (...) {
    last_error() = "unknown error";
    return PHYSICS_INTERNAL;
  }
}

inline void require(bool ok, const char* what) {
  if (!ok) throw std::invalid_argument(what);
}

}  // namespace optimus_physics
