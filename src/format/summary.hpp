// The first line of the text form: a whole process in one sentence.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "model/origin.hpp"
#include "pyscope/diagnosis.hpp"
#include "pyscope/snapshot.hpp"
#include "verdict/activity.hpp"

namespace pyscope {

/// For example "12 threads: 2 waiting for a lock in Store.save (app/store.py:31), 1 running
/// get_user (app/views.py:88), 9 idle in Queue.get". Threads that deserve attention come first, and
/// places are those in the program's own code. No line end; escaped. `columns` are the terminal's:
/// the words are chosen so that wrap() makes three lines of them. 0: some 200 columns, 400 at most.
[[nodiscard]] std::string summarize(const Snapshot& snapshot, std::size_t columns = 0);

/// Whether nothing in the process can let the thread go on.
[[nodiscard]] bool is_deadlocked(const Snapshot& snapshot, const Thread& thread);

/// What a thread does and where, as in the summary: "waiting for a lock in Store.save
/// (app/store.py:31)". Escaped.
[[nodiscard]] std::string describe_activity(const Snapshot& snapshot, const Thread& thread,
                                            const Activity& activity, Origins& origins);

/// The verdict on a thread, as far as one look at the thread tells; empty for a thread that runs,
/// and where it isn't known.
[[nodiscard]] std::optional<Verdict> verdict_at_once(const Snapshot& snapshot, const Thread& thread,
                                                     const Activity& activity);

}  // namespace pyscope
