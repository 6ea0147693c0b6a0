// A recording: everything that a capture read of one process, in one file, so that a failing case
// can be read again without the process. The format is for pyscope alone: a text of one fact a
// line, then the memory as "memory ADDRESS SIZE" lines, each followed by its bytes.
#pragma once

#include <string>

#include "memory/image_memory.hpp"
#include "process/facts.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

struct Recording {
  RemoteAddr runtime;
  ProcessFacts facts;
  ImageMemory memory;
};

[[nodiscard]] Result<void> write_recording(const std::string& path, const Recording& recording);
[[nodiscard]] Result<Recording> read_recording(const std::string& path);

}  // namespace pyscope
