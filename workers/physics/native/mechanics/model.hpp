// The articulated model: its structure, and numbers that are doubles or taped parameters.
//
// Structure is what decides which arithmetic is done: the tree, joint types, axes, which numbers
// are exactly zero. Everything else (lengths, masses, inertias, gains, limits, contact, dt) is a
// NUMBER: an input of the recorded functions that is not differentiated, so that bodies of
// different people share one tape and one piece of generated code.
#pragma once

#include "mechanics/spatial.hpp"

#include <string>
#include <vector>

namespace optimus_physics {

enum class JointType { kFree, kSpherical, kRevolute };
enum class Control { kTorque = 0, kPd = 1 };

// A rigid body and the joint that ties it to its parent. At the zero pose all axes are parallel.
template <class P> struct BodyT {
  // Structure.
  std::string name;
  int parent;            // -1: the world
  JointType joint;
  Eigen::Vector3d axis;  // revolute axis, unit
  bool limited;          // revolute: has a range; spherical: has a cone
  int base;              // principal axis whose moment the others are measured against
  bool extra[3];         // whether a moment differs from the base's
  int q, v, u, target;   // where its entries begin in q, qd, torques and PD targets (-1: none)
  // Numbers.
  Vec3<P> offset;     // joint origin in the parent's frame, m
  P mass;             // kg; 0 only for a link of several joints in one place
  Vec3<P> com;        // m, body frame
  Vec3<P> moments;    // principal moments about the centre of mass, kg m^2
  Mat3<P> principal;  // columns: principal axes in the body frame
  P kp, kd;           // PD gains, N m / rad and N m s / rad
  P torque_max;       // N m; used outside the step only
  P damping;          // passive joint damping, N m s / rad
  P stiffness;        // revolute: spring towards angle 0, N m / rad
  P armature;         // inertia of the drive, on every axis of the joint, kg m^2
  P lower, upper;     // revolute limits, rad
  P cone_square, cone_gain;  // spherical limit a: sin^2(a / 2) and 2 / sin(a)
};

template <class P> struct SphereT {
  int body;
  Vec3<P> center;  // body frame, m
  P radius;        // m
};

template <class P> struct SiteT {
  int body;
  Vec3<P> position;  // body frame, m
};

template <class P> struct ContactT {
  P stiffness;      // N/m
  P damping;        // s/m, Hunt-Crossley
  P friction;       // Coulomb coefficient
  P slip_velocity;  // m/s, regularises friction
  P smoothing;      // m, half width of the blend at touch-down
};

template <class P> struct LimitT {
  P stiffness;  // N m / rad
  P damping;    // s/rad, force = stiffness * depth * (1 + damping * closing speed)
  P smoothing;  // rad
};

template <class P> struct ModelT {
  P dt = P(0.0);  // s
  Control control = Control::kPd;
  Vec3<P> gravity{P(0.0), P(0.0), P(-9.81)};
  ContactT<P> contact{};
  LimitT<P> limit{};
  std::vector<BodyT<P>> bodies;
  std::vector<SphereT<P>> spheres;
  std::vector<SiteT<P>> sites;
  int nq = 0, nv = 0, n_actuated = 0, n_target = 0;

  int n_input() const { return control == Control::kPd ? n_target : n_actuated; }
};

using Model = ModelT<double>;
using Body = BodyT<double>;
using Sphere = SphereT<double>;
using Site = SiteT<double>;

// Parses the model text (grammar: workers/physics/model/, `model_text`).
// Throws std::invalid_argument with "model text line N: ..." when it is malformed.
Model parse_model(const std::string& text, double dt, Control control);

}  // namespace optimus_physics
