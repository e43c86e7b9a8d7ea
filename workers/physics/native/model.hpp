// The articulated model: constants only (doubles), read from the model text.
#pragma once

#include <Eigen/Core>
#include <string>
#include <vector>

namespace optimus_physics {

enum class JointType { kFree, kSpherical, kRevolute };
enum class Control { kTorque = 0, kPd = 1 };

// A rigid body and the joint that ties it to its parent. At the zero pose all axes are parallel.
struct Body {
  std::string name;
  int parent;              // -1: the world
  JointType joint;
  Eigen::Vector3d offset;  // joint origin in the parent's frame, m
  Eigen::Vector3d axis;    // revolute axis, unit
  double mass;             // kg
  Eigen::Vector3d com;     // m, body frame
  Eigen::Vector3d moments;   // principal moments about the centre of mass, kg m^2
  Eigen::Matrix3d principal; // columns: principal axes in the body frame
  double kp, kd;           // PD gains, N m / rad and N m s / rad
  double torque_max;       // N m
  double damping;          // passive joint damping, N m s / rad
  double lower, upper;     // revolute limits, rad
  int q, v, u, target;     // where its entries begin in q, qd, torques and PD targets (-1: none)
};

struct Sphere {
  int body;
  Eigen::Vector3d center;  // body frame, m
  double radius;           // m
};

struct Site {
  int body;
  Eigen::Vector3d position;  // body frame, m
};

struct Contact {
  double stiffness;      // N/m
  double damping;        // s/m, Hunt-Crossley
  double friction;       // Coulomb coefficient
  double slip_velocity;  // m/s, regularises friction
  double smoothing;      // m, half width of the blend at touch-down
};

struct Limit {
  double stiffness;  // N m / rad
  double damping;    // s/rad, force = stiffness * depth * (1 + damping * closing speed)
  double smoothing;  // rad
};

struct Model {
  double dt = 0;  // s
  Control control = Control::kPd;
  Eigen::Vector3d gravity{0, 0, -9.81};
  Contact contact{};
  Limit limit{};
  std::vector<Body> bodies;
  std::vector<Sphere> spheres;
  std::vector<Site> sites;
  int nq = 0, nv = 0, n_actuated = 0, n_target = 0;

  int n_input() const { return control == Control::kPd ? n_target : n_actuated; }
};

// Parses the model text (grammar: workers/physics/model.py, `model_text`).
// Throws std::invalid_argument with "model text line N: ..." when it is malformed.
Model parse_model(const std::string& text, double dt, Control control);

}  // namespace optimus_physics
