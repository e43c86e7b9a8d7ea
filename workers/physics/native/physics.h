/* C interface of the physics loss: plain pointers, integers and status codes.
 *
 * Handles are numbers, never addresses, so a stale one is an error and not a crash. Every function
 * may be called from any thread at any time. No exception leaves the library. Arrays are row-major;
 * units are SI (m, s, rad, N); world axes have z up. nq, nv, ... are those of physics_model_info.
 */
#ifndef OPTIMUS_PHYSICS_H_
#define OPTIMUS_PHYSICS_H_

#include <stdint.h>

#define PHYSICS_API __attribute__((visibility("default")))
#define PHYSICS_INTERFACE 2 /* raised when anything below changes */

#ifdef __cplusplus
extern "C" {
#endif

enum {
  PHYSICS_OK = 0,
  PHYSICS_NONFINITE = 1,    /* loss = +inf, gradient = nan; nothing is broken */
  PHYSICS_BAD_ARGUMENT = 2, /* sizes, indices, malformed model text */
  PHYSICS_BAD_HANDLE = 3,
  PHYSICS_INTERNAL = 4
};

enum { PHYSICS_TORQUE = 0, PHYSICS_PD = 1 };

typedef struct {
  int32_t nq, nv, n_actuated, n_target, n_sites, n_spheres, n_bodies;
  int32_t tape_variables; /* of one taped step */
} PhysicsModelInfo;

typedef struct {
  int32_t n_steps, n_controls, n_frames;
  const int32_t* control_index; /* [n_steps, n_actuated], entries of x */
  const double* targets;        /* [n_steps, n_target] PD targets at x = 0; null for torques */
  const int32_t* frame_steps;   /* [n_frames], strictly rising, 1..n_steps */
  const double* reference;      /* [n_frames, n_sites, 3] */
  const double* q0;             /* [nq] */
  const double* qd0;            /* [nv] */
  double control_scale;         /* PD: rad per unit of x; torque: y = scale * x drives
                                   torque_max * y / sqrt(1 + y^2) */
  double weight_position;       /* 1/m^2, on the mean over frames and sites */
  double weight_control;        /* on the mean of x^2 */
} PhysicsWindow;

/* Parses the model text and records its tapes (a fraction of a second). */
PHYSICS_API int physics_model_create(const char* text, double dt, int control, int64_t* model);
PHYSICS_API int physics_model_info(int64_t model, PhysicsModelInfo* info);
/* Hands over generated code (generate/generate.cc), used instead of the tapes from then on. Only
 * before the model's first window; the code must stay loaded. */
typedef void (*PhysicsVjp)(const double* x, double* grad);
PHYSICS_API int physics_model_use_code(int64_t model, PhysicsVjp step, PhysicsVjp sites);
/* Windows of a destroyed model stay valid. */
PHYSICS_API int physics_model_destroy(int64_t model);

/* Copies everything it is given. */
PHYSICS_API int physics_window_create(int64_t model, const PhysicsWindow* window, int64_t* handle);
PHYSICS_API int physics_window_size(int64_t window, int32_t* n_controls);
PHYSICS_API int physics_window_destroy(int64_t window);

/* x and grad [n], n = n_controls; grad may be null. */
PHYSICS_API int physics_loss_and_grad(int64_t window, const double* x, int32_t n, double* loss,
                                      double* grad);
/* q [n_steps + 1, nq], qd [n_steps + 1, nv]. */
PHYSICS_API int physics_rollout(int64_t window, const double* x, int32_t n, double* q, double* qd);

/* Looking inside, for tests and pictures. */
/* sites [n_sites, 3] */
PHYSICS_API int physics_sites(int64_t model, const double* q, double* sites);
/* centers of the contact spheres [n_spheres, 3] */
PHYSICS_API int physics_spheres(int64_t model, const double* q, double* centers);
/* Accelerations without contact, control, damping and limits; torque [n_actuated], qacc [nv]. */
PHYSICS_API int physics_accelerations(int64_t model, const double* q, const double* qd,
                                      const double* torque, double* qacc);
/* Force on each contact sphere at this state and velocity, [n_spheres, 3]. */
PHYSICS_API int physics_contacts(int64_t model, const double* q, const double* qd, double* forces);

/* Why this thread's last call failed, one line. */
PHYSICS_API const char* physics_last_error(void);
PHYSICS_API int physics_interface(void);

#ifdef __cplusplus
}
#endif

#endif /* OPTIMUS_PHYSICS_H_ */
