// The C interface: checks arguments, looks handles up, turns exceptions into status codes.
#include "physics.h"

#include "interface.hpp"
#include "mechanics/parameters.hpp"
#include "window/window_create.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <system_error>
#include <thread>

namespace optimus_physics {
namespace {

void check_size(const Window& w, const double* x, int32_t n) {
  require(x != nullptr, "x is null");
  if (n != w.n_variables()) {
    throw std::invalid_argument("x has " + std::to_string(n) + " entries, the window has " +
                                std::to_string(w.n_variables()) + " variables");
  }
}

// loss_and_grad with the interface's answer to a motion that is not finite.
int evaluate(const Window& w, const double* x, double* loss, double* grad) {
  if (loss_and_grad(w, x, loss, grad)) return PHYSICS_OK;
  *loss = std::numeric_limits<double>::infinity();
  if (grad) std::fill_n(grad, w.n_variables(), std::numeric_limits<double>::quiet_NaN());
  last_error() = "the simulated motion, its loss or its gradient is not finite";
  return PHYSICS_NONFINITE;
}

uint64_t next_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace
}  // namespace optimus_physics

using namespace optimus_physics;

int physics_model_create(const char* text, double dt, int control, int64_t* model) {
  return guarded([&] {
    require(text && model, "text or model is null");
    require(control == PHYSICS_TORQUE || control == PHYSICS_PD, "control must be 0 or 1");
    auto simulator = std::make_shared<Simulator>();
    simulator->model =
        parse_model(text, dt, control == PHYSICS_PD ? Control::kPd : Control::kTorque);
    simulator->structure = structure(simulator->model);
    simulator->parameters = {parameters(simulator->model), next_id()};
    *model = simulators().add(simulator);
    return PHYSICS_OK;
  });
}

int physics_model_info(int64_t model, PhysicsModelInfo* info) {
  return guarded([&] {
    require(info != nullptr, "info is null");
    const auto simulator = simulators().get(model);
    const Model& m = simulator->model;
    int32_t limited = 0;
    for (const Body& b : m.bodies) limited += b.limited;
    *info = {m.nq, m.nv, m.n_actuated, m.n_target, int32_t(m.sites.size()),
             int32_t(m.spheres.size()), int32_t(m.bodies.size()), limited};
    return PHYSICS_OK;
  });
}

int physics_model_structure(int64_t model, char* buffer, int32_t size, int32_t* needed) {
  return guarded([&] {
    require(needed && (buffer || size <= 0), "buffer or needed is null");
    const std::string text = simulators().get(model)->structure;
    *needed = int32_t(text.size() + 1);
    if (size >= *needed) std::copy_n(text.c_str(), text.size() + 1, buffer);
    return PHYSICS_OK;
  });
}

int physics_model_use_code(int64_t model, PhysicsVjp step, PhysicsVjp positions,
                           PhysicsVjp motion) {
  return guarded([&] {
    require(step && positions && motion, "a function is null");
    const auto simulator = simulators().get(model);
    require(!simulator->has_window, "the model already has a window");
    simulator->step_code = step;
    simulator->positions_code = positions;
    simulator->motion_code = motion;
    return PHYSICS_OK;
  });
}

int physics_model_destroy(int64_t model) {
  return guarded([&] {
    simulators().remove(model);
    return PHYSICS_OK;
  });
}

int physics_window_create(int64_t model, const PhysicsWindow* window, int64_t* handle) {
  return guarded([&] {
    require(window && handle, "window or handle is null");
    *handle = windows().add(make_window(simulators().get(model), *window));
    return PHYSICS_OK;
  });
}

int physics_window_size(int64_t window, int32_t* n) {
  return guarded([&] {
    require(n != nullptr, "n is null");
    *n = windows().get(window)->n_variables();
    return PHYSICS_OK;
  });
}

int physics_window_destroy(int64_t window) {
  return guarded([&] {
    windows().remove(window);
    return PHYSICS_OK;
  });
}

int physics_loss_and_grad(int64_t window, const double* x, int32_t n, double* loss, double* grad) {
  return guarded([&]() -> int {
    const auto w = windows().get(window);
    check_size(*w, x, n);
    require(loss != nullptr, "loss is null");
    return evaluate(*w, x, loss, grad);
  });
}

int physics_loss_and_grad_batch(const int64_t* handles, const double* x, int32_t batch, int32_t n,
                                int32_t threads, double* loss, double* grad, int32_t* status) {
  return guarded([&]() -> int {
    require(handles && x && loss && grad && status, "an array is null");
    require(batch >= 0, "batch must not be negative");
    std::vector<std::shared_ptr<Window>> all;
    for (int32_t i = 0; i < batch; ++i) {
      all.push_back(windows().get(handles[i]));
      check_size(*all[i], x, n);
    }
    std::atomic<int32_t> next{0};
    const auto work = [&] {
      for (int32_t i = next++; i < batch; i = next++) {
        const std::size_t at = std::size_t(i) * n;
        status[i] = guarded([&] { return evaluate(*all[i], x + at, loss + i, grad + at); });
      }
    };
    if (threads <= 0) threads = int32_t(std::max(1u, std::thread::hardware_concurrency()));
    std::vector<std::thread> helpers;
    try {
      for (int32_t k = 1; k < std::min(threads, batch); ++k) helpers.emplace_back(work);
    } catch (const std::system_error&) {  // no more threads to be had: those there are do the work
    }
    work();
    for (std::thread& helper : helpers) helper.join();
    const int worst = batch ? *std::max_element(status, status + batch) : PHYSICS_OK;
    if (worst == PHYSICS_NONFINITE) last_error() = "a motion of the batch is not finite";
    if (worst > PHYSICS_NONFINITE) last_error() = "an evaluation of the batch failed";
    return worst;
  });
}

int physics_loss_terms(int64_t window, const double* x, int32_t n, double* terms) {
  return guarded([&]() -> int {
    const auto w = windows().get(window);
    check_size(*w, x, n);
    require(terms != nullptr, "terms is null");
    if (loss_terms(*w, x, terms)) return PHYSICS_OK;
    std::fill_n(terms, kTerms, std::numeric_limits<double>::infinity());
    last_error() = "the simulated motion or its loss is not finite";
    return PHYSICS_NONFINITE;
  });
}

int physics_loss_derivative(int64_t window, const double* x, const double* direction, int32_t n,
                            double* loss, double* derivative) {
  return guarded([&]() -> int {
    const auto w = windows().get(window);
    check_size(*w, x, n);
    require(direction && loss && derivative, "an array is null");
    loss_derivative(*w, x, direction, loss, derivative);
    return std::isfinite(*loss) && std::isfinite(*derivative) ? PHYSICS_OK : PHYSICS_NONFINITE;
  });
}

int physics_rollout(int64_t window, const double* x, int32_t n, double* q, double* qd) {
  return guarded([&]() -> int {
    const auto w = windows().get(window);
    check_size(*w, x, n);
    require(q && qd, "q or qd is null");
    Rollout r;
    const bool finite = roll_out(*w, x, r);
    std::copy(r.q.begin(), r.q.end(), q);
    std::copy(r.qd.begin(), r.qd.end(), qd);
    if (!finite) last_error() = "the simulated motion is not finite";
    return finite ? PHYSICS_OK : PHYSICS_NONFINITE;
  });
}

const char* physics_last_error(void) { return last_error().c_str(); }
