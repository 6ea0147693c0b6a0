#include "python/runtime_state.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <unordered_set>

namespace pyscope {
namespace {

// Bounds on the lists, above anything that runs.
// Bound: interpreters
constexpr std::size_t kMaxInterpreters = 4096;
// Bound: threads of all interpreters
constexpr std::size_t kMaxThreads = 1U << 15U;  // of all interpreters

// Reads the fields of an interpreter that are used, which lie within a few KiB of the much larger
// structure.
Result<RawInterpreter> read_interpreter(const Reader& reader, RemoteAddr at, RemoteAddr runtime) {
  RawInterpreter interpreter;
  interpreter.at = at;
  const auto id = reader.field<std::int64_t>(at, Field::InterpreterId);
  if (!id) return fail(id.error());
  if (*id < 0) return fail(ErrorKind::Malformed, fmt::format("an interpreter with the id {}", *id));
  interpreter.id = *id;
  const auto collecting = reader.value<std::int32_t>(
      at, reader.offsets()[Field::InterpreterGc] + reader.offsets()[Field::GcCollecting]);
  if (!collecting) return fail(collecting.error());
  interpreter.collecting_garbage = *collecting == 1;
  const auto read_pointer = [&](Field field, RemoteAddr& into) -> Result<void> {
    const auto pointer = reader.pointer(at, field);
    if (!pointer) return fail(pointer.error());
    into = *pointer;
    return {};
  };
  if (reader.offsets().has(Field::RuntimeGil)) {
    interpreter.gil = runtime + reader.offsets()[Field::RuntimeGil];  // one for all (until 3.11)
  } else if (auto ok = read_pointer(Field::InterpreterCevalGil, interpreter.gil); !ok) {
    return fail(ok.error());
  }
  if (auto ok = read_pointer(Field::InterpreterImportsModules, interpreter.modules); !ok) {
    return fail(ok.error());
  }
  if (auto ok = read_pointer(Field::InterpreterSysdict, interpreter.sys_dict); !ok) {
    return fail(ok.error());
  }
  if (reader.offsets().has(Field::InterpreterThreadsMain)) {
    if (auto ok = read_pointer(Field::InterpreterThreadsMain, interpreter.threads_main); !ok) {
      return fail(ok.error());
    }
  }
  return interpreter;
}

struct ListedThread {
  std::optional<RawThread> thread;  // none for one that is being made or torn down
  RemoteAddr next;
};

Result<ListedThread> read_thread(const Reader& reader, RemoteAddr at, RemoteAddr interpreter) {
  const DebugOffsets& offsets = reader.offsets();
  ListedThread listed;
  const auto back = reader.pointer(at, Field::ThreadInterp);
  if (!back) return fail(back.error());
  if (*back != interpreter) {
    return fail(ErrorKind::Malformed,
                fmt::format("the thread state at {:#x} belongs to another interpreter", at.raw()));
  }
  const auto next = reader.pointer(at, Field::ThreadNext);
  const auto status = reader.field<std::uint32_t>(at, Field::ThreadStatus);
  const auto native_id = reader.field<std::uint64_t>(at, Field::ThreadNativeThreadId);
  const auto ident = reader.field<std::uint64_t>(at, Field::ThreadThreadId);
  const auto stack = read_stack_start(reader, at);
  if (!next) return fail(next.error());
  if (!status || !native_id || !ident || !stack) {
    return fail(ErrorKind::Fault, fmt::format("the thread state at {:#x} can't be read", at.raw()));
  }
  listed.next = *next;
  const auto& bits = reader.layout().status;
  const bool lives = (*status & bits.initialized) != 0 &&
                     (*status & (bits.unbound | bits.cleared | bits.finalized)) == 0;
  // One without a native id has no OS thread yet: its creator made it, and the thread has yet to
  // begin.
  if (!lives || *native_id == 0) return listed;
  RawThread thread;
  thread.at = at;
  thread.native_id = *native_id;
  thread.recorded_id = *native_id;
  thread.ident = *ident;
  thread.attached_last = (*status & bits.bound_gilstate) != 0;
  thread.stack = *stack;
  if (offsets.has(Field::ThreadGilRequested)) {
    const auto requested = reader.field<std::int32_t>(at, Field::ThreadGilRequested);
    const auto holds = reader.field<std::int32_t>(at, Field::ThreadHoldsGil);
    if (requested && holds) thread.gil_requested = *requested == 1 && *holds == 0;
  }
  listed.thread = thread;
  return listed;
}

/// Whether the pointers at these addresses are now what they were when they were followed. A node
/// that is unlinked, freed and made anew meanwhile can look like the end of the list.
bool links_hold(const Memory& memory, const std::vector<std::pair<RemoteAddr, RemoteAddr>>& links) {
  std::vector<std::uint64_t> now(links.size());
  std::vector<ReadRequest> requests;
  requests.reserve(links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    requests.push_back({links[i].first, std::as_writable_bytes(std::span{&now[i], 1})});
  }
  memory.read_many(requests);
  for (std::size_t i = 0; i < links.size(); ++i) {
    if (requests[i].status != ReadStatus::Ok || RemoteAddr{now[i]} != links[i].second) return false;
  }
  return true;
}

/// Drops the states of threads that have yet to begin, where such a state has the ids of the thread
/// that made it: that thread has an older one.
void drop_unbegun(RawInterpreter& interpreter) {
  std::vector<RawThread>& threads = interpreter.threads;
  std::unordered_set<std::uint64_t> seen;
  std::vector<RawThread> begun;
  for (auto thread = threads.rbegin(); thread != threads.rend(); ++thread) {
    const bool idle = !thread->stack.current_frame && !thread->stack.unreadable;
    if (seen.insert(thread->native_id).second || !idle) {
      begun.push_back(*thread);
    } else {
      interpreter.without_threads.push_back(thread->at);
    }
  }
  threads.assign(begun.rbegin(), begun.rend());
}

/// Takes the threads that are looked at off `left`.
void read_threads(const Reader& reader, const Memory& memory, RawInterpreter& interpreter,
                  std::size_t& left, RawRuntime& runtime) {
  const std::uint64_t size = reader.offsets()[Field::ThreadSize];
  const auto head = reader.pointer(interpreter.at, Field::InterpreterThreadsHead);
  const auto give_up = [&](const std::string& why) {
    runtime.warnings.push_back(
        fmt::format("interpreter {}: the list of threads could not be followed to its "
                    "end: {}",
                    interpreter.id, why));
  };
  if (!head) return give_up(head.error().message);
  std::unordered_set<std::uint64_t> seen;
  std::vector<std::pair<RemoteAddr, RemoteAddr>> links{
      {interpreter.at + reader.offsets()[Field::InterpreterThreadsHead], *head}};
  std::uint64_t read_ahead = 0;
  RemoteAddr last;
  for (RemoteAddr at = *head; at;) {
    if (!seen.insert(at.raw()).second) return give_up("it leads back into itself");
    if (left == 0) {
      runtime.over_limit = true;
      return give_up(fmt::format("more than {} threads", kMaxThreads));
    }
    --left;
    // Thread states are allocated one after the other upwards and linked newest first.
    constexpr std::uint64_t kNear = 64U << 10U;
    constexpr std::uint64_t kMaxReadAhead = 512U << 10U;
    if (last && at < last && last.raw() - at.raw() < kNear) {
      std::array<std::byte, 8> probe{};
      if (reader.memory().try_read(at, probe) == ReadStatus::Pending) {
        read_ahead = std::clamp<std::uint64_t>(read_ahead * 2, 8192, kMaxReadAhead);
        const std::uint64_t below = std::min(read_ahead, at.raw() - 4096);
        const RemoteRange range{RemoteAddr{at.raw() - below}, below + size};
        reader.memory().fetch({&range, 1});
      }
    }
    auto listed = read_thread(reader, at, interpreter.at);
    if (!listed) return give_up(listed.error().message);
    if (listed->thread) interpreter.threads.push_back(*listed->thread);
    links.emplace_back(at + reader.offsets()[Field::ThreadNext], listed->next);
    last = at;
    at = listed->next;
  }
  if (!links_hold(memory, links)) give_up("it changed meanwhile");
  if (reader.layout().status.bound_gilstate == 0) drop_unbegun(interpreter);
}

/// Until 3.12 the state of a sub-interpreter keeps the ids of the thread that made it, whichever
/// thread runs code in it. But its _PyCFrame lies on the stack of the thread that does, right below
/// where that thread's ident points to. Of several states of one thread, the thread executes for
/// the one that has come last: whose _PyCFrame lies lowest.
void find_threads_by_stacks(RawRuntime& runtime) {
  constexpr std::uint64_t kLargestStack = std::uint64_t{8} << 20U;  // as threads have it
  std::map<std::uint64_t, std::uint64_t> native_ids;                // by ident
  std::unordered_map<std::uint64_t, std::vector<RawThread*>> states;
  for (RawInterpreter& interpreter : runtime.interpreters) {
    for (RawThread& thread : interpreter.threads) {
      native_ids.emplace(thread.ident, thread.native_id);
      states[thread.native_id].push_back(&thread);
    }
  }
  std::vector<RawThread*> doubtful;
  for (const auto& [native_id, of_thread] : states) {
    if (of_thread.size() > 1) doubtful.insert(doubtful.end(), of_thread.begin(), of_thread.end());
  }
  std::unordered_map<std::uint64_t, RawThread*> lowest;  // by native id
  for (RawThread* state : doubtful) {
    if (!state->stack.current_frame) continue;
    const std::uint64_t cframe = state->stack.cframe.raw();
    const auto above = native_ids.upper_bound(cframe);
    if (above != native_ids.end() && above->first - cframe < kLargestStack) {
      state->ident = above->first;
      state->native_id = above->second;
    }
  }
  for (RawInterpreter& interpreter : runtime.interpreters) {
    for (RawThread& thread : interpreter.threads) {
      thread.attached_last = false;
      if (!thread.stack.current_frame) continue;
      RawThread*& known = lowest[thread.native_id];
      if (known == nullptr || thread.stack.cframe < known->stack.cframe) known = &thread;
    }
  }
  for (const auto& [native_id, state] : lowest)
    state->attached_last = true;
}

}  // namespace

Result<RawRuntime> read_interpreters(const Reader& reader, RemoteAddr runtime) {
  RawRuntime result;
  const auto finalizing = reader.field<std::uint64_t>(runtime, Field::RuntimeFinalizing);
  if (!finalizing) return fail("the runtime's state", finalizing.error());
  result.finalizing = *finalizing != 0;
  const auto head = reader.pointer(runtime, Field::RuntimeInterpretersHead);
  if (!head) return fail("the list of interpreters", head.error());
  if (!*head) {
    return fail(
        ErrorKind::Unsupported,
        "the Python interpreter in this process is not running: it has not started yet, or it "
        "has shut down",
        "try again if the process has just been started");
  }
  std::unordered_set<std::uint64_t> seen;
  for (RemoteAddr at = *head; at;) {
    const auto give_up = [&](const std::string& why) {
      result.warnings.push_back("the list of interpreters could not be followed to its end: " +
                                why);
    };
    if (!seen.insert(at.raw()).second) {
      give_up("it leads back into itself");
      break;
    }
    if (seen.size() > kMaxInterpreters) {
      give_up(fmt::format("more than {} interpreters", kMaxInterpreters));
      break;
    }
    auto interpreter = read_interpreter(reader, at, runtime);
    if (!interpreter) {
      if (result.interpreters.empty()) return fail("the newest interpreter", interpreter.error());
      give_up(interpreter.error().message);
      break;
    }
    result.interpreters.push_back(*std::move(interpreter));
    const auto next = reader.pointer(at, Field::InterpreterNext);
    if (!next) {
      give_up(next.error().message);
      break;
    }
    at = *next;
  }
  std::reverse(result.interpreters.begin(), result.interpreters.end());
  return result;
}

void read_threads(const Reader& reader, const Memory& memory, RawRuntime& runtime) {
  std::size_t left = kMaxThreads;
  for (RawInterpreter& interpreter : runtime.interpreters)
    read_threads(reader, memory, interpreter, left, runtime);
  if (reader.offsets().has(Field::ThreadCframe)) find_threads_by_stacks(runtime);
}

std::unordered_map<std::uint64_t, GilMoment> read_gils(const Memory& memory,
                                                       const DebugOffsets& offsets,
                                                       const RawRuntime& runtime) {
  // last_holder, locked and switch_number lie side by side: one read, in ascending order, each.
  const auto [begin, last] = std::minmax(
      {offsets[Field::GilLastHolder], offsets[Field::GilLocked], offsets[Field::GilSwitchNumber]});
  const std::uint64_t size = last + 8 - begin;
  std::vector<std::uint64_t> addresses;
  for (const RawInterpreter& interpreter : runtime.interpreters) {
    if (interpreter.gil) addresses.push_back(interpreter.gil.raw());
  }
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  std::vector<std::byte> bytes(addresses.size() * size);
  std::vector<ReadRequest> requests;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    requests.push_back(
        {RemoteAddr{addresses[i] + begin}, std::span{bytes}.subspan(i * size, size)});
  }
  memory.read_many(requests);
  std::unordered_map<std::uint64_t, GilMoment> moments;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (requests[i].status != ReadStatus::Ok) continue;
    const std::span<const std::byte> read = requests[i].out;
    GilMoment moment;
    moment.last_holder =
        RemoteAddr{value_in<std::uint64_t>(read, offsets[Field::GilLastHolder] - begin)};
    moment.locked = value_in<std::int32_t>(read, offsets[Field::GilLocked] - begin);
    moment.switch_number = value_in<std::uint64_t>(read, offsets[Field::GilSwitchNumber] - begin);
    moments.emplace(addresses[i], moment);
  }
  return moments;
}

Result<std::unordered_map<std::uint64_t, std::string>> read_thread_names(
    const Reader& reader, const BudgetedMemory& memory, const RawInterpreter& interpreter) {
  std::unordered_map<std::uint64_t, std::string> names;
  if (!interpreter.modules) return names;
  const auto threading = dict_item(reader, interpreter.modules, "threading");
  if (!threading) return fail("sys.modules", threading.error());
  if (!*threading) return names;  // never imported: no thread has a name
  const auto module_dict = reader.pointer(*threading, Field::ModuleMdDict);
  if (!module_dict) return fail("the module threading", module_dict.error());
  if (!*module_dict) return names;
  const auto active = dict_item(reader, *module_dict, "_active");
  if (!active) return fail("the module threading", active.error());
  if (!*active) return names;
  const auto items = read_dict(reader, *active, kMaxThreads);
  if (!items) return fail("threading._active", items.error());

  std::vector<RemoteAddr> idents;
  std::vector<RemoteAddr> threads;
  for (const auto& [ident, thread] : *items) {
    idents.push_back(ident);
    threads.push_back(thread);
  }
  reader.prefetch(idents, reader.offsets()[Field::LongSize] + 8);
  const auto name_objects = instance_attributes(reader, threads, "_name");
  constexpr std::uint64_t kTypicalName = 96;
  reader.prefetch(name_objects, kTypicalName);
  for (std::size_t i = 0; i < threads.size(); ++i) {
    if (!name_objects[i] || !idents[i].is_plausible_pointer()) continue;
    const auto ident = read_unsigned(reader, idents[i]);
    auto name = read_str(reader, name_objects[i]);
    if (ident && name) names.emplace(*ident, *std::move(name));
  }
  // Half of an old and half of a new dict can look like a dict. One that is the same now as before
  // was whole, and kept all that it refers to alive.
  const PageCache again(memory);
  const auto now = read_dict(Reader(again, reader.offsets()), *active, kMaxThreads);
  if (!now || *now != *items) {
    return fail(ErrorKind::Malformed, "threading._active changed while it was read");
  }
  return names;
}

std::optional<bool> read_debug_build(const Reader& reader, const RawInterpreter& interpreter) {
  if (!interpreter.sys_dict) return std::nullopt;
  const auto flags = dict_item(reader, interpreter.sys_dict, "abiflags");
  if (!flags || !*flags) return std::nullopt;
  const auto text = read_str(reader, *flags);
  if (!text) return std::nullopt;
  return text->find('d') != std::string::npos;
}

}  // namespace pyscope
