// The passes that list threads: the thread states of Python's, joined with what the kernel says of
// each; their names; and which of them are wanted.
#pragma once

#include "passes/draft.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

/// Lists interpreters and threads, and holds all threads first if that is asked for. Fails if not
/// even one interpreter can be read.
[[nodiscard]] Result<void> list_threads(Draft& draft);
/// Python's names of the threads, and whether this is a debug build.
void name_threads(Draft& draft);
/// Puts the threads that the options name before the others. Fails with Usage if there is no such
/// thread. Takes the names.
[[nodiscard]] Result<void> select_threads(Draft& draft);
/// Leaves out the threads that ended while they were read: their thread states are freed memory.
void drop_ended_threads(Draft& draft);
/// The interpreters, for the model.
[[nodiscard]] std::vector<Interpreter> describe_interpreters(const Draft& draft);

}  // namespace pyscope
