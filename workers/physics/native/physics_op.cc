// The TensorFlow op: a thin C++14 file over the C interface. No numerics here (see physics.h).
#include "physics.h"

#include <vector>

#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace tensorflow {

REGISTER_OP("PhysicsLossAndGrad")
    .Input("x: float64")
    .Input("window: int64")
    .Output("loss: float64")
    .Output("grad: float64")
    .Attr("threads: int = 0")
    .SetIsStateful()  // the window lives outside the graph: never folded or merged
    .SetShapeFn([](shape_inference::InferenceContext* c) {
      shape_inference::ShapeHandle x, window;
      TF_RETURN_IF_ERROR(c->WithRankAtLeast(c->input(0), 1, &x));
      TF_RETURN_IF_ERROR(c->WithRankAtMost(x, 2, &x));
      TF_RETURN_IF_ERROR(c->WithRankAtMost(c->input(1), 1, &window));
      if (c->RankKnown(x)) {
        c->set_output(0, c->Rank(x) == 1 ? c->Scalar() : c->Vector(c->Dim(x, 0)));
      } else {
        c->set_output(0, c->UnknownShape());
      }
      c->set_output(1, x);
      return Status::OK();
    })
    .Doc("Physics loss of controls x and its gradient, of x's shape. x [N] with a scalar window made "
         "by physics_window_create gives a scalar loss; x [B, N] with windows [B] gives loss [B], "
         "one window to a thread, at most `threads` at once (0: as many as the machine has). A "
         "motion that is not finite gives loss +inf and gradient nan in its own row.");

class PhysicsLossAndGradOp : public OpKernel {
 public:
  explicit PhysicsLossAndGradOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("threads", &threads_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& x = context->input(0);
    const Tensor& window = context->input(1);
    OP_REQUIRES(context, x.dims() == 1 || x.dims() == 2,
                errors::InvalidArgument("x must be [N] or [B, N], got shape ",
                                        x.shape().DebugString()));
    OP_REQUIRES(context, window.dims() == x.dims() - 1 &&
                             (x.dims() == 1 || window.dim_size(0) == x.dim_size(0)),
                errors::InvalidArgument("x of shape ", x.shape().DebugString(),
                                        " needs one window for each row, got shape ",
                                        window.shape().DebugString()));
    Tensor* loss = nullptr;
    Tensor* grad = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, window.shape(), &loss));
    OP_REQUIRES_OK(context, context->allocate_output(1, x.shape(), &grad));
    std::vector<int64_t> handles;
    for (int64 i = 0; i < window.NumElements(); ++i) handles.push_back(window.flat<int64>()(i));
    std::vector<int32_t> each(handles.size());
    const int status = physics_loss_and_grad_batch(
        handles.data(), x.flat<double>().data(), static_cast<int32_t>(handles.size()),
        static_cast<int32_t>(x.dim_size(x.dims() - 1)), threads_, loss->flat<double>().data(),
        grad->flat<double>().data(), each.data());
    if (status == PHYSICS_OK || status == PHYSICS_NONFINITE) return;
    const char* why = physics_last_error();
    OP_REQUIRES(context, status != PHYSICS_BAD_ARGUMENT, errors::InvalidArgument(why));
    OP_REQUIRES(context, status != PHYSICS_BAD_HANDLE, errors::NotFound(why));
    context->CtxFailure(errors::Internal(why));
  }

 private:
  int32 threads_ = 0;
};

REGISTER_KERNEL_BUILDER(Name("PhysicsLossAndGrad").Device(DEVICE_CPU), PhysicsLossAndGradOp);

}  // namespace tensorflow
