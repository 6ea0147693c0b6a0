// What a suspended task waits for, by the innermost function of asyncio in its stack and by the
// future that it waits on; and which tasks hold a lock. docs/tasks.md lists what is recognised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "locks/namespaces.hpp"
#include "locks/thread_frames.hpp"
#include "locks/with_statements.hpp"
#include "pyscope/snapshot.hpp"
#include "tasks/await_chain.hpp"

namespace pyscope {

/// A task as the search sees it.
struct WaitingTask {
  RemoteAddr at;
  const AwaitChain* chain = nullptr;  // never null
  RemoteAddr future;                  // _fut_waiter; null: none
};

class TaskWaits {
 public:
  /// `now`: the target's CLOCK_MONOTONIC in seconds, by which loops set their timers; empty: not
  /// known. The frames' codes must be loaded.
  TaskWaits(ThreadFrames& frames, Namespaces& namespaces, std::span<const WaitingTask> tasks,
            std::optional<double> now);

  /// Of a task that waits for a future.
  [[nodiscard]] TaskWait find(std::size_t task);
  /// SuspendedStack::deadline_left_us.
  [[nodiscard]] std::optional<std::int64_t> deadline_of(std::size_t task);

 private:
  enum class What : std::uint8_t;
  struct Known;
  struct Place {
    const Known* known = nullptr;
    const RawFrame* frame = nullptr;
  };

  [[nodiscard]] static std::span<const Known> known_functions();
  [[nodiscard]] const Known* known_function(const RawFrame& frame) const;
  [[nodiscard]] bool is_of_asyncio(const RawFrame& frame) const;
  [[nodiscard]] Place find_place(const AwaitChain& chain) const;
  void describe_known(const WaitingTask& task, const Place& place, TaskWait& wait);
  void describe_future(RemoteAddr future, TaskWait& wait);
  void describe_callbacks(RemoteAddr future, TaskWait& wait);
  void take_object(const WaitingTask& task, RemoteAddr object, TaskWait& wait);
  void add_tasks(const std::vector<RemoteAddr>& objects, TaskWait& wait);
  [[nodiscard]] bool is_task(RemoteAddr object);
  [[nodiscard]] bool is_pending(RemoteAddr future) const;
  [[nodiscard]] std::string name_of(RemoteAddr object, const AwaitChain& chain);
  [[nodiscard]] std::string name_among_globals(RemoteAddr object, const RawFrame& frame,
                                               RemoteAddr globals);
  [[nodiscard]] RemoteAddr closed_over(RemoteAddr function, std::string_view name) const;
  [[nodiscard]] RemoteAddr attribute(RemoteAddr object, std::string_view name);
  [[nodiscard]] std::optional<std::int64_t> until(RemoteAddr object, std::string_view name);
  void find_holders();

  ThreadFrames& frames_;
  const Reader& reader_;
  Namespaces& namespaces_;
  WithStatements with_statements_;
  std::span<const WaitingTask> tasks_;
  std::optional<double> now_;
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> holders_;  // tasks, by lock
  std::vector<std::optional<std::int64_t>> deadlines_;
};

}  // namespace pyscope
