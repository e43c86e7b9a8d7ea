// Exercises the C interface under the address and undefined-behaviour sanitizers (test_sanitize.py).
//
//   driver MODEL_TEXT_FILE...     prints "ok" and returns 0 when nothing was found
#include "physics.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

std::mt19937 rng(1);

double normal() {
  static std::normal_distribution<double> d;
  return d(rng);
}

void expect(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "%s (%s)\n", what, physics_last_error());
  std::exit(1);
}

// Every prefix and many corrupted copies of the text: an error or a model, never a crash.
void malformed(const std::string& text) {
  int64_t model = 0;
  for (std::size_t n = 0; n < text.size(); n += 7) {
    const int status = physics_model_create(text.substr(0, n).c_str(), 0.01, PHYSICS_PD, &model);
    expect(status == PHYSICS_BAD_ARGUMENT || status == PHYSICS_OK, "prefix");
  }
  const char* junk[] = {"nan", "-1", "1e308", "-1e308", "inf", "x", "", "999999999999", "0", "3.5"};
  for (int i = 0; i < 2000; ++i) {
    std::string broken = text;
    const std::size_t at = rng() % broken.size();
    const std::size_t end = broken.find_first_of(" \n", at);
    broken.replace(at, end == std::string::npos ? 1 : end - at, junk[rng() % 10]);
    if (physics_model_create(broken.c_str(), 0.01, PHYSICS_TORQUE, &model) == PHYSICS_OK) {
      PhysicsModelInfo info;
      expect(physics_model_info(model, &info) == PHYSICS_OK, "info");
      std::vector<double> q(info.nq, 0.5), qd(info.nv, 1.0), u(info.n_actuated + 1), a(info.nv);
      physics_accelerations(model, q.data(), qd.data(), u.data(), a.data());
    }
  }
  expect(physics_model_create(text.c_str(), NAN, PHYSICS_PD, &model) == PHYSICS_BAD_ARGUMENT, "dt");
  expect(physics_model_create(text.c_str(), 0.01, 7, &model) == PHYSICS_BAD_ARGUMENT, "control");
  expect(physics_model_create(nullptr, 0.01, 1, &model) == PHYSICS_BAD_ARGUMENT, "null");
}

// A state whose quaternions are units wherever the model has them.
std::vector<double> unit_state(const std::string& text, int nq) {
  std::vector<double> q;
  std::size_t at = 0;
  while ((at = text.find("\nbody ", at)) != std::string::npos) {
    const std::string line = text.substr(at + 1, text.find('\n', at + 1) - at);
    ++at;
    if (line.find(" free ") != std::string::npos) q.insert(q.end(), {0, 0, 0.3, 1, 0, 0, 0});
    if (line.find(" spherical ") != std::string::npos) q.insert(q.end(), {1, 0, 0, 0});
    if (line.find(" revolute ") != std::string::npos) q.push_back(-0.1);
  }
  expect(int(q.size()) == nq, "state layout");
  return q;
}

void exercise(const std::string& text, int control) {
  int64_t model = 0;
  expect(physics_model_create(text.c_str(), 1.0 / 120, control, &model) == PHYSICS_OK, "create");
  PhysicsModelInfo info;
  expect(physics_model_info(model, &info) == PHYSICS_OK, "info");
  int32_t needed = 0;
  expect(physics_model_structure(model, nullptr, 0, &needed) == PHYSICS_OK, "structure");
  std::vector<char> buffer(needed);
  expect(physics_model_structure(model, buffer.data(), needed, &needed) == PHYSICS_OK, "structure");

  const int steps = 12, frames = 3, periods = 2, n_controls = info.n_actuated * periods;
  const int sites = info.n_sites;
  const std::vector<double> q0 = unit_state(text, info.nq);
  std::vector<double> qd0(info.nv, 0.1), targets;
  const int offset = info.nq - info.n_target;
  for (int s = 0; s < steps; ++s) targets.insert(targets.end(), q0.begin() + offset, q0.end());
  std::vector<int32_t> index, frame_steps = {4, 8, 12};
  for (int s = 0; s < steps; ++s) {
    for (int a = 0; a < info.n_actuated; ++a) {
      index.push_back(a + (s * periods / steps) * info.n_actuated);
    }
  }
  std::vector<double> reference(frames * sites * 3, 0.2), pixels(frames * sites * 2, 100.0);
  std::vector<double> confidence(frames * sites, 0.5), points(frames * 3, 0.1);
  const PhysicsCamera camera = {500, 500, 320, 240, {1, 0, 0, 0, 0, -1, 0, 1, 0}, {0, 1, 3}, 0.1};
  PhysicsWindow w{};
  w.n_steps = steps;
  w.n_controls = n_controls;
  w.n_frames = frames;
  w.initial_velocity = 1;
  w.control_index = index.data();
  w.targets = control == PHYSICS_PD ? targets.data() : nullptr;
  w.frame_steps = frame_steps.data();
  w.q0 = q0.data();
  w.qd0 = qd0.data();
  w.reference = w.velocities = reference.data();
  w.confidence = w.keypoint_confidence = confidence.data();
  w.root = w.com = points.data();
  w.keypoints = pixels.data();
  w.camera = &camera;
  w.control_scale = w.velocity_scale = 1;
  for (double& weight : w.weight) weight = 0.3;
  if (text.find(" free ") == std::string::npos) w.weight[PHYSICS_ROOT] = 0;
  if (info.n_limited == 0) w.weight[PHYSICS_LIMIT] = 0;
  int64_t window = 0;
  expect(physics_window_create(model, &w, &window) == PHYSICS_OK, "window");
  int32_t n = 0;
  expect(physics_window_size(window, &n) == PHYSICS_OK && n == n_controls + info.nv, "size");

  std::vector<double> x(n), grad(n), direction(n), terms(PHYSICS_TERMS);
  std::vector<double> q((steps + 1) * info.nq), qd((steps + 1) * info.nv);
  double loss = 0, slope = 0;
  for (double scale : {0.0, 0.1, 1.0, 10.0, 1e3, 1e30, 1e200, 1e308, double(NAN)}) {
    for (double& v : x) v = scale * normal();
    for (double& v : direction) v = normal();
    const int status = physics_loss_and_grad(window, x.data(), n, &loss, grad.data());
    expect(status == PHYSICS_OK || status == PHYSICS_NONFINITE, "evaluate");
    bool finite = std::isfinite(loss);
    for (double g : grad) finite = finite && std::isfinite(g);
    expect(finite == (status == PHYSICS_OK), "status");
    expect(physics_rollout(window, x.data(), n, q.data(), qd.data()) <= 1, "rollout");
    expect(physics_loss_terms(window, x.data(), n, terms.data()) <= 1, "terms");
    expect(physics_loss_derivative(window, x.data(), direction.data(), n, &loss, &slope) <= 1,
           "derivative");
    if (status != PHYSICS_OK || scale > 1) continue;
    double along = 0, size = 0;
    for (int i = 0; i < n; ++i) along += grad[i] * direction[i];
    for (int i = 0; i < n; ++i) size += std::abs(grad[i] * direction[i]);
    expect(std::abs(along - slope) <= 1e-10 * size, "gradient");
  }
  expect(physics_loss_and_grad(window, x.data(), n - 1, &loss, grad.data()) == PHYSICS_BAD_ARGUMENT,
         "short x");
  const int batch = 6;
  std::vector<int64_t> handles(batch, window);
  std::vector<double> xs(batch * n, 0.05), losses(batch), grads(batch * n);
  std::vector<int32_t> each(batch);
  expect(physics_loss_and_grad_batch(handles.data(), xs.data(), batch, n, 3, losses.data(),
                                     grads.data(), each.data()) == PHYSICS_OK, "batch");
  for (int i = 1; i < batch; ++i) expect(losses[i] == losses[0], "batch bits");
  expect(physics_model_destroy(model) == PHYSICS_OK, "destroy");
  expect(physics_loss_and_grad(window, xs.data(), n, &loss, grad.data()) == PHYSICS_OK, "kept");
  expect(physics_window_destroy(window) == PHYSICS_OK, "destroy window");
  expect(physics_window_destroy(window) == PHYSICS_BAD_HANDLE, "stale handle");
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i]);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    malformed(text);
    std::vector<std::thread> threads;
    for (int k = 0; k < 4; ++k) threads.emplace_back([&] { (void)physics_last_error(); });
    for (std::thread& t : threads) t.join();
    for (int control : {PHYSICS_TORQUE, PHYSICS_PD}) exercise(text, control);
  }
  std::puts("ok");
  return 0;
}
