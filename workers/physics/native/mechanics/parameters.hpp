// A model's numbers as one vector, and back as taped parameters.
//
// A number that is exactly 0 (or, in a matrix of axes, 1 or -1) is structure: it stays a constant,
// so that the arithmetic it removes is removed from the tape as well.
#pragma once

#include "mechanics/model.hpp"

#include <sstream>

namespace optimus_physics {

// visit(number of a, number of b) for all numbers a step or a frame depends on.
template <class A, class B, class Visit> void each_number(A& a, B& b, Visit visit) {
  auto vector = [&](auto& x, auto& y) {
    for (int k = 0; k < 3; ++k) visit(x(k), y(k), false);
  };
  visit(a.dt, b.dt, false);
  vector(a.gravity, b.gravity);
  visit(a.contact.stiffness, b.contact.stiffness, false);
  visit(a.contact.damping, b.contact.damping, false);
  visit(a.contact.friction, b.contact.friction, false);
  visit(a.contact.slip_velocity, b.contact.slip_velocity, false);
  visit(a.contact.smoothing, b.contact.smoothing, false);
  visit(a.limit.stiffness, b.limit.stiffness, false);
  visit(a.limit.damping, b.limit.damping, false);
  visit(a.limit.smoothing, b.limit.smoothing, false);
  for (std::size_t i = 0; i < a.bodies.size(); ++i) {
    auto& x = a.bodies[i];
    auto& y = b.bodies[i];
    vector(x.offset, y.offset);
    vector(x.com, y.com);
    vector(x.moments, y.moments);
    for (int k = 0; k < 9; ++k) visit(x.principal(k % 3, k / 3), y.principal(k % 3, k / 3), true);
    visit(x.mass, y.mass, false);
    visit(x.kp, y.kp, false);
    visit(x.kd, y.kd, false);
    visit(x.damping, y.damping, false);
    visit(x.stiffness, y.stiffness, false);
    visit(x.armature, y.armature, false);
    visit(x.lower, y.lower, false);
    visit(x.upper, y.upper, false);
    visit(x.cone_square, y.cone_square, false);
    visit(x.cone_gain, y.cone_gain, false);
  }
  for (std::size_t i = 0; i < a.spheres.size(); ++i) {
    vector(a.spheres[i].center, b.spheres[i].center);
    visit(a.spheres[i].radius, b.spheres[i].radius, false);
  }
  for (std::size_t i = 0; i < a.sites.size(); ++i) {
    vector(a.sites[i].position, b.sites[i].position);
  }
}

inline bool is_structure(double value, bool unit) {
  return value == 0 || (unit && (value == 1 || value == -1));
}

// The numbers that are inputs, in a fixed order.
inline std::vector<double> parameters(const Model& m) {
  std::vector<double> out;
  each_number(m, m, [&](const double& value, const double&, bool unit) {
    if (!is_structure(value, unit)) out.push_back(value);
  });
  return out;
}

// The same model with its inputs taken from p.
template <class P> ModelT<P> with_parameters(const Model& m, const P* p) {
  ModelT<P> out;
  out.control = m.control;
  out.nq = m.nq;
  out.nv = m.nv;
  out.n_actuated = m.n_actuated;
  out.n_target = m.n_target;
  for (const Body& b : m.bodies) {
    BodyT<P> body{};
    body.name = b.name;
    body.parent = b.parent;
    body.joint = b.joint;
    body.axis = b.axis;
    body.limited = b.limited;
    body.base = b.base;
    for (int k = 0; k < 3; ++k) body.extra[k] = b.extra[k];
    body.q = b.q;
    body.v = b.v;
    body.u = b.u;
    body.target = b.target;
    out.bodies.push_back(body);
  }
  for (const Sphere& s : m.spheres) out.spheres.push_back({s.body, {}, P(0.0)});
  for (const Site& s : m.sites) out.sites.push_back({s.body, {}});
  each_number(m, out, [&](const double& value, P& to, bool unit) {
    to = is_structure(value, unit) ? P(value) : *p++;
  });
  return out;
}

// Text that is equal for two models exactly when they can share tapes and generated code.
inline std::string structure(const Model& m) {
  std::ostringstream out;
  out.precision(17);
  out << "optimus-physics-structure 1 " << (m.control == Control::kPd ? "pd" : "torque") << "\n";
  for (const Body& b : m.bodies) {
    out << "body " << b.parent << " " << int(b.joint) << " " << b.limited << " " << b.base;
    for (bool extra : b.extra) out << " " << extra;
    if (b.joint == JointType::kRevolute) out << " " << b.axis.transpose();
    out << "\n";
  }
  for (const Sphere& s : m.spheres) out << "sphere " << s.body << "\n";
  for (const Site& s : m.sites) out << "site " << s.body << "\n";
  each_number(m, m, [&](const double& value, const double&, bool unit) {
    out << (!is_structure(value, unit) ? "x" : value == 0 ? "0" : value > 0 ? "+" : "-");
  });
  out << "\n";
  return out.str();
}

}  // namespace optimus_physics
