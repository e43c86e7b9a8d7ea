// The part of the C interface that looks inside: for tests and pictures.
#include "interface.hpp"
#include "mechanics/step.hpp"

#include <algorithm>

using namespace optimus_physics;

int physics_sites(int64_t model, const double* q, double* sites) {
  return guarded([&] {
    require(q && sites, "q or sites is null");
    const auto simulator = simulators().get(model);
    std::vector<BodyPose<double>> poses;
    body_poses<double>(simulator->model, q, poses);
    site_positions<double>(simulator->model, poses, sites);
    return PHYSICS_OK;
  });
}

int physics_center_of_mass(int64_t model, const double* q, double* com) {
  return guarded([&] {
    require(q && com, "q or com is null");
    const auto simulator = simulators().get(model);
    std::vector<BodyPose<double>> poses;
    body_poses<double>(simulator->model, q, poses);
    center_of_mass<double>(simulator->model, poses, com);
    return PHYSICS_OK;
  });
}

int physics_site_velocities(int64_t model, const double* q, const double* qd, double* velocities) {
  return guarded([&] {
    require(q && qd && velocities, "an array is null");
    const auto simulator = simulators().get(model);
    std::vector<BodyPose<double>> poses;
    std::vector<BodyMotion<double>> motions;
    body_poses<double>(simulator->model, q, poses);
    body_motions<double>(simulator->model, poses, qd, motions);
    site_velocities<double>(simulator->model, poses, motions, velocities);
    return PHYSICS_OK;
  });
}

int physics_spheres(int64_t model, const double* q, double* centers) {
  return guarded([&] {
    require(q && centers, "q or centers is null");
    const auto simulator = simulators().get(model);
    const Model& m = simulator->model;
    std::vector<BodyPose<double>> poses;
    body_poses<double>(m, q, poses);
    for (const Sphere& s : m.spheres) {
      const Vec3<double> at = poses[s.body].p + poses[s.body].R * s.center;
      for (int k = 0; k < 3; ++k) *centers++ = at(k);
    }
    return PHYSICS_OK;
  });
}

int physics_accelerations(int64_t model, const double* q, const double* qd, const double* torque,
                          double* qacc) {
  return guarded([&] {
    require(q && qd && torque && qacc, "an array is null");
    const auto simulator = simulators().get(model);
    const Model& m = simulator->model;
    Workspace<double> ws;
    prepare<double>(m, q, qd, ws);
    for (std::size_t i = 0; i < m.bodies.size(); ++i) {
      const Body& b = m.bodies[i];
      if (b.joint == JointType::kFree) continue;
      Vec3<double> t(torque[b.u], 0, 0);
      if (b.joint == JointType::kSpherical) {
        t = ws.poses[i].R * Vec3<double>(torque[b.u], torque[b.u + 1], torque[b.u + 2]);
      }
      ws.joints[i] = {t, b.armature};
    }
    forward_dynamics<double>(m, ws);
    std::copy(ws.qacc.begin(), ws.qacc.end(), qacc);
    return PHYSICS_OK;
  });
}

int physics_contacts(int64_t model, const double* q, const double* qd, double* forces) {
  return guarded([&] {
    require(q && qd && forces, "an array is null");
    const auto simulator = simulators().get(model);
    const Model& m = simulator->model;
    Workspace<double> ws;
    prepare<double>(m, q, qd, ws);
    for (const Sphere& s : m.spheres) {
      const auto c = contact_point<double>(m, s, ws.poses[s.body], ws.motions[s.body]);
      for (int k = 0; k < 3; ++k) *forces++ = c.force(k);
    }
    return PHYSICS_OK;
  });
}
