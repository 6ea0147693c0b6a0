#include "passes/tasks.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/file_name.hpp"
#include "elf/elf_image.hpp"
#include "locks/namespaces.hpp"
#include "locks/thread_frames.hpp"
#include "locks/waited_objects.hpp"
#include "memory/page_cache.hpp"
#include "passes/stacks.hpp"
#include "process/descriptors.hpp"
#include "tasks/await_chain.hpp"
#include "tasks/task_list.hpp"
#include "tasks/task_waits.hpp"

namespace pyscope {
namespace {

/// Where a file is loaded, by its first mapping.
std::uint64_t bias_of(const ElfImage& image, const Mapping& first) {
  if (!image.position_independent) return 0;
  const auto begin = std::find_if(
      image.segments.begin(), image.segments.end(),
      [](const ElfSegment& segment) { return segment.file_offset / PageCache::kPageSize == 0; });
  const std::uint64_t address = begin == image.segments.end() ? 0 : begin->address;
  return first.range.start.raw() - address / PageCache::kPageSize * PageCache::kPageSize;
}

class TaskReader {
 public:
  explicit TaskReader(Draft& draft)
      : draft_(draft),
        cache_(draft.memory),
        reader_(cache_, draft.offsets()),
        objects_(reader_),
        namespaces_(reader_) {
    const Process* process =
        draft.target.living() != nullptr ? draft.target.living()->process() : nullptr;
    // In a time namespace of its own its CLOCK_MONOTONIC is another one.
    if (process != nullptr && process->shares_namespace("time")) {
      now_ = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
                 .count();
    }
  }

  void read() {
    const TaskList list = list_tasks(objects_, draft_.raw, draft_.asyncio_lists);
    for (const std::string& problem : list.problems)
      lacks(problem);
    if (!draft_.asyncio_lists && draft_.offsets().has(Field::TaskNode) && asyncio_is_imported())
      lacks("where CPython keeps its tasks isn't known: the module _asyncio can't be read");
    reader_.prefetch(list.tasks, draft_.offsets()[Field::TaskSize]);
    std::vector<RemoteAddr> coroutines;
    for (const RemoteAddr task : list.tasks)
      coroutines.push_back(reader_.pointer(task, Field::TaskCoro).value_or(RemoteAddr{}));
    const std::vector<AwaitChain> chains = follow_awaits(reader_, coroutines);
    std::vector<RemoteAddr> codes;
    for (const AwaitChain& chain : chains) {
      for (const RawFrame& frame : chain.frames)
        codes.push_back(frame.executable);
    }
    draft_.codes.load(std::move(codes));
    std::vector<WaitingTask> waiting;
    for (std::size_t i = 0; i < chains.size(); ++i) {
      const auto future = reader_.pointer(list.tasks[i], Field::TaskFutWaiter);
      waiting.push_back({list.tasks[i], &chains[i], future.value_or(RemoteAddr{})});
    }
    ThreadFrames frames(reader_, draft_.codes, {});
    TaskWaits waits(frames, namespaces_, waiting, now_);
    for (std::size_t i = 0; i < chains.size(); ++i) {
      const bool in_step = list.running_tasks.contains(list.tasks[i].raw());
      SuspendedStack& task = add_task(waiting[i], coroutines[i], in_step);
      if (task.state == "waiting") task.wait = waits.find(i);
      task.deadline_left_us = waits.deadline_of(i);
    }
    add_awaited_by();
    sort_by_name();
    add_loops(list, frames);
  }

 private:
  void lacks(std::string problem) {
    draft_.snapshot.warnings.push_back(std::move(problem));
    draft_.snapshot.capture.complete = false;
  }

  [[nodiscard]] bool asyncio_is_imported() const {
    return std::any_of(draft_.raw.interpreters.begin(), draft_.raw.interpreters.end(),
                       [&](const RawInterpreter& interpreter) {
                         const auto module =
                             dict_item(reader_, interpreter.modules, "asyncio.tasks");
                         return module && *module;
                       });
  }

  [[nodiscard]] std::string name_of(RemoteAddr task) {
    const auto name = reader_.pointer(task, Field::TaskName);
    if (!name || !*name) return {};
    // A task that wasn't given a name has a number in its place.
    if (c_type_name_of(reader_, *name) != "int") return objects_.name_of(*name);
    const auto number = read_unsigned(reader_, *name);
    return number ? fmt::format("Task-{}", *number) : std::string{};
  }

  SuspendedStack& add_task(const WaitingTask& waiting, RemoteAddr coroutine, bool in_step) {
    SuspendedStack& task = draft_.snapshot.stacks.emplace_back();
    const AwaitChain& chain = *waiting.chain;
    task.kind = StackKind::Task;
    task.id = waiting.at.raw();
    task.name = name_of(waiting.at);
    task.loop = reader_.pointer(waiting.at, Field::FutureLoop).value_or(RemoteAddr{}).raw();
    task.cancel_requests =
        reader_.field<std::uint32_t>(waiting.at, Field::TaskNumCancelsRequested).value_or(0);
    task.error = chain.error;
    const auto name = coroutine ? reader_.pointer(coroutine, Field::GenGiQualname)
                                : Result<RemoteAddr>(RemoteAddr{});
    if (name && *name && !chain.frames.empty()) task.coroutine = objects_.text_of(*name);
    const auto future_state = waiting.future
                                  ? reader_.field<std::int32_t>(waiting.future, Field::FutureState)
                                  : Result<std::int32_t>(1);
    const bool waits = future_state && *future_state == 0;
    // Before its coroutine goes on, and after that was left, C code has the task in hand.
    task.state = chain.runs || in_step ? "running"
                 : waits               ? "waiting"
                 : chain.not_started   ? "not started"
                                       : "ready";
    if (chain.runs) add_frames_of_thread(chain, task);
    for (std::size_t f = chain.frames.size(); f-- > 0;) {
      const RawFrame& raw = chain.frames[f];
      // The thread's frames have it already.
      if (task.mounted_on && f + 1 == chain.frames.size()) continue;
      if (auto frame = resolve_frame(draft_.codes, raw)) add_frame(task, *std::move(frame), raw);
    }
    return task;
  }

  void add_frame(SuspendedStack& task, Frame frame, const RawFrame& raw) {
    task.frames.push_back(std::move(frame));
    draft_.frames_of_stack[task.id].push_back(raw);
  }

  /// The coroutines of a task that runs are part of its thread's stack, the outermost of them is
  /// the last frame of `chain`.
  void add_frames_of_thread(const AwaitChain& chain, SuspendedStack& task) {
    const RemoteAddr outermost = chain.frames.back().at;
    for (const ThreadDraft& thread : draft_.threads) {
      const auto& walk = thread.stack.walk.frames;
      const auto found = std::find_if(walk.begin(), walk.end(),
                                      [&](const RawFrame& frame) { return frame.at == outermost; });
      if (found == walk.end()) continue;
      const auto last = static_cast<std::size_t>(found - walk.begin());
      task.mounted_on = thread.thread.tid;
      for (std::size_t i = 0; i < thread.raw_frames.size() && thread.raw_frames[i] <= last; ++i) {
        const Frame& frame = thread.thread.frames[i];
        if (frame.kind != FrameKind::Shim) add_frame(task, frame, walk[thread.raw_frames[i]]);
      }
      return;
    }
    if (task.error.empty()) task.error = "it runs, in a thread whose stack isn't known to the end";
  }

  void add_awaited_by() {
    std::unordered_map<std::uint64_t, SuspendedStack*> by_id;
    for (SuspendedStack& task : draft_.snapshot.stacks)
      by_id.emplace(task.id, &task);
    for (const SuspendedStack& task : draft_.snapshot.stacks) {
      if (!task.wait) continue;
      for (const std::uint64_t awaited : task.wait->tasks) {
        if (const auto found = by_id.find(awaited); found != by_id.end())
          found->second->awaited_by.push_back(task.id);
      }
    }
  }

  /// The sets of 3.13 have no order. Task-2 comes before Task-10.
  void sort_by_name() {
    if (draft_.offsets().has(Field::TaskNode)) return;
    const auto key = [](const SuspendedStack& task) {
      const auto digits = task.name.find_last_not_of("0123456789") + 1;
      const bool numbered = digits < task.name.size();
      return std::tuple(std::string_view(task.name).substr(0, digits),
                        numbered ? task.name.size() - digits : 0, std::string_view(task.name),
                        task.id);
    };
    std::sort(draft_.snapshot.stacks.begin(), draft_.snapshot.stacks.end(),
              [&](const auto& a, const auto& b) { return key(a) < key(b); });
  }

  void add_loops(const TaskList& list, ThreadFrames& frames) {
    auto& loops = draft_.snapshot.loops;
    std::unordered_map<std::uint64_t, std::size_t> known;
    const auto add = [&](std::uint64_t id) {
      const auto [entry, fresh] = known.try_emplace(id, loops.size());
      if (fresh) loops.push_back(describe_loop(id, list, frames));
      return entry->second;
    };
    for (const SuspendedStack& task : draft_.snapshot.stacks) {
      EventLoop& loop = loops[task.loop != 0 ? add(task.loop) : add(0)];
      if (task.state == "running") loop.running_task = task.id;
    }
    for (const auto& [id, thread] : list.running_loops)
      (void)add(id);
  }

  [[nodiscard]] EventLoop describe_loop(std::uint64_t id, const TaskList& list,
                                        ThreadFrames& frames) {
    EventLoop loop;
    loop.id = id;
    const RemoteAddr at{id};
    const auto type = objects_.type_of(at);
    if (!type) return loop;
    loop.type = (*type)->full_name;
    // BaseEventLoop._thread_id, which uvloop doesn't have as an attribute.
    const RemoteAddr ident_at = instance_attribute(reader_, at, "_thread_id");
    const auto ident = c_type_name_of(reader_, ident_at) == "int" ? read_unsigned(reader_, ident_at)
                                                                  : Result<std::uint64_t>(0);
    const auto state = list.running_loops.find(id);
    const auto runs_it = [&](const ThreadDraft& thread) {
      if (state != list.running_loops.end()) return thread.raw->at == state->second;
      return ident && *ident != 0 && thread.raw->ident == *ident;
    };
    const auto thread = std::find_if(draft_.threads.begin(), draft_.threads.end(), runs_it);
    const auto ready = item_count_of(reader_, at, "_ready");
    if (ready) loop.ready = static_cast<std::uint64_t>(*ready);
    if (thread == draft_.threads.end()) return loop;
    loop.tid = thread->thread.tid;
    loop.busy_us = busy_time(*thread, frames);
    return loop;
  }

  /// BaseEventLoop._run_once() has a variable `end_time` from when it has been told events until it
  /// has executed all that it found ready.
  [[nodiscard]] std::optional<std::int64_t> busy_time(const ThreadDraft& thread,
                                                      ThreadFrames& frames) {
    constexpr double kMicroseconds = 1e6;
    constexpr double kMost = 1e9;  // seconds
    if (!now_) return std::nullopt;
    for (const RawFrame& frame : thread.stack.walk.frames) {
      if (frame.is_entry() || !draft_.codes.knows(frame.executable)) continue;
      const Code& code = draft_.codes.at(frame.executable).code;
      if (code.qualified_name != "BaseEventLoop._run_once" ||
          !code.file.ends_with("/asyncio/base_events.py")) {
        continue;
      }
      const RemoteAddr value = frames.variable(frame, "end_time");
      if (c_type_name_of(reader_, value) != "float") return std::nullopt;
      const auto since = reader_.field<double>(value, Field::FloatObFval);
      if (!since || !(*since <= *now_) || *now_ - *since > kMost) return std::nullopt;
      return static_cast<std::int64_t>((*now_ - *since) * kMicroseconds);
    }
    return std::nullopt;
  }

  Draft& draft_;
  PageCache cache_;
  Reader reader_;
  ObjectReader objects_;
  Namespaces namespaces_;
  std::optional<double> now_;
};

}  // namespace

std::optional<AsyncioLists> find_asyncio_lists(const Target& target, const Memory& memory,
                                               const DebugOffsets& offsets, const Log& log) {
  if (!offsets.has(Field::TaskNode)) return std::nullopt;
  constexpr std::size_t kMostFiles = 16;
  std::size_t files = 0;
  const std::string executable = target.facts().executable;
  for (const Mapping& mapping : target.mappings()) {
    if (mapping.inode == 0 || mapping.file_offset != 0) continue;
    const std::string_view name = file_name(mapping.path);
    if (!name.starts_with("_asyncio.") && name.find("python") == std::string_view::npos &&
        mapping.path != executable) {
      continue;
    }
    if (++files > kMostFiles) break;
    std::vector<std::byte> head(PageCache::kPageSize);
    if (!memory.read(mapping.range.start, head)) head.clear();
    const auto file = target.open_mapped_file(mapping, head, log);
    if (!file) continue;
    const auto image = read_elf(file->get());
    const ElfSection* section = image ? image->section(AsyncioLists::kSection) : nullptr;
    if (section == nullptr) continue;
    const RemoteAddr at{section->address + bias_of(*image, mapping)};
    std::array<std::byte, AsyncioLists::kSize> table{};
    if (const auto ok = memory.read(at, table); !ok) {
      log("{} of {}: {}", AsyncioLists::kSection, mapping.path, ok.error().message);
      continue;
    }
    auto lists = AsyncioLists::decode(table, offsets);
    if (lists) return *lists;
    log("{} of {}: {}", AsyncioLists::kSection, mapping.path, lists.error().message);
  }
  return std::nullopt;
}

void read_tasks(Draft& draft) {
  TaskReader(draft).read();
}

void describe_task_descriptors(Draft& draft) {
  const Process* process =
      draft.target.living() != nullptr ? draft.target.living()->process() : nullptr;
  if (process == nullptr) return;
  Descriptors descriptors(*process, draft.log);
  bool any = false;
  for (const SuspendedStack& stack : draft.snapshot.stacks) {
    if (!stack.wait || !stack.wait->fd) continue;
    descriptors.want(*stack.wait->fd);
    any = true;
  }
  if (!any) return;
  descriptors.resolve();
  for (SuspendedStack& stack : draft.snapshot.stacks) {
    if (stack.wait && stack.wait->fd)
      stack.wait->target = descriptors.describe(*stack.wait->fd).target;
  }
}

}  // namespace pyscope
