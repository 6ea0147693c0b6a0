#include "tasks/task_waits.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "frames/variables.hpp"
#include "locks/waited_objects.hpp"
#include "values/contents.hpp"

namespace pyscope {

enum class TaskWaits::What : std::uint8_t {
  Sleep,
  Lock,
  Semaphore,
  Condition,
  Event,
  Barrier,
  QueueGet,
  QueuePut,
  QueueJoin,
  Tasks,
  AnyTask,
  TaskGroup,
  Read,
  Drain,
  Socket,
  Process,
  Server,
};

/// A function of asyncio that waits, and its variable that leads to the object.
struct TaskWaits::Known {
  std::string_view file;
  std::string_view function;
  What what;
  std::string_view variable;
  /// Of an object that the program knows: TaskWait::kind. Empty: what is waited for is found from
  /// it.
  std::string_view kind = {};
};

std::span<const TaskWaits::Known> TaskWaits::known_functions() {
  static constexpr auto kKnown = std::to_array<Known>({
      {"tasks.py", "sleep", What::Sleep, "h"},
      {"tasks.py", "_wait", What::Tasks, "fs"},
      {"tasks.py", "_AsCompletedIterator._wait_for_one", What::AnyTask, "self"},
      {"locks.py", "Lock.acquire", What::Lock, "self", "lock"},
      {"locks.py", "Semaphore.acquire", What::Semaphore, "self", "semaphore"},
      {"locks.py", "Condition.wait", What::Condition, "self", "condition"},
      {"locks.py", "Event.wait", What::Event, "self", "event"},
      {"locks.py", "Barrier._wait", What::Barrier, "self", "barrier"},
      {"locks.py", "Barrier._block", What::Barrier, "self", "barrier"},
      {"queues.py", "Queue.get", What::QueueGet, "self", "queue"},
      {"queues.py", "Queue.put", What::QueuePut, "self", "queue"},
      {"queues.py", "Queue.join", What::QueueJoin, "self", "queue"},
      {"taskgroups.py", "TaskGroup._aexit", What::TaskGroup, "self"},
      {"streams.py", "StreamReader._wait_for_data", What::Read, "self"},
      {"streams.py", "FlowControlMixin._drain_helper", What::Drain, "self"},
      {"selector_events.py", "BaseSelectorEventLoop.sock_recv", What::Socket, "sock", "socket"},
      {"selector_events.py", "BaseSelectorEventLoop.sock_recv_into", What::Socket, "sock",
       "socket"},
      {"selector_events.py", "BaseSelectorEventLoop.sock_recvfrom", What::Socket, "sock", "socket"},
      {"selector_events.py", "BaseSelectorEventLoop.sock_sendall", What::Socket, "sock", "socket"},
      {"selector_events.py", "BaseSelectorEventLoop.sock_connect", What::Socket, "sock", "socket"},
      {"selector_events.py", "BaseSelectorEventLoop.sock_accept", What::Socket, "sock", "socket"},
      {"base_subprocess.py", "BaseSubprocessTransport._wait", What::Process, "self"},
      {"base_events.py", "Server.serve_forever", What::Server, "self"},
  });
  return kKnown;
}

namespace {

constexpr std::string_view kFolder = "/asyncio/";
// Bound: tasks that one task waits for
constexpr std::size_t kMostTasksOfOne = 100'000;

/// The part of a path behind the folder asyncio; empty if it lies elsewhere.
std::string_view file_in_asyncio(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash + 1 < kFolder.size()) return {};
  return path.substr(slash + 1 - kFolder.size(), kFolder.size()) == kFolder ? path.substr(slash + 1)
                                                                            : std::string_view{};
}

std::string shown_type(const ObjectType& type) {
  return type.full_name.starts_with("asyncio.") ? "asyncio." + type.name : type.full_name;
}

}  // namespace

TaskWaits::TaskWaits(ThreadFrames& frames, Namespaces& namespaces,
                     std::span<const WaitingTask> tasks, std::optional<double> now)
    : frames_(frames),
      reader_(frames.reader()),
      namespaces_(namespaces),
      with_statements_(frames),
      tasks_(tasks),
      now_(now) {
  find_holders();
}

/// Looks at the `with` statements of all tasks: for who is inside of one of a lock, and for
/// deadlines.
void TaskWaits::find_holders() {
  deadlines_.resize(tasks_.size());
  for (std::size_t i = 0; i < tasks_.size(); ++i) {
    // The innermost first, so that the first deadline that is found is the innermost.
    const auto& frames = tasks_[i].chain->frames;
    RemoteAddr given_back;  // the condition that a frame further in waits for
    for (std::size_t f = frames.size(); f-- > 0;) {
      if (tasks_[i].chain->runs && f + 1 == frames.size()) continue;
      const Known* known = known_function(frames[f]);
      if (known != nullptr && known->what == What::Condition)
        given_back = frames_.variable(frames[f], known->variable);
      for (const RemoteAddr object : with_statements_.entered_in(frames[f])) {
        const auto type = namespaces_.objects().type_of(object);
        if (!type) continue;
        const std::string& name = (*type)->full_name;
        if (name == "asyncio.timeouts.Timeout") {
          if (!deadlines_[i]) deadlines_[i] = until(object, "_when");
        } else if (name == "asyncio.locks.Lock" || name == "asyncio.locks.Semaphore" ||
                   name == "asyncio.locks.BoundedSemaphore") {
          if (given_back && instance_attribute(reader_, given_back, "_lock") == object) continue;
          holders_[object.raw()].push_back(tasks_[i].at.raw());
        } else if (name == "asyncio.locks.Condition" && object != given_back) {
          const RemoteAddr lock = instance_attribute(reader_, object, "_lock");
          if (lock) holders_[lock.raw()].push_back(tasks_[i].at.raw());
        }
      }
    }
  }
}

std::optional<std::int64_t> TaskWaits::deadline_of(std::size_t task) {
  return deadlines_[task];
}

bool TaskWaits::is_of_asyncio(const RawFrame& frame) const {
  const CodeTable& codes = frames_.codes();
  return codes.knows(frame.executable) &&
         !file_in_asyncio(codes.at(frame.executable).code.file).empty();
}

const TaskWaits::Known* TaskWaits::known_function(const RawFrame& frame) const {
  if (!is_of_asyncio(frame)) return nullptr;
  const Code& code = frames_.codes().at(frame.executable).code;
  const std::string_view file = file_in_asyncio(code.file);
  const auto known = known_functions();
  const auto found = std::find_if(known.begin(), known.end(), [&](const Known& one) {
    return one.function == code.qualified_name && one.file == file;
  });
  return found == known.end() ? nullptr : &*found;
}

/// Of the functions of asyncio at the inner end of the stack the outermost one that is known: the
/// program knows Queue.join(), not the event inside of the queue.
TaskWaits::Place TaskWaits::find_place(const AwaitChain& chain) const {
  Place place;
  for (std::size_t f = chain.frames.size(); f-- > 0;) {
    if (!is_of_asyncio(chain.frames[f])) break;
    const Known* known = known_function(chain.frames[f]);
    if (known == nullptr) continue;
    // What was notified waits for the lock of its condition.
    if (known->what == What::Condition && place.known != nullptr &&
        place.known->what == What::Lock) {
      break;
    }
    place = {known, &chain.frames[f]};
  }
  return place;
}

RemoteAddr TaskWaits::attribute(RemoteAddr object, std::string_view name) {
  const auto type = namespaces_.objects().type_of(object);
  return type ? namespaces_.objects().attribute(object, **type, name) : RemoteAddr{};
}

/// The time until that of an attribute, a float of the loop's clock.
std::optional<std::int64_t> TaskWaits::until(RemoteAddr object, std::string_view name) {
  constexpr double kMicroseconds = 1e6;
  constexpr double kMost = 1e15;  // microseconds; more is for ever
  const RemoteAddr value = attribute(object, name);
  if (!now_ || c_type_name_of(reader_, value) != "float") return std::nullopt;
  const auto when = reader_.field<double>(value, Field::FloatObFval);
  if (!when) return std::nullopt;
  const double left = (*when - *now_) * kMicroseconds;
  if (!std::isfinite(left) || std::abs(left) > kMost) return std::nullopt;
  return static_cast<std::int64_t>(left);
}

bool TaskWaits::is_task(RemoteAddr object) {
  const auto type = namespaces_.objects().type_of(object);
  return type && (*type)->builtin == "_asyncio.Task";
}

bool TaskWaits::is_pending(RemoteAddr future) const {
  const auto state = reader_.field<std::int32_t>(future, Field::FutureState);
  return state && *state == 0;
}

TaskWait TaskWaits::find(std::size_t index) {
  const WaitingTask& task = tasks_[index];
  TaskWait wait;
  wait.kind = "future";
  const Place place = find_place(*task.chain);
  if (place.known != nullptr) describe_known(task, place, wait);
  if (wait.kind == "future" && task.future) describe_future(task.future, wait);
  return wait;
}

void TaskWaits::take_object(const WaitingTask& task, RemoteAddr object, TaskWait& wait) {
  if (!object) return;
  wait.address = object.raw();
  if (const auto type = namespaces_.objects().type_of(object)) wait.type = shown_type(**type);
  wait.name = name_of(object, *task.chain);
}

void TaskWaits::describe_known(const WaitingTask& task, const Place& place, TaskWait& wait) {
  const RemoteAddr object = frames_.variable(*place.frame, place.known->variable);
  if (!object) return;
  const auto waiting = [&](std::string_view waiters) {
    const auto count = item_count_of(reader_, object, waiters);
    return count && *count > 1 ? counted(*count, "task") + " wait for it" : std::string{};
  };
  if (!place.known->kind.empty()) {
    wait.kind = place.known->kind;
    take_object(task, object, wait);
  }
  switch (place.known->what) {
    case What::Sleep:
      wait.kind = "timer";
      wait.left_us = until(object, "_when");
      return;
    case What::Lock:
    case What::Semaphore: {
      const bool lock = place.known->what == What::Lock;
      wait.detail = waiting("_waiters");
      // While the lock isn't taken, it is on its way to a waiter.
      const RemoteAddr locked =
          lock ? instance_attribute(reader_, object, "_locked") : RemoteAddr{};
      const auto value = locked ? read_unsigned(reader_, locked) : Result<std::uint64_t>(1);
      if (value && *value == 0) return;
      if (const auto found = holders_.find(object.raw()); found != holders_.end())
        wait.held_by = found->second;
      return;
    }
    case What::Condition:
    case What::Event:
      wait.detail = waiting("_waiters");
      return;
    case What::Barrier: {
      const auto there = integer_attribute(reader_, object, "_count");
      const auto parties = integer_attribute(reader_, object, "_parties");
      if (there && parties) wait.detail = fmt::format("{} of {} there", *there, *parties);
      return;
    }
    case What::QueueGet: {
      const auto items = item_count_of(reader_, object, "_queue");
      if (items) wait.detail = *items == 0 ? "empty" : counted(*items, "item");
      return;
    }
    case What::QueuePut: {
      const auto items = item_count_of(reader_, object, "_queue");
      const auto most = integer_attribute(reader_, object, "_maxsize");
      if (items && most) wait.detail = fmt::format("{} of {}", *items, counted(*most, "item"));
      return;
    }
    case What::QueueJoin: {
      const auto unfinished = integer_attribute(reader_, object, "_unfinished_tasks");
      if (unfinished) wait.detail = counted(*unfinished, "item") + " not done yet";
      return;
    }
    case What::Tasks: {
      const auto set = read_sequence_prefix(reader_, object, ContainerKind::Set, kMostTasksOfOne);
      if (!set) return;
      add_tasks(set->items, wait);
      // asyncio.FIRST_COMPLETED and FIRST_EXCEPTION are str.
      const RemoteAddr until_what = frames_.variable(*place.frame, "return_when");
      wait.any = !until_what || namespaces_.objects().text_of(until_what) != "ALL_COMPLETED";
      if (const RemoteAddr timeout = frames_.variable(*place.frame, "timeout_handle"))
        wait.left_us = until(timeout, "_when");
      return;
    }
    case What::AnyTask: {
      const auto set = read_sequence_prefix(reader_, instance_attribute(reader_, object, "_todo"),
                                            ContainerKind::Set, kMostTasksOfOne);
      if (!set) return;
      add_tasks(set->items, wait);
      wait.any = true;
      return;
    }
    case What::TaskGroup: {
      const auto set = read_sequence_prefix(reader_, instance_attribute(reader_, object, "_tasks"),
                                            ContainerKind::Set, kMostTasksOfOne);
      if (set) add_tasks(set->items, wait);
      wait.ends_on_error = true;
      return;
    }
    case What::Read:
    case What::Drain: {
      const bool read = place.known->what == What::Read;
      const auto fd =
          integer_attribute(reader_, instance_attribute(reader_, object, "_transport"), "_sock_fd");
      if (!fd || *fd < 0 || *fd > std::int64_t{1} << 30U) return;
      wait.kind = "socket";
      wait.fd = static_cast<int>(*fd);
      wait.detail = read ? "nothing received" : "the peer doesn't read";
      return;
    }
    case What::Socket:
      return;
    case What::Process: {
      const auto pid = integer_attribute(reader_, object, "_pid");
      if (!pid || *pid <= 0 || *pid > std::int64_t{1} << 30U) return;
      wait.kind = "process";
      wait.process = static_cast<pid_t>(*pid);
      return;
    }
    case What::Server:
      wait.kind = "server";
      return;
  }
}

void TaskWaits::add_tasks(const std::vector<RemoteAddr>& objects, TaskWait& wait) {
  for (const RemoteAddr object : objects) {
    if (is_task(object) && is_pending(object)) wait.tasks.push_back(object.raw());
  }
  // A set has no order that means anything to a reader.
  std::sort(wait.tasks.begin(), wait.tasks.end());
  wait.kind = "tasks";
}

void TaskWaits::describe_future(RemoteAddr future, TaskWait& wait) {
  if (is_task(future)) {
    wait.kind = "task";
    wait.tasks = {future.raw()};
    return;
  }
  const auto type = namespaces_.objects().type_of(future);
  if (!type) return;
  if ((*type)->full_name == "asyncio.tasks._GatheringFuture") {
    const RemoteAddr children = instance_attribute(reader_, future, "_children");
    const auto list = read_sequence_prefix(reader_, children, ContainerKind::List, kMostTasksOfOne);
    if (children && list) {
      add_tasks(list->items, wait);
      wait.ends_on_error = true;
      return;
    }
  }
  wait.type = (*type)->full_name == "_asyncio.Future" ? "asyncio.Future" : shown_type(**type);
  wait.address = future.raw();
  if ((*type)->builtin == "_asyncio.Future") describe_callbacks(future, wait);
}

/// What a plain future is for is told by the functions that it calls when it is done.
void TaskWaits::describe_callbacks(RemoteAddr future, TaskWait& wait) {
  constexpr std::size_t kMostCallbacks = 16;
  std::vector<RemoteAddr> callbacks;
  if (const auto first = reader_.pointer(future, Field::FutureCallback0); first && *first)
    callbacks.push_back(*first);
  const auto more = reader_.pointer(future, Field::FutureCallbacks);
  if (more && c_type_name_of(reader_, *more) == "list") {
    // Pairs of a function and a context.
    const auto pairs = read_sequence_prefix(reader_, *more, ContainerKind::List, kMostCallbacks);
    for (const RemoteAddr pair : pairs ? pairs->items : std::vector<RemoteAddr>{}) {
      if (c_type_name_of(reader_, pair) != "tuple") continue;
      const auto function = read_sequence_prefix(reader_, pair, ContainerKind::Tuple, 1);
      if (function && !function->items.empty()) callbacks.push_back(function->items.front());
    }
  }
  for (const RemoteAddr callback : callbacks) {
    if (c_type_name_of(reader_, callback) != "function") continue;
    const auto name_at = reader_.pointer(callback, Field::FunctionQualname);
    const std::string name = name_at ? namespaces_.objects().text_of(*name_at) : std::string{};
    const bool shield = name == "shield.<locals>._outer_done_callback";
    const bool executor = name == "_chain_future.<locals>._call_check_cancel";
    if (!shield && !executor) continue;
    const RemoteAddr value = closed_over(callback, shield ? "inner" : "source");
    if (shield && is_task(value)) {
      wait = {};
      wait.kind = "task";
      wait.tasks = {value.raw()};
      wait.detail = "shielded";
      return;
    }
    const RemoteAddr state = executor ? instance_attribute(reader_, value, "_state") : RemoteAddr{};
    if (!state) continue;
    const std::string text = namespaces_.objects().text_of(state);
    wait = {};
    wait.kind = "executor";
    wait.address = value.raw();
    wait.detail = text == "RUNNING"   ? "it runs"
                  : text == "PENDING" ? "it is queued"
                                      : std::string{};
    return;
  }
}

/// A variable of an outer function that a function uses; null if there is none of this name.
RemoteAddr TaskWaits::closed_over(RemoteAddr function, std::string_view name) const {
  constexpr std::size_t kMostCells = 64;
  const auto code = reader_.pointer(function, Field::FunctionCode);
  const auto closure = reader_.pointer(function, Field::FunctionClosure);
  if (!code || !*code || !closure || c_type_name_of(reader_, *closure) != "tuple") return {};
  const auto names_at = reader_.pointer(*code, Field::CodeLocalsplusnames);
  const auto cells = read_sequence_prefix(reader_, *closure, ContainerKind::Tuple, kMostCells);
  if (!names_at || !*names_at || !cells) return {};
  // The free variables are the last of all.
  const std::vector<std::string> names = read_names(reader_, *names_at);
  const std::size_t count = cells->items.size();
  if (cells->count != count || names.size() < count) return {};
  for (std::size_t i = 0; i < count; ++i) {
    if (names[names.size() - count + i] != name) continue;
    if (c_type_name_of(reader_, cells->items[i]) != "cell") return {};
    return reader_.pointer(cells->items[i], Field::CellObRef).value_or(RemoteAddr{});
  }
  return {};
}

/// What the innermost function of the program calls an object.
std::string TaskWaits::name_of(RemoteAddr object, const AwaitChain& chain) {
  for (std::size_t f = chain.frames.size(); f-- > 0;) {
    const RawFrame& frame = chain.frames[f];
    if (is_of_asyncio(frame)) continue;
    const auto found = read_variables(reader_, frame);
    if (!found) return {};
    for (const FrameVariable& variable : found->variables) {
      if (variable.value == object) return variable.name;
    }
    for (const FrameVariable& variable : found->variables) {
      for (const auto& [key, value] : namespaces_.attributes(variable.value)) {
        if (value == object) return variable.name + "." + namespaces_.key_text(key);
      }
      for (const auto& [key, value] : namespaces_.slots(variable.value)) {
        if (value == object) return variable.name + "." + key;
      }
    }
    return found->globals ? name_among_globals(object, frame, found->globals) : std::string{};
  }
  return {};
}

/// A global name of an object, or of what has the object as an attribute: of the names that the
/// function itself uses.
std::string TaskWaits::name_among_globals(RemoteAddr object, const RawFrame& frame,
                                          RemoteAddr globals) {
  if (const RemoteAddr key = namespaces_.key_of(globals, object)) return namespaces_.key_text(key);
  const auto names = reader_.pointer(frame.executable, Field::CodeNames);
  if (!names || !*names) return {};
  for (const std::string& name : read_names(reader_, *names)) {
    const auto value = dict_item(reader_, globals, name);
    if (!value || !*value) continue;
    for (const auto& [key, attribute] : namespaces_.attributes(*value)) {
      if (attribute == object) return name + "." + namespaces_.key_text(key);
    }
  }
  return {};
}

}  // namespace pyscope
