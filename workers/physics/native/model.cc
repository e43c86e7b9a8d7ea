#include "model.hpp"

#include <Eigen/Eigenvalues>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace optimus_physics {
namespace {

[[noreturn]] void fail(int line, const std::string& what) {
  throw std::invalid_argument("model text line " + std::to_string(line) + ": " + what);
}

class Fields {
 public:
  Fields(const std::string& text, int line) : in_(text), line_(line) {}
  std::string word(const char* what) {
    std::string w;
    if (!(in_ >> w)) fail(line_, std::string("missing ") + what);
    return w;
  }
  double number(const char* what) {
    const std::string w = word(what);
    std::size_t used = 0;
    double value = NAN;
    try {
      value = std::stod(w, &used);
    } catch (const std::exception&) {
      used = 0;
    }
    if (used != w.size() || !std::isfinite(value)) {
      fail(line_, std::string(what) + " is not a finite number: '" + w + "'");
    }
    return value;
  }
  Eigen::Vector3d vector(const char* what) {
    const double x = number(what), y = number(what), z = number(what);
    return {x, y, z};
  }
  int body(std::size_t n_bodies, const char* what) {
    const double i = number(what);
    if (i != std::floor(i) || i < 0 || i >= double(n_bodies)) {
      fail(line_, std::string(what) + " names no earlier body");
    }
    return int(i);
  }
  void end() {
    std::string rest;
    if (in_ >> rest) fail(line_, "unexpected '" + rest + "' at the end");
  }

 private:
  std::istringstream in_;
  int line_;
};

JointType joint_type(const std::string& word, int line) {
  if (word == "free") return JointType::kFree;
  if (word == "spherical") return JointType::kSpherical;
  if (word == "revolute") return JointType::kRevolute;
  fail(line, "joint type '" + word + "' is not free, spherical or revolute");
}

// Principal moments and axes of a symmetric inertia. A diagonal one keeps the body's own axes, so
// that multiplications by its zeros and ones vanish from the tape.
void set_inertia(Body& body, const Eigen::Matrix3d& inertia) {
  Eigen::Matrix3d off = inertia;
  off.diagonal().setZero();
  if (off.isZero(0)) {
    body.moments = inertia.diagonal();
    body.principal.setIdentity();
  } else {
    Eigen::SelfAdjointEigenSolver<Eigen::Matrix3d> solver(inertia);
    body.moments = solver.eigenvalues();
    body.principal = solver.eigenvectors();
  }
}

Body read_body(Fields& f, int line, const Model& model) {
  Body b{};
  b.name = f.word("body name");
  const double parent = f.number("parent");
  b.parent = parent == -1 ? -1 : int(parent);
  if (b.parent != parent || b.parent < -1 || b.parent >= int(model.bodies.size())) {
    fail(line, "parent must be -1 or an earlier body");
  }
  b.joint = joint_type(f.word("joint type"), line);
  if (b.joint == JointType::kFree && b.parent != -1) {
    fail(line, "a free joint hangs on the world only (parent -1)");
  }
  b.offset = f.vector("offset");
  b.axis = f.vector("axis");
  if (b.joint == JointType::kRevolute) {
    if (std::abs(b.axis.norm() - 1) > 1e-9) fail(line, "axis must have length 1");
  }
  b.mass = f.number("mass");
  if (b.mass <= 0) fail(line, "mass must be positive");
  b.com = f.vector("com");
  const Eigen::Vector3d diagonal = f.vector("inertia diagonal");
  const Eigen::Vector3d off = f.vector("inertia xy xz yz");
  Eigen::Matrix3d inertia;
  inertia << diagonal(0), off(0), off(1), off(0), diagonal(1), off(2), off(1), off(2), diagonal(2);
  set_inertia(b, inertia);
  if (b.moments.minCoeff() <= 0) fail(line, "inertia must be positive definite");
  b.kp = f.number("kp");
  b.kd = f.number("kd");
  b.torque_max = f.number("torque_max");
  b.damping = f.number("damping");
  b.lower = f.number("lower limit");
  b.upper = f.number("upper limit");
  if (b.kp < 0 || b.kd < 0 || b.damping < 0) fail(line, "gains must not be negative");
  if (b.joint == JointType::kRevolute && b.lower >= b.upper) {
    fail(line, "lower limit must be below upper limit");
  }
  return b;
}

// Assigns where each joint's numbers live in q, qd, the torques and the PD targets.
void assign_indices(Model& m) {
  for (Body& b : m.bodies) {
    b.q = m.nq;
    b.v = m.nv;
    b.u = b.target = -1;
    if (b.joint == JointType::kFree) {
      m.nq += 7;
      m.nv += 6;
      continue;
    }
    const bool ball = b.joint == JointType::kSpherical;
    b.u = m.n_actuated;
    b.target = m.n_target;
    m.nq += ball ? 4 : 1;
    m.nv += ball ? 3 : 1;
    m.n_actuated += ball ? 3 : 1;
    m.n_target += ball ? 4 : 1;
  }
}

}  // namespace

Model parse_model(const std::string& text, double dt, Control control) {
  if (!(dt > 0) || !std::isfinite(dt)) {
    throw std::invalid_argument("time step dt must be positive, in seconds");
  }
  Model m;
  m.dt = dt;
  m.control = control;
  std::istringstream lines(text);
  std::string line;
  int n = 0;
  bool contact = false, limit = false;
  while (std::getline(lines, line)) {
    ++n;
    if (n == 1) {
      if (line != "optimus-physics-model 1") fail(n, "expected 'optimus-physics-model 1'");
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Fields f(line, n);
    const std::string key = f.word("keyword");
    if (key == "gravity") {
      m.gravity = f.vector("gravity");
    } else if (key == "contact") {
      contact = true;
      m.contact.stiffness = f.number("stiffness");
      m.contact.damping = f.number("damping");
      m.contact.friction = f.number("friction");
      m.contact.slip_velocity = f.number("slip_velocity");
      m.contact.smoothing = f.number("smoothing");
      if (m.contact.slip_velocity <= 0 || m.contact.smoothing <= 0) {
        fail(n, "slip_velocity and smoothing must be positive");
      }
    } else if (key == "limit") {
      limit = true;
      m.limit.stiffness = f.number("stiffness");
      m.limit.damping = f.number("damping");
      m.limit.smoothing = f.number("smoothing");
      if (m.limit.smoothing <= 0) fail(n, "smoothing must be positive");
    } else if (key == "body") {
      m.bodies.push_back(read_body(f, n, m));
    } else if (key == "sphere") {
      const int body = f.body(m.bodies.size(), "sphere body");
      const Eigen::Vector3d center = f.vector("sphere center");
      m.spheres.push_back({body, center, f.number("radius")});
    } else if (key == "site") {
      const int body = f.body(m.bodies.size(), "site body");
      m.sites.push_back({body, f.vector("site position")});
    } else {
      fail(n, "unknown keyword '" + key + "'");
    }
    f.end();
  }
  if (m.bodies.empty()) throw std::invalid_argument("model text holds no body");
  if (!contact || !limit) throw std::invalid_argument("model text lacks a contact or limit line");
  assign_indices(m);
  return m;
}

}  // namespace optimus_physics
