#pragma once

#include <string_view>

namespace pyscope {

/// Whether a function of the interpreter only leads from one Python frame to the next, or to the C
/// function that a Python frame calls: calling conventions, the evaluation loop, and the start of a
/// program or a thread. The names are those of CPython 3.11 to 3.15, whatever the compiler has put
/// behind them (".cold", ".constprop.0").
[[nodiscard]] bool is_call_machinery(std::string_view function);

/// Whether a function only takes the arguments apart for the function that it calls: Argument
/// Clinic generates "builtin_sum" for "sum", which calls "builtin_sum_impl".
[[nodiscard]] bool takes_arguments_for(std::string_view function, std::string_view callee);

/// Whether a function is Python code that CPython has compiled, by the names that 3.15 registers.
[[nodiscard]] bool is_compiled_python(std::string_view function);

/// Whether a function of the C library or the loader begins a program or a thread.
[[nodiscard]] bool begins_thread(std::string_view function);

}  // namespace pyscope
