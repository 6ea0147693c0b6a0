// The first line of the text form: a whole process in one sentence.
#pragma once

#include <string>

#include "pyscope/snapshot.hpp"

namespace pyscope {

/// For example "12 threads: 1 running get_user (app/views.py:88), 2 waiting for a lock in
/// Store.save (app/store.py:31), 9 idle in Queue.get". Threads that deserve attention come first.
/// No line end; escaped; about 160 columns at most.
[[nodiscard]] std::string summarize(const Snapshot& snapshot);

}  // namespace pyscope
