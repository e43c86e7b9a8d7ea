// The TensorFlow op: a thin C++14 file over the C interface. No numerics here (see physics.h).
#include "physics.h"

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tensorflow {

REGISTER_OP("PhysicsLossAndGrad")
    .Input("x: float64")
    .Input("window: int64")
    .Output("loss: float64")
    .Output("grad: float64")
    .SetIsStateful()  // the window lives outside the graph: never folded or merged
    .SetShapeFn([](shape_inference::InferenceContext* c) {
      shape_inference::ShapeHandle x, window;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &x));
      TF_RETURN_IF_ERROR(c->WithRank(c->input(1), 0, &window));
      c->set_output(0, c->Scalar());
      c->set_output(1, x);
      return Status::OK();
    })
    .Doc("Physics loss of controls x [N] in a window made by physics_window_create, and its "
         "gradient [N]. A motion that is not finite gives loss +inf and gradient nan.");

class PhysicsLossAndGradOp : public OpKernel {
 public:
  explicit PhysicsLossAndGradOp(OpKernelConstruction* context) : OpKernel(context) {}

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    const Tensor& window = context->input(1);
    OP_REQUIRES(context, x.dims() == 1,
                errors::InvalidArgument("x must be a vector, got shape ",
                                        x.shape().DebugString()));
    OP_REQUIRES(context, window.dims() == 0,
                errors::InvalidArgument("window must be a scalar, got shape ",
                                        window.shape().DebugString()));
    Tensor* loss = nullptr;
    Tensor* grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &loss));
    OP_REQUIRES_OK(context, context->allocate_output(1, x.shape(), &grad));
    const int status = physics_loss_and_grad(
        window.scalar<int64_t>()(), x.flat<double>().data(), static_cast<int32_t>(x.NumElements()),
        loss->flat<double>().data(), grad->flat<double>().data());
    if (status == PHYSICS_OK || status == PHYSICS_NONFINITE) return;
    const char* why = physics_last_error();
    OP_REQUIRES(context, status != PHYSICS_BAD_ARGUMENT, errors::InvalidArgument(why));
    OP_REQUIRES(context, status != PHYSICS_BAD_HANDLE, errors::NotFound(why));
    context->CtxFailure(errors::Internal(why));
  }
};

REGISTER_KERNEL_BUILDER(Name("PhysicsLossAndGrad").Device(DEVICE_CPU), PhysicsLossAndGradOp);

}  // namespace tensorflow
