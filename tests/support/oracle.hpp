// The truth of a target's stacks is what the target says itself, while it provably stands still.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "support/dump.hpp"
#include "support/target.hpp"

namespace pyscope::test {

/// Starts nothing and stops nothing: waits until the target sleeps, dumps it, asks it for the
/// truth, dumps it again and asks it again. Both dumps must equal the truth, in every thread and
/// every field of every frame, and both truths must be the same. Returns the second dump.
///
/// The target must have printed its first line, and its reporter must be in oracle.serve().
nlohmann::json check_against_truth(Target& target);

/// What a dump says otherwise than the truth; empty if they are equal.
[[nodiscard]] std::string difference(const nlohmann::json& dump, const nlohmann::json& truth);

/// The lines of the target's source files as they were when it started must be what the frames
/// show. Returns the number of frames with a source line.
int check_source_lines(const nlohmann::json& dump, const Workspace& workspace);

}  // namespace pyscope::test
