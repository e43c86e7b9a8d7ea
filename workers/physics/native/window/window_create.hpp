// From the C interface's window to ours.
#pragma once

#include "window/window.hpp"

namespace optimus_physics {

// Throws std::invalid_argument saying what is wrong with it.
std::shared_ptr<Window> make_window(std::shared_ptr<Simulator> simulator, const PhysicsWindow& in);

}  // namespace optimus_physics
