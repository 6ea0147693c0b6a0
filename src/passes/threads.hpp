// The passes that list threads: the thread states of Python's, joined with what the kernel says of
// each; their names; and which of them are wanted.
#pragma once

#include <span>

#include "passes/draft.hpp"
#include "pyscope/error.hpp"

namespace pyscope {

/// Lists interpreters and threads, and holds all threads first if that is asked for. Fails if not
/// even one interpreter can be read.
[[nodiscard]] Result<void> list_threads(Draft& draft);
/// What a thread was in when it was held, by its registers; what the kernel said before if it isn't
/// held, or its registers don't tell.
[[nodiscard]] Task as_held(const Draft& draft, Task before);
/// Whether a thread waits for the GIL of an interpreter: it sleeps on a futex within the GIL's
/// condition variable or mutex. Before 3.15 nothing else shows it. Empty if it isn't known what the
/// thread sleeps on.
[[nodiscard]] std::optional<bool> sleeps_on_gil(const Draft& draft,
                                                const RawInterpreter& interpreter,
                                                const Task* task);
/// Describes a thread by what the kernel said of it at the moment of its stack; `draft.told_gils`
/// are those of that moment.
void describe_again(Draft& draft, ThreadDraft& thread, const Task& task);
/// Forgets that a thread waits, and for what, where the kernel said so at another moment than that
/// of its stack, and the thread has run in between.
void drop_unproven_states(Draft& draft, std::span<ThreadDraft> threads);
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
