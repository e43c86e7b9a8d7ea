// Checks what a window is made of and copies it.
#include "window/window_create.hpp"

#include "interface.hpp"

#include <cmath>
#include <utility>

namespace optimus_physics {
namespace {

template <class Number> std::vector<Number> copied(const Number* from, std::size_t n) {
  return std::vector<Number>(from, from + n);
}

// The array as a vector of finite numbers; empty where the term has no weight.
std::vector<double> data(const double* from, std::size_t n, double weight, const char* name) {
  if (weight == 0) return {};
  const std::string what(name);
  if (!from) throw std::invalid_argument(what + " is null but its term has a weight");
  std::vector<double> out = copied(from, n);
  for (double v : out) {
    if (!std::isfinite(v)) throw std::invalid_argument(what + " holds a non-finite number");
  }
  return out;
}

// Confidences and their sum, which must be positive.
std::vector<double> confidences(const double* from, std::size_t n, const char* name, double& sum) {
  std::vector<double> out = from ? data(from, n, 1, name) : std::vector<double>(n, 1.0);
  sum = 0;
  for (double v : out) {
    if (v < 0) throw std::invalid_argument(std::string(name) + " holds a negative number");
    sum += v;
  }
  if (!(sum > 0)) throw std::invalid_argument(std::string(name) + " is zero everywhere");
  return out;
}

void require_unit(const double* quaternion, const char* what) {
  double norm = 0;
  for (int k = 0; k < 4; ++k) norm += quaternion[k] * quaternion[k];
  if (!(std::abs(norm - 1) < 1e-3)) {
    throw std::invalid_argument(std::string(what) + " holds a quaternion of length " +
                                std::to_string(std::sqrt(norm)) + ", not 1");
  }
}

void check_camera(const PhysicsCamera& c) {
  const double numbers[] = {c.fx, c.fy, c.cx, c.cy, c.near, c.translation[0], c.translation[1],
                            c.translation[2]};
  for (double v : numbers) require(std::isfinite(v), "the camera holds a non-finite number");
  require(c.fx > 0 && c.fy > 0 && c.near > 0, "the camera needs fx, fy and near above 0");
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) {
      double dot = 0;
      for (int k = 0; k < 3; ++k) dot += c.rotation[3 * i + k] * c.rotation[3 * j + k];
      require(std::abs(dot - (i == j)) < 1e-6, "the camera's rotation is not orthonormal");
    }
  }
}

// The numbers a state is made of.
void copy_state(const PhysicsWindow& in, const Model& m, Window& w) {
  w.q0 = data(in.q0, m.nq, 1, "q0");
  w.qd0 = data(in.qd0, m.nv, 1, "qd0");
  if (m.control == Control::kPd) {
    require(in.targets != nullptr, "PD control needs targets");
    w.targets = data(in.targets, std::size_t(in.n_steps) * m.n_target, 1, "targets");
  }
  for (const Body& b : m.bodies) {
    if (b.joint == JointType::kRevolute) continue;
    require_unit(w.q0.data() + b.q + (b.joint == JointType::kFree ? 3 : 0), "q0");
    for (int s = 0; s < in.n_steps && b.target >= 0 && !w.targets.empty(); ++s) {
      require_unit(w.targets.data() + std::size_t(s) * m.n_target + b.target, "targets");
    }
  }
}

// What frames are compared with, and the terms' scales.
void copy_terms(const PhysicsWindow& in, const Model& m, Window& w) {
  const std::size_t frames = in.n_frames, sites = frames * m.sites.size();
  const double* weight = in.weight;
  for (int k = 0; k < kTerms; ++k) {
    require(std::isfinite(weight[k]) && weight[k] >= 0, "a weight is negative or not finite");
  }
  double trusted = 1, seen = 1;
  const double on_sites = weight[PHYSICS_POSITION] + weight[PHYSICS_VELOCITY];
  if (on_sites > 0 || weight[PHYSICS_REPROJECTION] > 0) {
    require(!m.sites.empty(), "the model has no site to compare");
  }
  if (on_sites > 0) w.confidence = confidences(in.confidence, sites, "confidence", trusted);
  w.reference = data(in.reference, 3 * sites, weight[PHYSICS_POSITION], "reference");
  w.root = data(in.root, 3 * frames, weight[PHYSICS_ROOT], "root");
  w.com = data(in.com, 3 * frames, weight[PHYSICS_COM], "com");
  w.velocities = data(in.velocities, 3 * sites, weight[PHYSICS_VELOCITY], "velocities");
  if (weight[PHYSICS_REPROJECTION] > 0) {
    require(in.camera != nullptr, "2-D keypoints need a camera");
    check_camera(*in.camera);
    w.camera = *in.camera;
    w.keypoints = data(in.keypoints, 2 * sites, 1, "keypoints");
    w.keypoint_confidence =
        confidences(in.keypoint_confidence, sites, "keypoint_confidence", seen);
  }
  require(weight[PHYSICS_ROOT] == 0 || m.bodies[0].joint == JointType::kFree,
          "the model's first body is not free, so it has no root position to compare");
  double limited = 0;
  for (const Body& b : m.bodies) limited += b.limited;
  require(weight[PHYSICS_LIMIT] == 0 || limited > 0, "no joint has a limit to stay within");
  for (int s = 1; s < in.n_steps; ++s) {
    for (int a = 0; a < m.n_actuated; ++a) {
      const int from = w.control_index[(s - 1) * m.n_actuated + a];
      const int to = w.control_index[s * m.n_actuated + a];
      if (from != to) w.changes.push_back({from, to});
    }
  }
  require(weight[PHYSICS_SMOOTHNESS] == 0 || !w.changes.empty(),
          "no control changes within the window: smoothness has nothing to compare");
  const double mean_over[kTerms] = {trusted, double(frames), double(frames), trusted, seen,
                                    double(frames) * limited, double(in.n_controls),
                                    double(w.changes.size())};
  for (int k = 0; k < kTerms; ++k) w.scale[k] = weight[k] == 0 ? 0 : weight[k] / mean_over[k];
}

}  // namespace

std::shared_ptr<Window> make_window(std::shared_ptr<Simulator> simulator, const PhysicsWindow& in) {
  auto w = std::make_shared<Window>();
  w->simulator = std::move(simulator);
  Simulator& sim = *w->simulator;
  sim.has_window = true;
  const Model& m = sim.model;
  require(in.n_steps > 0, "n_steps must be positive");
  require(in.n_controls > 0, "n_controls must be positive");
  require(in.n_frames > 0, "n_frames must be positive");
  require(in.control_index && in.frame_steps && in.q0 && in.qd0, "a window array is null");
  w->n_steps = in.n_steps;
  w->n_controls = in.n_controls;
  w->n_frames = in.n_frames;
  w->initial_velocity = in.initial_velocity != 0;
  w->control_index = copied(in.control_index, std::size_t(in.n_steps) * m.n_actuated);
  for (int i : w->control_index) {
    require(i >= 0 && i < in.n_controls, "control_index points outside x");
  }
  w->frame_steps = copied(in.frame_steps, in.n_frames);
  for (int f = 0; f < in.n_frames; ++f) {
    require(w->frame_steps[f] > (f ? w->frame_steps[f - 1] : 0) && w->frame_steps[f] <= in.n_steps,
            "frame_steps must rise strictly within 1..n_steps");
  }
  require(std::isfinite(in.control_scale) && std::isfinite(in.velocity_scale),
          "control_scale and velocity_scale must be finite");
  w->control_scale = in.control_scale;
  w->velocity_scale = in.velocity_scale;
  copy_state(in, m, *w);
  copy_terms(in, m, *w);
  if (!sim.step_code) {
    std::call_once(sim.recorded, [&] { sim.tapes = tapes_of(m, sim.structure); });
  }
  return w;
}

}  // namespace optimus_physics
