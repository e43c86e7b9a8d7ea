// The C interface: checks arguments, looks handles up, turns exceptions into status codes.
#include "physics.h"

#include "interface.hpp"

#include <algorithm>
#include <limits>

namespace optimus_physics {
namespace {

template <class Number> std::vector<Number> copied(const Number* from, std::size_t n) {
  return std::vector<Number>(from, from + n);
}

std::shared_ptr<Window> make_window(int64_t model, const PhysicsWindow& in) {
  auto w = std::make_shared<Window>();
  w->simulator = simulators().get(model);
  w->simulator->has_window = true;
  const Model& m = w->simulator->model;
  require(in.n_steps > 0, "n_steps must be positive");
  require(in.n_controls > 0, "n_controls must be positive");
  require(in.n_frames > 0, "n_frames must be positive");
  require(!m.sites.empty(), "the model has no site to compare");
  require(in.control_index && in.frame_steps && in.reference && in.q0 && in.qd0,
          "a window array is null");
  require(m.control == Control::kTorque || in.targets, "PD control needs targets");
  w->n_steps = in.n_steps;
  w->n_controls = in.n_controls;
  w->n_frames = in.n_frames;
  w->control_index = copied(in.control_index, std::size_t(in.n_steps) * m.n_actuated);
  for (int i : w->control_index) {
    require(i >= 0 && i < in.n_controls, "control_index points outside x");
  }
  w->frame_steps = copied(in.frame_steps, in.n_frames);
  for (int f = 0; f < in.n_frames; ++f) {
    require(w->frame_steps[f] > (f ? w->frame_steps[f - 1] : 0) && w->frame_steps[f] <= in.n_steps,
            "frame_steps must rise strictly within 1..n_steps");
  }
  if (m.control == Control::kPd) {
    w->targets = copied(in.targets, std::size_t(in.n_steps) * m.n_target);
  }
  w->reference = copied(in.reference, std::size_t(in.n_frames) * m.sites.size() * 3);
  w->q0 = copied(in.q0, m.nq);
  w->qd0 = copied(in.qd0, m.nv);
  w->control_scale = in.control_scale;
  w->weight_position = in.weight_position;
  w->weight_control = in.weight_control;
  return w;
}

void check_size(const Window& w, const double* x, int32_t n) {
  require(x != nullptr, "x is null");
  if (n != w.n_controls) {
    throw std::invalid_argument("x has " + std::to_string(n) + " entries, the window has " +
                                std::to_string(w.n_controls) + " controls");
  }
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
    simulator->step = record_step(simulator->model);
    simulator->sites = record_sites(simulator->model);
    *model = simulators().add(simulator);
    return PHYSICS_OK;
  });
}

int physics_model_info(int64_t model, PhysicsModelInfo* info) {
  return guarded([&] {
    require(info != nullptr, "info is null");
    const auto simulator = simulators().get(model);
    const Model& m = simulator->model;
    *info = {m.nq, m.nv, m.n_actuated, m.n_target, int32_t(m.sites.size()),
             int32_t(m.spheres.size()), int32_t(m.bodies.size()), int32_t(simulator->step->size())};
    return PHYSICS_OK;
  });
}

int physics_model_use_code(int64_t model, PhysicsVjp step, PhysicsVjp sites) {
  return guarded([&] {
    require(step && sites, "step or sites is null");
    const auto simulator = simulators().get(model);
    require(!simulator->has_window, "the model already has a window");
    simulator->step_code = step;
    simulator->sites_code = sites;
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
    *handle = windows().add(make_window(model, *window));
    return PHYSICS_OK;
  });
}

int physics_window_size(int64_t window, int32_t* n_controls) {
  return guarded([&] {
    require(n_controls != nullptr, "n_controls is null");
    *n_controls = windows().get(window)->n_controls;
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
    if (loss_and_grad(*w, x, loss, grad)) return PHYSICS_OK;
    *loss = std::numeric_limits<double>::infinity();
    if (grad) std::fill_n(grad, n, std::numeric_limits<double>::quiet_NaN());
    last_error() = "the simulated motion, its loss or its gradient is not finite";
    return PHYSICS_NONFINITE;
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
int physics_interface(void) { return PHYSICS_INTERFACE; }
