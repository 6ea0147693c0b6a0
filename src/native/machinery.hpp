#pragma once

#include <string_view>

namespace pyscope {

/// Whether a function of the interpreter does nothing but lead from one Python frame to the next,
/// or to the C function that a Python frame calls: calling conventions, the evaluation loop, and
/// what starts a program or a thread. Known by the names in CPython 3.13 to 3.15, whatever the
/// compiler has put behind them (".cold", ".constprop.0").
[[nodiscard]] bool is_call_machinery(std::string_view function);

/// Whether a function does nothing but take the arguments apart for the one that it calls: what
/// Argument Clinic generates for "sum" is "builtin_sum", which calls "builtin_sum_impl".
[[nodiscard]] bool takes_arguments_for(std::string_view function, std::string_view callee);

/// Whether a function is Python code that CPython has compiled, by the names that 3.15 registers.
[[nodiscard]] bool is_compiled_python(std::string_view function);

/// Whether a function of the C library or the loader begins a program or a thread.
[[nodiscard]] bool begins_thread(std::string_view function);

}  // namespace pyscope
