// Everything that pyscope would read of a process, out of any memory.
#pragma once

#include <functional>
#include <map>
#include <vector>

#include "pyscope/memory.hpp"
#include "session/session.hpp"
#include "target/recording.hpp"

namespace pyscope::fuzz {

/// What there is besides the memory.
struct ProcessSurroundings {
  RemoteAddr runtime;
  const ProcessFacts& facts;
  const std::vector<RecordedWait>& waits;
  const std::vector<Mapping>& maps;
  const std::map<pid_t, Registers>& registers;
};

// All forms of output are made, and must keep their promises.

/// A dump with variables, and its diagnosis as `why` makes it.
void explore_stacks(const Memory& memory, const DebugOffsets& offsets,
                    const ProcessSurroundings& surroundings);
/// A dump with all native frames.
void explore_native(const Memory& memory, const DebugOffsets& offsets,
                    const ProcessSurroundings& surroundings);
/// What `inspect` shows at many paths.
void explore_paths(const Memory& memory, const DebugOffsets& offsets,
                   const ProcessSurroundings& surroundings);

/// Where the structures lie that a change is worth most in; found by a dump.
struct Landmarks {
  std::vector<RemoteAddr> frames;
  std::vector<RemoteAddr> codes;
  std::vector<RemoteAddr> threads;
  std::vector<RemoteAddr> interpreters;
};
[[nodiscard]] Landmarks find_landmarks(const Memory& memory, const DebugOffsets& offsets,
                                       const ProcessSurroundings& surroundings);

}  // namespace pyscope::fuzz
