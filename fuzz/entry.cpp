// What libFuzzer calls; FUZZ_TARGET is one of targets.hpp.
#include "fuzz/recordings.hpp"
#include "fuzz/targets.hpp"

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  // Before the first input, whose time it would count to.
  (void)pyscope::fuzz::seeds_if_any();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  pyscope::fuzz::FUZZ_TARGET({data, size});
  return 0;
}
