// The supported minor versions. A new one is a new layout_3_NN.cpp, a line here, and its test.
#pragma once

#include <array>

#include "structures/debug_offsets.hpp"

namespace pyscope {

extern const PythonLayout kLayout311;
extern const PythonLayout kLayout312;
extern const PythonLayout kLayout313;
extern const PythonLayout kLayout314;
extern const PythonLayout kLayout315;

inline constexpr std::array kLayouts{&kLayout311, &kLayout312, &kLayout313, &kLayout314,
                                     &kLayout315};

}  // namespace pyscope
