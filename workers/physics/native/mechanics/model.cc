#include "mechanics/model.hpp"

#include <Eigen/Eigenvalues>
#include <cmath>
#include <map>
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
  double number(const char* what) { return as_number(word(what), what); }
  double as_number(const std::string& w, const char* what) {
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
  // Also "inf" and "-inf".
  double bound(const char* what) {
    const std::string w = word(what);
    if (w == "inf") return INFINITY;
    if (w == "-inf") return -INFINITY;
    return as_number(w, what);
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
  body.base = 0;
  const Eigen::Vector3d& i = body.moments;
  for (int k = 1; k < 3; ++k) {
    if (i(k) == i((k + 1) % 3) || i(k) == i((k + 2) % 3)) body.base = k;
  }
  for (int k = 0; k < 3; ++k) body.extra[k] = i(k) != i(body.base);
}

// Range of a revolute joint (-inf inf: none) or cone of a spherical one (0: none).
void set_limits(Body& b, Fields& f, int line) {
  b.lower = f.bound("lower limit");
  b.upper = f.bound("upper limit");
  const double cone = f.number("cone");
  const bool revolute = b.joint == JointType::kRevolute;
  b.limited = revolute ? std::isfinite(b.lower) || std::isfinite(b.upper) : cone != 0;
  if (revolute && !(b.lower < b.upper)) fail(line, "lower limit must be below upper limit");
  if (revolute && b.limited && (!std::isfinite(b.lower) || !std::isfinite(b.upper))) {
    fail(line, "a revolute joint has two limits or none");
  }
  if (revolute && cone != 0) fail(line, "only spherical joints have a cone");
  if (cone < 0 || cone > 3.1) fail(line, "cone must be 0 (none) or an angle of at most 3.1 rad");
  if (!b.limited || !revolute) b.lower = b.upper = 0;
  if (cone != 0) {
    b.cone_square = std::pow(std::sin(cone / 2), 2);
    b.cone_gain = 2 / std::sin(cone);
  }
}

Body read_body(Fields& f, int line, const Model& model) {
  Body b{};
  b.name = f.word("body name");
  const double parent = f.number("parent");
  if (parent != std::floor(parent) || parent < -1 || parent >= double(model.bodies.size())) {
    fail(line, "parent must be -1 or an earlier body");
  }
  b.parent = int(parent);
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
  if (b.mass < 0) fail(line, "mass must not be negative");
  b.com = f.vector("com");
  const Eigen::Vector3d diagonal = f.vector("inertia diagonal");
  const Eigen::Vector3d off = f.vector("inertia xy xz yz");
  Eigen::Matrix3d inertia;
  inertia << diagonal(0), off(0), off(1), off(0), diagonal(1), off(2), off(1), off(2), diagonal(2);
  set_inertia(b, inertia);
  const bool massless = b.mass == 0 && inertia.isZero(0);  // a link of several joints in one place
  if (!massless && b.mass == 0) fail(line, "mass must be positive where there is inertia");
  if (!massless && b.moments.minCoeff() <= 0) fail(line, "inertia must be positive definite");
  if (b.moments.maxCoeff() > (b.moments.sum() - b.moments.maxCoeff()) * (1 + 1e-6)) {
    fail(line, "no body has such an inertia: a principal moment exceeds the sum of the others");
  }
  b.kp = f.number("kp");
  b.kd = f.number("kd");
  b.torque_max = f.number("torque_max");
  b.damping = f.number("damping");
  b.stiffness = f.number("stiffness");
  b.armature = f.number("armature");
  set_limits(b, f, line);
  if (b.kp < 0 || b.kd < 0 || b.damping < 0 || b.stiffness < 0 || b.armature < 0 ||
      b.torque_max < 0) {
    fail(line, "gains, torque_max, damping, stiffness and armature must not be negative");
  }
  if (b.stiffness != 0 && b.joint != JointType::kRevolute) {
    fail(line, "only revolute joints have a spring (stiffness)");
  }
  if (b.armature != 0 && b.joint == JointType::kFree) fail(line, "a free joint has no armature");
  return b;
}

void read_contact(Fields& f, int line, Model& m) {
  ContactT<double>& c = m.contact;
  c.stiffness = f.number("stiffness");
  c.damping = f.number("damping");
  c.friction = f.number("friction");
  c.slip_velocity = f.number("slip_velocity");
  c.smoothing = f.number("smoothing");
  if (c.slip_velocity <= 0 || c.smoothing <= 0) {
    fail(line, "slip_velocity and smoothing must be positive");
  }
  if (c.stiffness < 0 || c.damping < 0 || c.friction < 0) {
    fail(line, "stiffness, damping and friction must not be negative");
  }
}

void read_limit(Fields& f, int line, Model& m) {
  LimitT<double>& l = m.limit;
  l.stiffness = f.number("stiffness");
  l.damping = f.number("damping");
  l.smoothing = f.number("smoothing");
  if (l.smoothing <= 0) fail(line, "smoothing must be positive");
  if (l.stiffness < 0 || l.damping < 0) {
    fail(line, "stiffness and damping must not be negative");
  }
}

void read_sphere(Fields& f, int line, Model& m) {
  const int body = f.body(m.bodies.size(), "sphere body");
  const Eigen::Vector3d center = f.vector("sphere center");
  m.spheres.push_back({body, center, f.number("radius")});
  if (m.spheres.back().radius < 0) fail(line, "radius must not be negative");
}

void read_site(Fields& f, int, Model& m) {
  const int body = f.body(m.bodies.size(), "site body");
  m.sites.push_back({body, f.vector("site position")});
}

// What reads each kind of line; all of them may refuse it.
using Reader = void (*)(Fields&, int line, Model&);
const std::map<std::string, Reader> kReaders = {
    {"gravity", [](Fields& f, int, Model& m) { m.gravity = f.vector("gravity"); }},
    {"contact", read_contact},
    {"limit", read_limit},
    {"body", [](Fields& f, int line, Model& m) { m.bodies.push_back(read_body(f, line, m)); }},
    {"sphere", read_sphere},
    {"site", read_site},
};

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

// Every joint must move some mass: a massless link needs a heavy one further out.
void require_mass(const Model& m, const std::vector<int>& lines) {
  std::vector<double> carried(m.bodies.size());
  for (std::size_t i = m.bodies.size(); i-- > 0;) {
    carried[i] += m.bodies[i].mass;
    if (carried[i] == 0) fail(lines[i], "mass must be positive for the outermost body");
    if (m.bodies[i].joint == JointType::kFree && m.bodies[i].mass == 0) {
      fail(lines[i], "mass must be positive for a free body");
    }
    if (m.bodies[i].parent >= 0) carried[m.bodies[i].parent] += carried[i];
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
  std::map<std::string, std::vector<int>> seen;  // keyword -> its lines
  for (int n = 1; std::getline(lines, line); ++n) {
    if (n == 1) {
      if (line != "optimus-physics-model 2") fail(n, "expected 'optimus-physics-model 2'");
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    Fields f(line, n);
    const std::string key = f.word("keyword");
    const auto reader = kReaders.find(key);
    if (reader == kReaders.end()) fail(n, "unknown keyword '" + key + "'");
    reader->second(f, n, m);
    f.end();
    seen[key].push_back(n);
  }
  if (m.bodies.empty()) throw std::invalid_argument("model text holds no body");
  if (!seen.count("contact") || !seen.count("limit")) {
    throw std::invalid_argument("model text lacks a contact or limit line");
  }
  require_mass(m, seen["body"]);
  assign_indices(m);
  return m;
}

}  // namespace optimus_physics
