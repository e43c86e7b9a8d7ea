// Writes C code for the two vector-Jacobian products of a rollout's gradient.
//
//   generate DT CONTROL < model text > vjp.c        CONTROL: 0 torque, 1 PD
//
// The code is straight-line arithmetic for one model, dt and control: about ten times as fast as
// the interpreted tapes, the same numbers up to rounding, and free of CppAD's thread rules.
#include <cppad/cg.hpp>  // first: it sets cppad.hpp up for generated code

#include "../step.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <iterator>
#include <sstream>

using namespace optimus_physics;
using Code = CppAD::cg::CG<double>;
using AD = CppAD::AD<Code>;

namespace {

CppAD::ADFun<Code> record_step(const Model& m) {
  std::vector<AD> x(m.nq + m.nv + m.n_input()), y(m.nq + m.nv);
  set_recording_point(m, x.data(), x.size());
  CppAD::Independent(x);
  Workspace<AD> ws;
  step<AD>(m, x.data(), x.data() + m.nq, x.data() + m.nq + m.nv, y.data(), y.data() + m.nq, ws);
  return CppAD::ADFun<Code>(x, y);
}

CppAD::ADFun<Code> record_sites(const Model& m) {
  std::vector<AD> x(m.nq), y(3 * m.sites.size());
  set_recording_point(m, x.data(), x.size());
  CppAD::Independent(x);
  std::vector<BodyPose<AD>> poses;
  body_poses<AD>(m, x.data(), poses);
  site_positions<AD>(m, poses, y.data());
  return CppAD::ADFun<Code>(x, y);
}

// void name(const double* x, double* grad): x holds the point [n], then the adjoint [m].
void write_vjp(const char* name, CppAD::ADFun<Code> f, std::ostream& out) {
  f.optimize("no_compare_op");
  const std::size_t n = f.Domain(), m = f.Range();
  CppAD::cg::CodeHandler<double> handler;
  std::vector<Code> all(n + m);
  handler.makeVariables(all);
  f.Forward(0, std::vector<Code>(all.begin(), all.begin() + n));
  std::vector<Code> grad = f.Reverse(1, std::vector<Code>(all.begin() + n, all.end()));
  CppAD::cg::LanguageC<double> language("double");
  language.setParameterPrecision(17);
  CppAD::cg::LangCDefaultVariableNameGenerator<double> variables("grad");
  std::ostringstream body;
  handler.generateCode(body, language, grad, variables);
  out << "\n__attribute__((visibility(\"default\")))\n"
      << "void " << name << "(const double* x, double* grad) {\n"
      << "  double v[" << handler.getTemporaryVariableCount() + 1 << "];\n"
      << body.str() << "}\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: generate DT CONTROL < model text > vjp.c\n", stderr);
    return 2;
  }
  try {
    const std::string text(std::istreambuf_iterator<char>(std::cin), {});
    const Control control = std::string(argv[2]) == "1" ? Control::kPd : Control::kTorque;
    const Model model = parse_model(text, std::strtod(argv[1], nullptr), control);
    std::cout << "/* Generated: do not edit. */\n#include <math.h>\n";
    write_vjp("physics_step_vjp", record_step(model), std::cout);
    write_vjp("physics_sites_vjp", record_sites(model), std::cout);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "generate: %s\n", e.what());
    return 1;
  }
  return 0;
}
