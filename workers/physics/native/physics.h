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
  int32_t nq, nv, n_actuated, n_target, n_sites, n_spheres, n_bodies, n_limited;
} PhysicsModelInfo;

/* The terms of the loss. Each is weight * (mean of squares); a term whose weight is 0 costs nothing
 * and needs no data. Means are over frames, and over sites weighted by confidence. */
typedef enum {
  PHYSICS_POSITION = 0, /* |site - reference|^2, m^2 */
  PHYSICS_ROOT,         /* |root position - root|^2, m^2 */
  PHYSICS_COM,          /* |centre of mass - com|^2, m^2 */
  PHYSICS_VELOCITY,     /* |site velocity - velocities|^2, (m/s)^2 */
  PHYSICS_REPROJECTION, /* |projected site - keypoint|^2, pixels^2 */
  PHYSICS_LIMIT,        /* squared excess over joint limits, rad^2, mean over limited joints */
  PHYSICS_CONTROL,      /* x^2, mean over the controls */
  PHYSICS_SMOOTHNESS,   /* squared change from a control to the axis's next, mean over changes */
  PHYSICS_TERMS
} PhysicsTerm;

/* Pinhole camera: camera axes x right, y down, z forward; p_camera = rotation p_world + translation,
 * pixel = (fx x / z + cx, fy y / z + cy). From z < 1.5 near on the depth is blended into near, so
 * points behind the camera are projected as if at depth near. */
typedef struct {
  double fx, fy, cx, cy;
  double rotation[9]; /* world to camera, row-major */
  double translation[3];
  double near; /* m, positive */
} PhysicsCamera;

typedef struct {
  int32_t n_steps, n_controls, n_frames;
  int32_t initial_velocity;     /* 1: x ends with nv more entries, qd0 += velocity_scale * them */
  const int32_t* control_index; /* [n_steps, n_actuated], entries of x */
  const double* targets;        /* [n_steps, n_target] PD targets at x = 0; null for torques */
  const int32_t* frame_steps;   /* [n_frames], strictly rising, 1..n_steps */
  const double* q0;             /* [nq] */
  const double* qd0;            /* [nv] */
  /* Null where the term has no weight. */
  const double* reference;           /* [n_frames, n_sites, 3] */
  const double* confidence;          /* [n_frames, n_sites]; null: all 1 */
  const double* root;                /* [n_frames, 3] */
  const double* com;                 /* [n_frames, 3] */
  const double* velocities;          /* [n_frames, n_sites, 3] */
  const double* keypoints;           /* [n_frames, n_sites, 2] */
  const double* keypoint_confidence; /* [n_frames, n_sites]; null: all 1 */
  const PhysicsCamera* camera;
  double control_scale;  /* PD: rad per unit of x; torque: y = scale * x drives
                            torque_max * y / sqrt(1 + y^2) */
  double velocity_scale; /* m/s and rad/s per unit of x */
  double weight[PHYSICS_TERMS];
} PhysicsWindow;

/* Parses the model text. Tapes are recorded with the first window that needs them (a fraction of a
 * second), once for all models of one structure: see physics_model_structure. */
PHYSICS_API int physics_model_create(const char* text, double dt, int control, int64_t* model);
PHYSICS_API int physics_model_info(int64_t model, PhysicsModelInfo* info);
/* Text that is equal for two models exactly when they share tapes and generated code: the tree,
 * joint types, axes and which numbers are zero. Fills buffer [size] and always says what size it
 * needs, terminating zero included. */
PHYSICS_API int physics_model_structure(int64_t model, char* buffer, int32_t size, int32_t* needed);
/* Hands over code generated for the model's structure (generate/generate.cc), used instead of the
 * tapes from then on. Only before the model's first window; the code must stay loaded. */
typedef void (*PhysicsVjp)(const double* x, double* grad);
PHYSICS_API int physics_model_use_code(int64_t model, PhysicsVjp step, PhysicsVjp positions,
                                       PhysicsVjp motion);
/* Windows of a destroyed model stay valid. */
PHYSICS_API int physics_model_destroy(int64_t model);

/* Copies everything it is given. */
PHYSICS_API int physics_window_create(int64_t model, const PhysicsWindow* window, int64_t* handle);
/* Length of x: n_controls, and nv more with the initial velocity. */
PHYSICS_API int physics_window_size(int64_t window, int32_t* n);
PHYSICS_API int physics_window_destroy(int64_t window);

/* x and grad [n], n = physics_window_size; grad may be null. */
PHYSICS_API int physics_loss_and_grad(int64_t window, const double* x, int32_t n, double* loss,
                                      double* grad);
/* The same for B windows at once: windows, loss and status [B], x and grad [B, n]. Each element runs
 * on one thread; at most `threads` of them (0: as many as the machine has). The same bits as B
 * calls. Returns the worst status. */
PHYSICS_API int physics_loss_and_grad_batch(const int64_t* windows, const double* x, int32_t batch,
                                            int32_t n, int32_t threads, double* loss, double* grad,
                                            int32_t* status);
/* The weighted terms [PHYSICS_TERMS] at x; their sum is the loss. */
PHYSICS_API int physics_loss_terms(int64_t window, const double* x, int32_t n, double* terms);
/* Derivative of the loss along a direction [n] by forward-mode dual numbers: a check of the
 * gradient that shares no tape with it. */
PHYSICS_API int physics_loss_derivative(int64_t window, const double* x, const double* direction,
                                        int32_t n, double* loss, double* derivative);
/* q [n_steps + 1, nq], qd [n_steps + 1, nv]. */
PHYSICS_API int physics_rollout(int64_t window, const double* x, int32_t n, double* q, double* qd);

/* Looking inside, for tests and pictures. */
/* sites [n_sites, 3] */
PHYSICS_API int physics_sites(int64_t model, const double* q, double* sites);
/* com [3]; site velocities [n_sites, 3] */
PHYSICS_API int physics_center_of_mass(int64_t model, const double* q, double* com);
PHYSICS_API int physics_site_velocities(int64_t model, const double* q, const double* qd,
                                        double* velocities);
/* centers of the contact spheres [n_spheres, 3] */
PHYSICS_API int physics_spheres(int64_t model, const double* q, double* centers);
/* Accelerations without contact, PD control, damping, springs and limits; torque [n_actuated], qacc [nv]. */
PHYSICS_API int physics_accelerations(int64_t model, const double* q, const double* qd,
                                      const double* torque, double* qacc);
/* Force on each contact sphere at this state and velocity, [n_spheres, 3]. */
PHYSICS_API int physics_contacts(int64_t model, const double* q, const double* qd, double* forces);

/* Why this thread's last call failed, one line. */
PHYSICS_API const char* physics_last_error(void);

#ifdef __cplusplus
}
#endif

#endif /* OPTIMUS_PHYSICS_H_ */
