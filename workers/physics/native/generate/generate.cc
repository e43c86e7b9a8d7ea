// Writes C code for the vector-Jacobian products of a rollout's gradient.
//
//   generate CONTROL < model text > vjp.c        CONTROL: 0 torque, 1 PD
//
// The code is straight-line arithmetic for one structure (parameters.hpp); the model's numbers, dt
// among them, are arguments. It is about ten times as fast as the interpreted tapes, gives the same
// numbers up to rounding, and is free of CppAD's thread rules.
#include <cppad/cg.hpp>  // first: it sets cppad.hpp up for generated code

#include "mechanics/record.hpp"

#include <cstdio>
#include <exception>
#include <iostream>
#include <iterator>
#include <sstream>

using namespace optimus_physics;
using Code = CppAD::cg::CG<double>;
using AD = CppAD::AD<Code>;

namespace {

// void name(const double* x, double* grad): x holds the point [domain], the adjoint [range], then
// the parameters.
void write_vjp(const char* name, const Model& m, Function which, std::ostream& out) {
  const Shape size = shape(m, which);
  const std::vector<double> numbers = parameters(m);
  CppAD::cg::CodeHandler<double> handler;
  std::vector<Code> all(size.domain + size.range + numbers.size());
  handler.makeVariables(all);
  std::vector<AD> x(size.domain), y(size.range);
  // Variables of the code, but constants of the tape: nothing is differentiated by them.
  const std::vector<AD> p(all.begin() + size.domain + size.range, all.end());
  set_recording_point(m, x.data(), x.size());
  CppAD::Independent(x);
  trace<AD>(with_parameters<AD>(m, p.data()), which, x.data(), y.data());
  CppAD::ADFun<Code> f(x, y);
  f.optimize("no_compare_op");
  f.Forward(0, std::vector<Code>(all.begin(), all.begin() + size.domain));
  const auto w = all.begin() + size.domain;
  std::vector<Code> grad = f.Reverse(1, std::vector<Code>(w, w + size.range));
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
  if (argc != 2) {
    std::fputs("usage: generate CONTROL < model text > vjp.c\n", stderr);
    return 2;
  }
  try {
    const std::string text(std::istreambuf_iterator<char>(std::cin), {});
    const Control control = std::string(argv[1]) == "1" ? Control::kPd : Control::kTorque;
    const Model model = parse_model(text, 1.0, control);  // any dt: it is a parameter
    std::cout << "/* Generated: do not edit. */\n#include <math.h>\n";
    write_vjp("physics_step_vjp", model, Function::kStep, std::cout);
    write_vjp("physics_positions_vjp", model, Function::kPositions, std::cout);
    write_vjp("physics_motion_vjp", model, Function::kMotion, std::cout);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "generate: %s\n", e.what());
    return 1;
  }
  return 0;
}
