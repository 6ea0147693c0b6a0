// The lines that say which process was looked at, and how: every text about a snapshot has them.
#pragma once

#include <cstddef>
#include <string>

#include "format/paint.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// "Process 4711 on web-3: python3 app.py", which is cut at the terminal's columns (0: not), and
/// the line of the interpreter.
void append_process(std::string& out, const Snapshot& snapshot, const Painter& painter,
                    std::size_t columns);

/// "Read 2026-01-02 03:04:05 UTC in 0.8 ms without stopping it, verified".
void append_capture(std::string& out, const Snapshot& snapshot, const Painter& painter);

}  // namespace pyscope
