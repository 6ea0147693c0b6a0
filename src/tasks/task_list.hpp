// The tasks of asyncio that have not ended, of all event loops. 3.14 and later have lists of them
// in each thread state and interpreter; before, the module asyncio.tasks knows them.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "python/objects.hpp"
#include "python/runtime_state.hpp"
#include "structures/asyncio_lists.hpp"

namespace pyscope {

struct TaskList {
  std::vector<RemoteAddr> tasks;  // in the order in which they are found, each once
  /// The thread state that a loop runs in, where that is known, by the loop's address.
  std::unordered_map<std::uint64_t, RemoteAddr> running_loops;
  /// Tasks whose step is executed at the moment: their code, or what asyncio's C code does before
  /// and after it.
  std::unordered_set<std::uint64_t> running_tasks;
  /// Parts of the lists that could not be followed.
  std::vector<std::string> problems;
};

/// `lists`: of 3.14 and later; empty: not known, or none.
[[nodiscard]] TaskList list_tasks(ObjectReader& objects, const RawRuntime& runtime,
                                  const std::optional<AsyncioLists>& lists);

}  // namespace pyscope
