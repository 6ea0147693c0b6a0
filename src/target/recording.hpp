// A recording: everything that a capture read of one process, in one file, so that a failing case
// can be read again without the process. The format is for pyscope alone: a text of one fact a
// line, then the memory as "memory ADDRESS SIZE" lines, each followed by its bytes.
#pragma once

#include <sys/types.h>

#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "memory/image_memory.hpp"
#include "process/facts.hpp"
#include "process/maps.hpp"
#include "process/registers.hpp"
#include "pyscope/error.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// What a thread waited for, as the kernel said it while there was a process to ask.
struct RecordedWait {
  pid_t tid = 0;
  Wait wait;
};

struct Recording {
  RemoteAddr runtime;
  ProcessFacts facts;
  ImageMemory memory;
  std::vector<RecordedWait> waits = {};
  /// Only where native frames were asked for. The registers are of threads of a processor like
  /// ours; others' are passed over.
  std::vector<Mapping> maps = {};
  std::map<pid_t, Registers> registers = {};
};

/// Writes to a file that is open.
[[nodiscard]] Result<void> write_recording(int file, const Recording& recording);
/// Writes to a file of that name, in place of what it held.
[[nodiscard]] Result<void> write_recording(const std::string& path, const Recording& recording);
[[nodiscard]] Result<Recording> read_recording(const std::string& path);
/// The same from a stream; `name` is for messages.
[[nodiscard]] Result<Recording> read_recording(std::istream& in, const std::string& name);

}  // namespace pyscope
