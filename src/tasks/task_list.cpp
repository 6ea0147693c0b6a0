#include "tasks/task_list.hpp"

#include <fmt/core.h>

#include <string_view>
#include <unordered_set>

#include "locks/namespaces.hpp"
#include "values/contents.hpp"

namespace pyscope {
namespace {

// Bound: tasks
constexpr std::size_t kMostTasks = 200'000;
constexpr std::int32_t kPending = 0;  // of fut_state

class TaskLister {
 public:
  explicit TaskLister(ObjectReader& objects) : objects_(objects), reader_(objects.reader()) {}

  [[nodiscard]] TaskList take() { return std::move(list_); }

  void add_lists(const RawInterpreter& interpreter, const AsyncioLists& lists) {
    // Tasks of threads that have ended.
    follow(interpreter.at + lists.interpreter_tasks);
    for (const RawThread& thread : interpreter.threads) {
      follow(thread.at + lists.thread_tasks);
      const auto loop = reader_.pointer(thread.at, lists.running_loop);
      if (!loop || !*loop) continue;
      list_.running_loops.emplace(loop->raw(), thread.at);
      const auto task = reader_.pointer(thread.at, lists.running_task);
      if (task && *task) list_.running_tasks.insert(task->raw());
    }
  }

  /// What the module asyncio.tasks knows: all tasks until 3.13, and those being started eagerly.
  void add_module(const RawInterpreter& interpreter) {
    const auto module = dict_item(reader_, interpreter.modules, "asyncio.tasks");
    if (!module || !*module) return;  // asyncio isn't imported
    const auto dict = objects_.module_dict(*module);
    if (!dict) return problem("the module asyncio.tasks", dict.error());
    for (const char* name : {"_scheduled_tasks", "_all_tasks"}) {  // the latter until 3.11
      const auto scheduled = dict_item(reader_, *dict, name);
      // WeakSet.data
      if (scheduled && *scheduled) add_set(instance_attribute(reader_, *scheduled, "data"), true);
    }
    const auto current = dict_item(reader_, *dict, "_current_tasks");
    if (current && *current && c_type_name_of(reader_, *current) == "dict") {
      // By their loops.
      constexpr std::size_t kMostLoops = 4096;
      const auto items = read_dict_prefix(reader_, *current, kMostLoops);
      if (items) {
        for (const auto& [loop, task] : items->items)
          list_.running_tasks.insert(task.raw());
      }
    }
    const auto eager = dict_item(reader_, *dict, "_eager_tasks");
    if (eager && *eager) add_set(*eager, false);
  }

 private:
  void problem(std::string_view what, const Error& error) {
    list_.problems.push_back(fmt::format("{} can't be read: {}", what, error.message));
  }

  /// A list of struct llist_node, which are members of tasks; the head is one, too.
  void follow(RemoteAddr head) {
    const std::uint64_t node_offset = reader_.offsets()[Field::TaskNode];
    auto node = reader_.pointer(head, Field::ListNodeNext);
    std::unordered_set<std::uint64_t> seen;
    while (node && *node && *node != head) {
      if (node->raw() < node_offset || !seen.insert(node->raw()).second ||
          list_.tasks.size() == kMostTasks) {
        list_.problems.emplace_back("a list of tasks leads back into itself, or is too long");
        return;
      }
      add(RemoteAddr{node->raw() - node_offset});
      node = reader_.pointer(*node, Field::ListNodeNext);
    }
    if (!node) problem("a list of tasks", node.error());
  }

  void add_set(RemoteAddr set, bool of_weak_references) {
    if (c_type_name_of(reader_, set) != "set") return;
    const auto members = read_sequence_prefix(reader_, set, ContainerKind::Set, kMostTasks);
    if (!members) return problem("the set of tasks", members.error());
    for (const RemoteAddr member : members->items) {
      if (!of_weak_references) {
        add(member);
        continue;
      }
      const auto task = reader_.pointer(member, Field::WeakRefWrObject);
      if (task && *task) add(*task);
    }
  }

  void add(RemoteAddr task) {
    if (!seen_.insert(task.raw()).second || list_.tasks.size() == kMostTasks) return;
    const auto type = objects_.type_of(task);
    // Tasks that are Python code have another layout.
    if (!type || (*type)->builtin != "_asyncio.Task") return;
    const auto state = reader_.field<std::int32_t>(task, Field::TaskState);
    if (state && *state == kPending) list_.tasks.push_back(task);
  }

  ObjectReader& objects_;
  const Reader& reader_;
  TaskList list_;
  std::unordered_set<std::uint64_t> seen_;
};

}  // namespace

TaskList list_tasks(ObjectReader& objects, const RawRuntime& runtime,
                    const std::optional<AsyncioLists>& lists) {
  TaskLister lister(objects);
  for (const RawInterpreter& interpreter : runtime.interpreters) {
    if (lists) lister.add_lists(interpreter, *lists);
    lister.add_module(interpreter);
  }
  return lister.take();
}

}  // namespace pyscope
