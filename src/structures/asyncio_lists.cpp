#include "structures/asyncio_lists.hpp"

#include <fmt/core.h>

#include <array>
#include <cstring>

namespace pyscope {

Result<AsyncioLists> AsyncioLists::decode(std::span<const std::byte, kSize> table,
                                          const DebugOffsets& offsets) {
  // The words of the table, as 3.14 and 3.15 have them.
  enum Word : std::uint8_t {
    TaskSize,
    TaskName,
    TaskAwaitedBy,
    TaskIsTask,
    TaskAwaitedByIsSet,
    TaskCoro,
    TaskNode,
    InterpreterSize,
    InterpreterTasks,
    ThreadSize,
    RunningLoop,
    RunningTask,
    ThreadTasks,
    Count
  };
  static_assert(Count * sizeof(std::uint64_t) == kSize);
  std::array<std::uint64_t, Count> words{};
  std::memcpy(words.data(), table.data(), kSize);
  const auto same = [&](Word word, Field field) {
    return !offsets.has(field) || words[word] == offsets[field];
  };
  if (!same(TaskSize, Field::TaskSize) || !same(TaskName, Field::TaskName) ||
      !same(TaskCoro, Field::TaskCoro) || !same(TaskNode, Field::TaskNode) ||
      !same(InterpreterSize, Field::InterpreterSize)) {
    return fail(ErrorKind::Malformed,
                fmt::format("the table of asyncio is of another interpreter: its tasks have {} "
                            "bytes, and its interpreter states {}",
                            words[TaskSize], words[InterpreterSize]));
  }
  constexpr std::uint64_t kMostThread = std::uint64_t{64} << 10U;
  const auto within = [&](Word word, std::uint64_t size) {
    constexpr std::uint64_t kPointer = sizeof(std::uint64_t);
    return words[word] % kPointer == 0 && words[word] < size && size - words[word] >= kPointer;
  };
  if (words[ThreadSize] > kMostThread || !within(InterpreterTasks, words[InterpreterSize]) ||
      !within(ThreadTasks, words[ThreadSize]) || !within(RunningLoop, words[ThreadSize]) ||
      !within(RunningTask, words[ThreadSize])) {
    return fail(ErrorKind::Malformed,
                "the table of asyncio has offsets outside of their structures");
  }
  return AsyncioLists{.interpreter_tasks = words[InterpreterTasks],
                      .thread_tasks = words[ThreadTasks],
                      .running_loop = words[RunningLoop],
                      .running_task = words[RunningTask]};
}

}  // namespace pyscope
