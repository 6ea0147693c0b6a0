// The layouts of locks stand here; they are for builds with a GIL and the same in 3.13, 3.14 and
// 3.15 unless PythonLayout has them. Each was read in the sources and is checked by the live tests.
#include "locks/locks.hpp"

#include <fmt/core.h>
#include <tsl/robin_map.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "model/standard_waits.hpp"
#include "python/exception_table.hpp"
#include "python/objects.hpp"

namespace pyscope {
namespace {

// struct wait_entry (Python/parking_lot.c), on the stack of the thread that waits: the address that
// it waits for, the sem_t that it sleeps on, whose first word is the futex, the links of the list
// of those that wait, and whether it is being woken up. The record of a thread that was woken up
// has left the list: what lies there is no wait any more.
constexpr std::uint64_t kParkedOnBeforeSemaphore = 8;
struct WaitRecord {
  std::uint64_t parked_on = 0;
  std::array<std::uint64_t, 4> semaphore{};
  std::uint64_t next = 0;
  std::uint64_t previous = 0;
  std::uint64_t is_unparking = 0;  // a bool; the rest is padding

  [[nodiscard]] bool waits() const {
    return next != 0 && previous != 0 && (is_unparking & 0xFFU) == 0;
  }
};
static_assert(sizeof(WaitRecord) == 64);

// lockobject, rlockobject, simplequeueobject: the byte or the sem_t that is parked on.
constexpr std::uint64_t kLockByte = 16;
constexpr std::uint8_t kLocked = 1;
constexpr std::uint64_t kRLockOwner = 24;

// ThreadHandle (Modules/_threadmodule.c): thread_is_exiting, which join() waits for.
constexpr std::uint64_t kHandleIdent = 32;
constexpr std::uint64_t kHandleState = 52;
constexpr std::uint64_t kHandleExiting = 57;
constexpr std::int32_t kHandleRunning = 3;

// SemLockObject (Modules/_multiprocessing/semaphore.c).
constexpr std::uint64_t kSemLockHandle = 16;
constexpr std::uint64_t kSemLockLastThread = 24;
constexpr std::uint64_t kSemLockCount = 32;
constexpr std::uint64_t kSemLockMaximum = 36;
constexpr std::uint64_t kSemLockKind = 40;
constexpr std::int32_t kRecursiveMutex = 0;

// PyCodeObject and _PyInterpreterFrame, what the table doesn't publish.
constexpr std::uint64_t kCodeNames = 32;
constexpr std::uint64_t kCodeExceptionTable = 40;
constexpr std::uint64_t kCodeStackSize = 64;
constexpr std::uint64_t kCodeSlots = 72;  // co_nlocalsplus
constexpr std::uint64_t kFrameGlobals = 24;

constexpr std::uint64_t kMethodSelf = 24;  // PyMethodObject and PyCFunctionObject
constexpr std::uint64_t kCellContent = 16;

// PyTypeObject
constexpr std::uint64_t kTypeBase = 256;

constexpr std::uint32_t kMostSlots = 4096;
constexpr std::size_t kMostNames = 4096;       // of a namespace, or of a code object
constexpr std::size_t kMostAttributes = 1024;  // of an instance
constexpr std::size_t kMostLookedAtInAll = std::size_t{1} << 22U;  // names and attributes
constexpr std::uint64_t kTypicalInstance = 256;
constexpr std::uint64_t kBeforeInstance = 32;  // the garbage collector's words and the managed dict

constexpr std::string_view kImportLock = "import lock";
constexpr std::string_view kFindAndLoad = "_find_and_load";

/// What a thread sleeps in.
struct Sleep {
  enum class Kind : std::uint8_t { Lock, RecursiveLock, SimpleQueue, Thread, Semaphore };
  Kind kind = Kind::Lock;
  RemoteAddr at;
};

/// The `with` statements that an instruction is in.
struct WithBlock {
  std::uint64_t depth = 0;    // of the evaluation stack with what the statement keeps on it
  std::uint64_t handler = 0;  // code unit of its clean-up, which has the statement's position
};

/// What is needed of a code object besides its names, looked up once.
struct CodeFacts {
  bool readable = false;
  const StandardWait* wait = nullptr;  // that waits for an object of the program, or calls one
  std::uint32_t slots = 0;
  std::uint32_t stack_size = 0;
  std::uint64_t units = 0;
  std::vector<std::string> slot_names;
  std::vector<ExceptionEntry> handlers;
  std::vector<bool> with;  // for each of these: it ends a `with` statement
  bool has_with = false;
  std::optional<std::vector<std::string>> names;  // co_names
  bool acquires = false;                          // "acquire" is among them
};

/// An object that a frame's `with` statement will call __exit__ of.
struct Manager {
  std::size_t thread = 0;
  std::size_t frame = 0;      // index into the thread's walk
  std::uint64_t handler = 0;  // in that frame's code
  RemoteAddr at;
  RemoteAddr lock;       // the lock that it stands for; itself for what isn't known
  bool certain = false;  // its __enter__ is known to take that lock
};

class LockFinder {
 public:
  LockFinder(const Memory& memory, const Reader& reader, const CodeTable& codes,
             std::span<const LockThread> threads)
      : memory_(memory), reader_(reader), codes_(codes), threads_(threads) {
    for (std::size_t i = 0; i < threads_.size(); ++i)
      by_ident_.emplace(threads_[i].ident, i);
    complete_ = std::all_of(threads_.begin(), threads_.end(), [](const LockThread& thread) {
      return thread.walk->complete && thread.verified;
    });
  }

  std::vector<std::optional<FoundLock>> find() {
    std::vector<std::optional<FoundLock>> found(threads_.size());
    sleeps_.resize(threads_.size());
    callers_.resize(threads_.size());
    read_ahead();
    find_sleeps();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (sleeps_[i]) found[i] = describe(i);
    }
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (!found[i]) continue;
      find_holder(i, *found[i]);
      // Nobody waits for a lock that knows its owner and is his own: it has got it meanwhile.
      if (found[i]->holder == i && sleeps_[i]->kind != Sleep::Kind::Lock) found[i].reset();
    }
    drop_those_that_moved(found);
    return found;
  }

 private:
  // --- Frames

  [[nodiscard]] const std::vector<RawFrame>& frames(std::size_t thread) const {
    return threads_[thread].walk->frames;
  }

  /// The facts of the code that a frame runs; null for an entry frame or if they can't be read.
  CodeFacts* facts_of(RemoteAddr code) {
    if (!code.is_plausible_pointer()) return nullptr;
    const auto [known, fresh] = facts_.try_emplace(code.raw());
    CodeFacts& facts = known->second;
    if (fresh) facts.readable = read_facts(code, facts);
    return facts.readable ? &facts : nullptr;
  }

  bool read_facts(RemoteAddr code, CodeFacts& facts) {
    const auto type = reader_.type_of(code);
    if (!type || !*type || reader_.type_name(*type).value_or("") != "code") return false;
    if (codes_.knows(code)) {
      facts.wait = find_standard_wait(codes_.at(code).code);
      if (facts.wait != nullptr && facts.wait->object.role == WaitedObject::Role::Unknown)
        facts.wait = nullptr;
    }
    const auto slots = reader_.value<std::uint32_t>(code, kCodeSlots);
    const auto stack_size = reader_.value<std::uint32_t>(code, kCodeStackSize);
    const auto units = reader_.field<std::uint64_t>(code, Field::CodeObSize);
    constexpr std::uint64_t kMostUnits = std::uint64_t{1} << 28U;
    if (!slots || !stack_size || !units || *slots > kMostSlots || *stack_size > kMostSlots ||
        *units > kMostUnits) {
      return false;
    }
    facts.slots = *slots;
    facts.stack_size = *stack_size;
    facts.units = *units;
    if (const auto names = reader_.pointer(code, Field::CodeLocalsplusnames); names && *names) {
      facts.slot_names = read_names(*names);
    }
    read_handlers(code, facts);
    return true;
  }

  [[nodiscard]] std::vector<std::string> read_names(RemoteAddr tuple) const {
    std::vector<std::string> names;
    const auto count = reader_.field<std::uint64_t>(tuple, Field::TupleObSize);
    if (!count || *count > kMostNames) return names;
    for (std::uint64_t i = 0; i < *count; ++i) {
      const auto name = reader_.pointer(tuple, reader_.offsets()[Field::TupleObItem] + 8 * i);
      names.push_back(name && *name ? read_str(reader_, *name).value_or("") : std::string{});
    }
    return names;
  }

  void read_handlers(RemoteAddr code, CodeFacts& facts) {
    constexpr std::size_t kMostBytes = std::size_t{1} << 20U;
    const auto at = reader_.pointer(code, kCodeExceptionTable);
    if (!at || !*at) return;
    const auto table = read_bytes(reader_, *at, kMostBytes);
    if (!table) return;
    auto entries = decode_exception_table(*table, facts.units);
    if (!entries) return;
    facts.handlers = *std::move(entries);
    // The clean-up of a `with` statement is PUSH_EXC_INFO, WITH_EXCEPT_START. Tracing may have put
    // another opcode in the place of the first.
    for (const ExceptionEntry& entry : facts.handlers) {
      const auto opcode = reader_.value<std::uint8_t>(
          code, reader_.offsets()[Field::CodeCoCodeAdaptive] + 2 * (entry.handler + 1));
      const bool ends_with = opcode && entry.handler + 1 < facts.units &&
                             *opcode == reader_.layout().with_except_start;
      facts.with.push_back(ends_with);
      facts.has_with = facts.has_with || ends_with;
    }
  }

  /// Those that a code unit is in, the innermost first.
  static std::vector<WithBlock> with_blocks(const CodeFacts& facts, std::uint64_t unit) {
    std::vector<WithBlock> blocks;
    for (const std::size_t index : handlers_around(facts.handlers, unit)) {
      const ExceptionEntry& entry = facts.handlers[index];
      if (!facts.with[index] || entry.depth == 0 || entry.depth > facts.stack_size) continue;
      blocks.push_back({entry.depth, entry.handler});
    }
    return blocks;
  }

  [[nodiscard]] RemoteRange slots_range(RemoteAddr frame, const CodeFacts& facts) const {
    return {frame, reader_.offsets()[Field::FrameLocalsplus] +
                       8 * (std::uint64_t{facts.slots} + facts.stack_size)};
  }

  /// What a slot of a frame refers to: a variable, or from facts.slots on the evaluation stack.
  /// Null if that is nothing, or nothing that could be an object.
  [[nodiscard]] RemoteAddr slot(RemoteAddr frame, std::uint64_t index) const {
    const auto raw =
        reader_.value<std::uint64_t>(frame, reader_.offsets()[Field::FrameLocalsplus] + 8 * index);
    if (!raw) return {};
    if (reader_.layout().is_tagged_number(*raw)) return {};
    const RemoteAddr object{reader_.layout().untagged(*raw)};
    return object.is_plausible_pointer() ? object : RemoteAddr{};
  }

  /// The same for a variable, which may be in a cell.
  [[nodiscard]] RemoteAddr variable(RemoteAddr frame, std::uint64_t index) const {
    const RemoteAddr value = slot(frame, index);
    if (!value || type_name(value) != "cell") return value;
    return reader_.pointer(value, kCellContent).value_or(RemoteAddr{});
  }

  [[nodiscard]] RemoteAddr variable(const RawFrame& frame, std::string_view name) {
    const CodeFacts* facts = facts_of(frame.executable);
    if (facts == nullptr) return {};
    const auto found = std::find(facts->slot_names.begin(), facts->slot_names.end(), name);
    const auto index = static_cast<std::uint64_t>(found - facts->slot_names.begin());
    return index < std::min<std::uint64_t>(facts->slots, facts->slot_names.size())
               ? variable(frame.at, index)
               : RemoteAddr{};
  }

  // --- Objects

  /// tp_name of an object's type; empty for what is none.
  [[nodiscard]] std::string type_name(RemoteAddr object) const {
    if (!object.is_plausible_pointer()) return {};
    const auto type = reader_.type_of(object);
    return type && *type ? reader_.type_name(*type).value_or("") : std::string{};
  }

  /// tp_name of an object whose type is C code, so that no class of the target's can take the name.
  [[nodiscard]] std::string c_type_name(RemoteAddr object) const {
    if (!object.is_plausible_pointer()) return {};
    const auto type = reader_.type_of(object);
    if (!type || !*type) return {};
    const auto flags = reader_.type_flags(*type);
    if (!flags || (*flags & (kTypeStaticBuiltin | kTypeImmutable)) == 0) return {};
    return reader_.type_name(*type).value_or("");
  }

  [[nodiscard]] RemoteAddr attribute(RemoteAddr object, std::string_view name) const {
    if (!object.is_plausible_pointer()) return {};
    return instance_attributes(reader_, {object}, name).front();
  }

  /// The keys and values in an instance's dict, or within it.
  [[nodiscard]] std::vector<std::pair<RemoteAddr, RemoteAddr>> attributes(RemoteAddr object) {
    if (looked_at_left_ == 0) return {};
    const auto type = reader_.type_of(object);
    if (!type || !*type) return {};
    auto found = read_instance_items(reader_, object, *type, kMostAttributes);
    if (!found || !spend(found->items.size() + 1)) return {};
    return std::move(found->items);
  }

  /// A target can have any number of namespaces that are one piece of memory.
  bool spend(std::size_t items) {
    const bool enough = items <= looked_at_left_;
    looked_at_left_ -= std::min(items, looked_at_left_);
    return enough;
  }

  using Names = std::unordered_map<std::uint64_t, RemoteAddr>;  // from a value to its key

  /// The names of a namespace by their values. Read once: threads that run the same module share
  /// it.
  const Names& names_in(RemoteAddr dict) {
    const auto [known, fresh] = namespaces_.try_emplace(dict.raw());
    if (fresh) {
      const auto items = read_dict_prefix(reader_, dict, std::min(kMostNames, looked_at_left_));
      if (items && spend(items->items.size())) {
        for (const auto& [key, value] : items->items)
          known->second.emplace(value.raw(), key);
      }
    }
    return known->second;
  }

  // --- What a thread sleeps in

  /// Fetches at once what will be looked at of the innermost frames of all threads that wait.
  void read_ahead() {
    constexpr std::size_t kInnermost = 6;
    constexpr std::uint64_t kCodeHeader = 224;
    std::vector<RemoteAddr> codes;
    std::vector<const RawFrame*> inner;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (!threads_[i].futex) continue;
      std::size_t n = 0;
      for (const RawFrame& frame : frames(i)) {
        if (frame.is_entry()) continue;
        if (++n > kInnermost) break;
        inner.push_back(&frame);
        codes.push_back(frame.executable);
      }
    }
    std::sort(codes.begin(), codes.end());
    codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
    reader_.prefetch(codes, kCodeHeader);
    std::vector<RemoteRange> ranges;
    for (const RawFrame* frame : inner) {
      if (const CodeFacts* facts = facts_of(frame->executable)) {
        ranges.push_back(slots_range(frame->at, *facts));
      }
    }
    reader_.memory().fetch(ranges);
    std::vector<RemoteAddr> objects;
    for (const RawFrame* frame : inner) {
      if (facts_of(frame->executable) == nullptr) continue;
      const RemoteAddr self = slot(frame->at, 0);
      if (self.raw() > kBeforeInstance) objects.emplace_back(self.raw() - kBeforeInstance);
    }
    reader_.prefetch(objects, kBeforeInstance + kTypicalInstance);
  }

  void find_sleeps() {
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const auto& futex = threads_[i].futex;
      if (futex && futex->word.raw() > kParkedOnBeforeSemaphore) who.push_back(i);
    }
    // Not through the cache: from each thread's stack this is all that is needed.
    std::vector<WaitRecord> records(who.size());
    std::vector<ReadRequest> requests;
    for (std::size_t n = 0; n < who.size(); ++n) {
      requests.push_back({RemoteAddr{threads_[who[n]].futex->word.raw() - kParkedOnBeforeSemaphore},
                          std::as_writable_bytes(std::span{&records[n], 1})});
    }
    memory_.read_many(requests);
    constexpr std::uint64_t kLargest = 72;  // a thread handle
    std::vector<RemoteAddr> candidates;
    for (std::size_t n = 0; n < who.size(); ++n) {
      WaitRecord& record = records[n];
      if (requests[n].status != ReadStatus::Ok || !record.waits() || record.parked_on < kLargest) {
        record.parked_on = 0;
        continue;
      }
      candidates.emplace_back(record.parked_on - kLockByte);
      candidates.emplace_back(record.parked_on - kHandleExiting);
    }
    reader_.prefetch(candidates, kLargest);
    for (std::size_t n = 0; n < who.size(); ++n) {
      auto& sleep = sleeps_[who[n]];
      if (records[n].parked_on != 0) sleep = find_parked(records[n].parked_on);
      if (sleep) parked_.emplace(who[n], records[n].parked_on);
      if (!sleep) sleep = find_semaphore(who[n]);
    }
  }

  /// The stacks were read before the locks were. What is true of both held still in between: a
  /// thread that waits is still parked, and all are where they were seen.
  void drop_those_that_moved(std::vector<std::optional<FoundLock>>& found) const {
    struct Look {
      std::uint64_t frame = 0;
      std::uint64_t instruction = 0;
      WaitRecord record;
      std::array<std::size_t, 3> requests{};  // their indices; kNone: not asked for
    };
    constexpr std::size_t kNone = ~std::size_t{0};
    const bool all = std::any_of(found.begin(), found.end(), [](const auto& lock) {
      return lock && lock->held == Held::ByNobodyFound;
    });
    std::vector<Look> looks(threads_.size());
    std::vector<ReadRequest> requests;
    const auto ask = [&](std::uint64_t at, auto& into) {
      requests.push_back({RemoteAddr{at}, std::as_writable_bytes(std::span{&into, 1})});
      return requests.size() - 1;
    };
    const DebugOffsets& offsets = reader_.offsets();
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      looks[i].requests.fill(kNone);
      if (!all && !found[i]) continue;
      const LockThread& thread = threads_[i];
      looks[i].requests[0] =
          ask(current_frame_pointer(offsets, thread.state).raw(), looks[i].frame);
      if (const auto& stack = frames(i); !stack.empty() && !stack.front().is_entry()) {
        looks[i].requests[1] =
            ask(stack.front().at.raw() + offsets[Field::FrameInstrPtr], looks[i].instruction);
      }
      if (parked_.contains(i)) {
        looks[i].requests[2] =
            ask(thread.futex->word.raw() - kParkedOnBeforeSemaphore, looks[i].record);
      }
    }
    memory_.read_many(requests);
    const auto moved = [&](std::size_t i) {
      const Look& look = looks[i];
      for (const std::size_t request : look.requests) {
        if (request != kNone && requests[request].status != ReadStatus::Ok) return true;
      }
      const auto& stack = frames(i);
      // What 3.15 puts at the end of each chain isn't in the walk.
      if (!stack.empty() && look.frame != stack.front().at.raw()) return true;
      if (look.requests[1] != kNone && look.instruction != stack.front().instruction.raw()) {
        return true;
      }
      return look.requests[2] != kNone &&
             (!look.record.waits() || look.record.parked_on != parked_.at(i));
    };
    bool any_moved = false;
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      if (looks[i].requests[0] == kNone) continue;
      const bool has = moved(i);
      any_moved = any_moved || has;
      if (has) found[i].reset();
    }
    if (!any_moved) return;
    for (auto& lock : found) {
      if (lock && lock->held == Held::ByNobodyFound) lock->held = Held::Unknown;
    }
  }

  /// From the address that a wait record names.
  [[nodiscard]] std::optional<Sleep> find_parked(std::uint64_t address) const {
    const RemoteAddr object{address - kLockByte};
    const std::string type = c_type_name(object);
    if (type == "_queue.SimpleQueue") return Sleep{Sleep::Kind::SimpleQueue, object};
    if (type == "_thread.lock" ||
        (type == "_thread.RLock" && !reader_.layout().rlock_is_semaphore)) {
      // One that isn't taken any more has let the thread go on already.
      const auto byte = reader_.value<std::uint8_t>(object, kLockByte);
      if (!byte || (*byte & kLocked) == 0) return std::nullopt;
      return Sleep{type == "_thread.lock" ? Sleep::Kind::Lock : Sleep::Kind::RecursiveLock, object};
    }
    const RemoteAddr handle{address - kHandleExiting};
    if (!type.empty() || !handle.is_plausible_pointer()) return std::nullopt;
    // It is no object and has no type: it must be the handle of a running thread.
    const auto state = reader_.value<std::int32_t>(handle, kHandleState);
    const auto ident = reader_.value<std::uint64_t>(handle, kHandleIdent);
    if (!state || !ident || *state != kHandleRunning || !by_ident_.contains(*ident)) {
      return std::nullopt;
    }
    return Sleep{Sleep::Kind::Thread, handle};
  }

  /// A lock that is a semaphore of the system's doesn't say whose it is. What is called lies on the
  /// evaluation stack of the function that calls it, and what holds this semaphore is it.
  [[nodiscard]] std::optional<Sleep> find_semaphore(std::size_t thread) {
    const auto& stack = frames(thread);
    const auto innermost = std::find_if(stack.begin(), stack.end(),
                                        [](const RawFrame& frame) { return !frame.is_entry(); });
    if (innermost == stack.end()) return std::nullopt;
    const CodeFacts* facts = facts_of(innermost->executable);
    if (facts == nullptr) return std::nullopt;
    const RemoteAddr word = threads_[thread].futex->word;
    constexpr std::uint32_t kMostLookedAt = 256;
    const std::uint32_t count = std::min(facts->slots + facts->stack_size, kMostLookedAt);
    for (std::uint32_t i = 0; i < count; ++i) {
      RemoteAddr object = slot(innermost->at, i);
      if (c_type_name(object) == "builtin_function_or_method") {
        object = reader_.pointer(object, kMethodSelf).value_or(RemoteAddr{});
      }
      if (const auto sleep = semaphore_of(object, word)) return sleep;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Sleep> semaphore_of(RemoteAddr object, RemoteAddr word) const {
    const std::string type = c_type_name(object);
    const bool recursive = type == "_thread.RLock" && reader_.layout().rlock_is_semaphore;
    if (!recursive && type != "_multiprocessing.SemLock") return std::nullopt;
    static_assert(kLockByte == kSemLockHandle);
    if (reader_.value<std::uint64_t>(object, kSemLockHandle).value_or(0) != word.raw()) {
      return std::nullopt;
    }
    return Sleep{recursive ? Sleep::Kind::RecursiveLock : Sleep::Kind::Semaphore, object};
  }

  // --- What the programmer calls it

  /// The waits of the standard library at the inner end of a stack.
  struct Run {
    const RawFrame* innermost = nullptr;
    const StandardWait* innermost_wait = nullptr;
    const RawFrame* outermost = nullptr;  // null: there are none
    const StandardWait* wait = nullptr;   // of the outermost
    std::optional<std::size_t> caller;    // who called it
  };

  [[nodiscard]] Run find_run(std::size_t thread) {
    Run run;
    const auto& stack = frames(thread);
    for (std::size_t i = 0; i < stack.size(); ++i) {
      if (stack[i].is_entry()) continue;
      const CodeFacts* facts = facts_of(stack[i].executable);
      if (facts == nullptr || facts->wait == nullptr) {
        run.caller = i;
        break;
      }
      if (run.innermost == nullptr) {
        run.innermost = &stack[i];
        run.innermost_wait = facts->wait;
      }
      if (facts->wait->object.role != WaitedObject::Role::Self) continue;
      run.outermost = &stack[i];
      run.wait = facts->wait;
    }
    return run;
  }

  [[nodiscard]] FoundLock describe(std::size_t thread) {
    const Sleep& sleep = *sleeps_[thread];
    const Run run = find_run(thread);
    FoundLock found;
    found.lock = sleep.at;
    found.waiting_frame = run.caller;
    callers_[thread] = run.caller;
    found.timed = threads_[thread].futex->timed;
    found.at = sleep.kind == Sleep::Kind::Thread ? RemoteAddr{} : sleep.at;
    found.type = sleep.kind == Sleep::Kind::Lock            ? "threading.Lock"
                 : sleep.kind == Sleep::Kind::RecursiveLock ? "threading.RLock"
                 : sleep.kind == Sleep::Kind::SimpleQueue   ? "queue.SimpleQueue"
                 : sleep.kind == Sleep::Kind::Thread        ? "threading.Thread"
                                                            : "multiprocessing.SemLock";
    if (run.wait != nullptr) {
      if (const RemoteAddr self = variable(*run.outermost, "self")) {
        found.at = self;
        found.type = label_of(self, run.wait->object.type);
      }
    }
    if (sleep.kind == Sleep::Kind::SimpleQueue) {
      found.held = Held::NotALock;
    } else if (run.innermost != nullptr && !run.innermost_wait->object.waiter.empty() &&
               variable(*run.innermost, run.innermost_wait->object.waiter) == sleep.at) {
      found.held = Held::NotALock;
    }
    if (run.wait != nullptr && !run.wait->object.name.empty()) {
      const RemoteAddr name = attribute(found.at, run.wait->object.name);
      if (name) found.name = read_str(reader_, name).value_or("");
    } else if (run.caller) {
      find_name(thread, *run.caller, sleep, found);
    }
    if (run.wait != nullptr && !run.wait->object.owner.empty()) {
      owners_.emplace(thread, attribute(found.at, run.wait->object.owner));
    }
    return found;
  }

  /// The module of a class; empty if it can't be read.
  const std::string& module_of(RemoteAddr type) {
    const auto [known, fresh] = modules_of_types_.try_emplace(type.raw());
    if (fresh) {
      const RemoteAddr module = objects_.class_attribute(type, "__module__");
      if (module) known->second = read_str(reader_, module).value_or("");
    }
    return known->second;
  }

  /// The class of an object of the standard library, "queue.LifoQueue", or what the table says for
  /// one that is a class of the program.
  [[nodiscard]] std::string label_of(RemoteAddr object, std::string_view type) {
    const std::size_t dot = type.rfind('.');
    const auto at = reader_.type_of(object);
    if (dot == std::string_view::npos || !at || !*at) return std::string(type);
    const std::string& name = module_of(*at);
    // Of the package itself or of one of its modules: multiprocessing.synchronize.
    const std::string_view package = type.substr(0, dot);
    if (!name.starts_with(package) ||
        (name.size() > package.size() && name[package.size()] != '.')) {
      return std::string(type);
    }
    const std::string own = reader_.type_name(*at).value_or("");
    return own.empty() ? std::string(type) : fmt::format("{}.{}", package, own);
  }

  /// True for what the code may call the object by.
  [[nodiscard]] bool is_meant(RemoteAddr value, const Sleep& sleep, const FoundLock& found) const {
    return value && (value == found.at || value == sleep.at);
  }
  /// The same for objects of the standard library around the lock: a Condition whose acquire() was
  /// called is the lock's own, and a lock of multiprocessing has its semaphore inside.
  [[nodiscard]] bool is_around(RemoteAddr value, const Sleep& sleep) const {
    const std::string type = type_name(value);
    if (sleep.kind == Sleep::Kind::Semaphore) {
      static constexpr auto kTypes =
          std::to_array<std::string_view>({"Lock", "RLock", "Semaphore", "BoundedSemaphore"});
      return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end() &&
             attribute(value, "_semlock") == sleep.at;
    }
    if (type == "Condition") return attribute(value, "_lock") == sleep.at;
    return type.ends_with("Queue") && attribute(value, "mutex") == sleep.at;
  }

  void find_name(std::size_t thread, std::size_t first, const Sleep& sleep, FoundLock& found) {
    const auto& stack = frames(thread);
    constexpr std::size_t kMostFrames = 4;
    const auto by_identity = [&](RemoteAddr value) { return is_meant(value, sleep, found); };
    const auto by_content = [&](RemoteAddr value) {
      if (!is_around(value, sleep)) return false;
      if (sleep.kind == Sleep::Kind::Semaphore && found.at == sleep.at) {
        found.at = value;
        found.type = label_of(value, "multiprocessing.Lock");
      }
      return true;
    };
    std::size_t n = 0;
    for (std::size_t i = first; i < stack.size() && n < kMostFrames; ++i) {
      if (stack[i].is_entry()) continue;
      ++n;
      // The semaphore in a lock of multiprocessing is nobody's name for it.
      const bool inner = sleep.kind == Sleep::Kind::Semaphore && found.at == sleep.at;
      if (inner && name_in_frame(stack[i], sleep, found, by_content)) return;
      if (name_in_frame(stack[i], sleep, found, by_identity)) return;
      if (n == 1 && !inner && name_in_frame(stack[i], sleep, found, by_content)) return;
    }
  }

  [[nodiscard]] const std::string& key_text(RemoteAddr key) {
    const auto [known, fresh] = key_texts_.try_emplace(key.raw());
    constexpr std::size_t kMostCharacters = 256;
    if (fresh && key.is_plausible_pointer()) {
      known->second = read_str(reader_, key, kMostCharacters).value_or("");
    }
    return known->second;
  }

  template <class Matches>
  bool name_among_attributes(RemoteAddr object, std::string_view variable_name, FoundLock& found,
                             const Matches& matches) {
    for (const auto& [key, value] : attributes(object)) {
      if (!matches(value)) continue;
      found.name = fmt::format("{}.{}", variable_name, key_text(key));
      found.owner_object = fmt::format("<{} at {:#x}>", type_name(object), object.raw());
      return true;
    }
    return name_among_slots(object, variable_name, found, matches);
  }

  template <class Matches>
  bool name_among_slots(RemoteAddr object, std::string_view variable_name, FoundLock& found,
                        const Matches& matches) {
    const auto type = objects_.type_of(object);
    // Who has a dict besides was looked into already, and seldom has slots.
    if (!type || (*type)->exact || ((*type)->flags & kTypeManagedDict) != 0) return false;
    constexpr std::size_t kMost = 256;
    const auto slots = objects_.attributes(object, **type, std::min(kMost, looked_at_left_));
    if (!spend(slots.size())) return false;
    for (const auto& [name, value] : slots) {
      if (!matches(value)) continue;
      found.name = fmt::format("{}.{}", variable_name, name);
      found.owner_object = fmt::format("<{} at {:#x}>", (*type)->name, object.raw());
      return true;
    }
    return false;
  }

  /// First what says most: an attribute of `self`, of its class, a global; then other variables.
  template <class Matches>
  bool name_in_frame(const RawFrame& frame, const Sleep& sleep, FoundLock& found,
                     const Matches& matches) {
    CodeFacts* facts = facts_of(frame.executable);
    if (facts == nullptr) return false;
    const std::size_t count = std::min<std::size_t>(facts->slots, facts->slot_names.size());
    const RemoteAddr self = variable(frame, "self");
    if (self) {
      if (name_among_attributes(self, "self", found, matches)) return true;
      if (name_in_class(self, sleep, found)) return true;
    }
    const RemoteAddr globals = reader_.pointer(frame.at, kFrameGlobals).value_or(RemoteAddr{});
    if (globals && name_in_module(globals, sleep, found)) return true;
    for (std::size_t i = 0; i < count; ++i) {
      if (facts->slot_names[i].empty() || facts->slot_names[i] == "self") continue;
      if (!matches(variable(frame.at, i))) continue;
      found.name = facts->slot_names[i];
      return true;
    }
    // An attribute of a variable.
    constexpr std::size_t kMostVariables = 32;
    for (std::size_t i = 0; i < std::min(count, kMostVariables); ++i) {
      if (facts->slot_names[i].empty() || facts->slot_names[i] == "self") continue;
      const RemoteAddr value = variable(frame.at, i);
      if (value && name_among_attributes(value, facts->slot_names[i], found, matches)) return true;
    }
    return globals && name_in_imported_module(globals, sleep, found);
  }

  bool name_in_class(RemoteAddr object, const Sleep& sleep, FoundLock& found) {
    constexpr int kMostBases = 8;
    RemoteAddr type = reader_.type_of(object).value_or(RemoteAddr{});
    for (int i = 0; type && i < kMostBases; ++i) {
      if ((reader_.type_flags(type).value_or(0) & kTypeHeap) == 0) return false;
      const RemoteAddr dict = objects_.class_dict(type);
      if (dict) {
        if (const std::string name = name_in_namespace(dict, sleep, found); !name.empty()) {
          found.name = fmt::format("{}.{}", reader_.type_name(type).value_or("?"), name);
          return true;
        }
      }
      type = reader_.pointer(type, kTypeBase).value_or(RemoteAddr{});
    }
    return false;
  }

  /// Empty if it isn't there.
  [[nodiscard]] std::string name_in_namespace(RemoteAddr dict, const Sleep& sleep,
                                              const FoundLock& found) {
    const Names& names = names_in(dict);
    for (const RemoteAddr object : {found.at, sleep.at}) {
      if (!object) continue;
      const auto name = names.find(object.raw());
      if (name != names.end()) return key_text(name->second);
    }
    return {};
  }

  bool name_in_module(RemoteAddr globals, const Sleep& sleep, FoundLock& found) {
    const std::string name = name_in_namespace(globals, sleep, found);
    if (name.empty()) return false;
    const RemoteAddr module = dict_item(reader_, globals, "__name__").value_or(RemoteAddr{});
    const std::string module_name = module ? read_str(reader_, module).value_or("") : std::string{};
    found.name = module_name.empty() ? name : fmt::format("{}.{}", module_name, name);
    return true;
  }

  bool name_in_imported_module(RemoteAddr globals, const Sleep& sleep, FoundLock& found) {
    const auto& modules = modules_in(globals);
    return std::any_of(modules.begin(), modules.end(),
                       [&](RemoteAddr dict) { return name_in_module(dict, sleep, found); });
  }

  /// The namespaces of the modules that a module has among its names.
  const std::vector<RemoteAddr>& modules_in(RemoteAddr globals) {
    const auto [known, fresh] = imported_.try_emplace(globals.raw());
    if (fresh) {
      constexpr std::size_t kMostModules = 32;
      for (const auto& [value, key] : names_in(globals)) {
        if (known->second.size() == kMostModules) break;
        const RemoteAddr module{value};
        if (c_type_name(module) != "module") continue;
        const auto dict = reader_.pointer(module, Field::ModuleMdDict);
        if (dict && *dict) known->second.push_back(*dict);
      }
    }
    return known->second;
  }

  // --- Who has it

  void find_holder(std::size_t thread, FoundLock& found) {
    const Sleep& sleep = *sleeps_[thread];
    if (const auto owner = owners_.find(thread); owner != owners_.end()) {
      // A lock of Python code that says who holds it: None, or the thread's ident.
      const auto ident =
          owner->second ? read_unsigned(reader_, owner->second) : Result<std::uint64_t>(0U);
      hold_by_ident(ident.value_or(0), found);
      if (found.holder && found.type == kImportLock) find_where_imported(found);
      return;
    }
    switch (sleep.kind) {
      case Sleep::Kind::SimpleQueue:
        return;
      case Sleep::Kind::Thread:
        hold_by_ident(reader_.value<std::uint64_t>(sleep.at, kHandleIdent).value_or(0), found);
        return;
      case Sleep::Kind::RecursiveLock:
        hold_by_ident(reader_.value<std::uint64_t>(sleep.at, kRLockOwner).value_or(0), found);
        if (found.holder) find_where_taken(sleep.at, found);
        return;
      case Sleep::Kind::Semaphore:
        find_holder_of_semaphore(sleep.at, found);
        return;
      case Sleep::Kind::Lock:
        break;
    }
    if (found.held == Held::NotALock) {
      find_semaphore_user(found);
    } else {
      find_holder_of_lock(sleep.at, found);
    }
  }

  /// By the ident that is recorded; 0: nobody's.
  void hold_by_ident(std::uint64_t ident, FoundLock& found) {
    if (ident == 0) return;  // it was just given back
    const auto holder = by_ident_.find(ident);
    if (holder == by_ident_.end()) {
      found.held = Held::ByNobodyFound;
      return;
    }
    found.held = Held::ByThread;
    found.holder = holder->second;
    found.binding = !found.timed;
  }

  /// The `with` statement of a holder that is known.
  void find_where_taken(RemoteAddr lock, FoundLock& found) {
    for (const Manager* manager : managers_of_lock(lock)) {
      if (manager->thread != found.holder) continue;
      found.holder_frame = manager->frame;
      found.taken_at_unit = manager->handler;
      // The outermost one took it; the others only counted it up.
    }
  }

  /// The function whose `import` statement it is.
  void find_where_imported(FoundLock& found) {
    const auto& stack = frames(*found.holder);
    bool next_is_it = false;
    for (std::size_t i = 0; i < stack.size(); ++i) {
      if (stack[i].is_entry()) continue;
      const CodeFacts* facts = facts_of(stack[i].executable);
      if (next_is_it && (facts == nullptr || facts->wait == nullptr)) {
        found.holder_frame = i;
        const std::uint64_t first =
            stack[i].executable.raw() + reader_.offsets()[Field::CodeCoCodeAdaptive];
        if (stack[i].instruction.raw() >= first) {
          found.taken_at_unit = (stack[i].instruction.raw() - first) / 2;
        }
        return;
      }
      next_is_it = facts != nullptr && facts->wait != nullptr &&
                   facts->wait->qualified_name == kFindAndLoad &&
                   key_text(variable(stack[i], "name")) == found.name;
    }
  }

  void find_holder_of_semaphore(RemoteAddr at, FoundLock& found) {
    const auto last = reader_.value<std::uint64_t>(at, kSemLockLastThread);
    const auto count = reader_.value<std::int32_t>(at, kSemLockCount);
    const auto most = reader_.value<std::int32_t>(at, kSemLockMaximum);
    const auto kind = reader_.value<std::int32_t>(at, kSemLockKind);
    if (!last || !count || !most || !kind) return;
    if (*kind != kRecursiveMutex && *most > 1) {
      found.held = Held::NotALock;
      return;
    }
    // The object counts what was done through it in this process, and knows who took it last.
    if (*count <= 0) {
      found.held = Held::ByNobodyFound;
      return;
    }
    hold_by_ident(*last, found);
    if (found.held == Held::ByThread && *kind != kRecursiveMutex) {
      // Any thread and process may have given it back, and another one taken it.
      found.held = Held::LastSeen;
      found.binding = false;
    }
  }

  /// Anybody may release a semaphore; but whoever is in a `with` statement of it will.
  void find_semaphore_user(FoundLock& found) {
    if (!found.type.ends_with("Semaphore")) return;
    const Manager* user = nullptr;
    // What isn't known to stand for a lock stands for itself.
    for (const Manager* manager : managers_of_lock(found.at)) {
      if (user != nullptr && user->thread != manager->thread) return;
      user = manager;
    }
    if (user != nullptr) hold_by(*user, Held::LastSeen, found);
  }

  static void hold_by(const Manager& manager, Held held, FoundLock& found) {
    found.held = held;
    found.holder = manager.thread;
    found.holder_frame = manager.frame;
    found.taken_at_unit = manager.handler;
  }

  void find_holder_of_lock(RemoteAddr lock, FoundLock& found) {
    const Manager* holder = nullptr;
    const Manager* likely = nullptr;
    bool several = false;
    for (const Manager* manager : managers_of_lock(lock)) {
      const bool proven = manager->certain && threads_[manager->thread].verified;
      const Manager*& best = proven ? holder : likely;
      several = several || (proven && best != nullptr && best->thread != manager->thread);
      best = manager;
    }
    if (holder != nullptr && !several) {
      hold_by(*holder, Held::ByThread, found);
      found.binding = !found.timed;
      return;
    }
    if (holder != nullptr || likely != nullptr) {
      hold_by(holder != nullptr ? *holder : *likely, Held::LastSeen, found);
      return;
    }
    if (const auto user = find_acquirer(lock, found.at)) {
      found.held = Held::LastSeen;
      found.holder = user->thread;
      found.holder_frame = user->frame;
      return;
    }
    found.held = complete_ ? Held::ByNobodyFound : Held::Unknown;
  }

  /// Fills managers_: all `with` statements that threads are in.
  void find_managers() {
    struct Place {
      std::size_t thread;
      std::size_t frame;
      const CodeFacts* facts;
    };
    std::vector<Place> places;
    std::vector<RemoteRange> ranges;
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      const auto& stack = frames(t);
      for (std::size_t f = 0; f < stack.size(); ++f) {
        if (stack[f].is_entry()) continue;
        const CodeFacts* facts = facts_of(stack[f].executable);
        if (facts == nullptr || !facts->has_with) continue;
        places.push_back({t, f, facts});
        ranges.push_back(slots_range(stack[f].at, *facts));
      }
    }
    reader_.memory().fetch(ranges);
    for (const Place& place : places) {
      const RawFrame& frame = frames(place.thread)[place.frame];
      for (const auto& [manager, handler] : managers_of(frame.at, frame.executable, *place.facts)) {
        managers_->push_back({place.thread, place.frame, handler, manager, manager, false});
      }
    }
  }

  /// The objects that a frame is in `with` statements of, and these. From one copy of the frame,
  /// its instruction with its slots: a frame that was left meanwhile has the instruction at which
  /// it was left, which is in none.
  [[nodiscard]] std::vector<std::pair<RemoteAddr, std::uint64_t>> managers_of(
      RemoteAddr frame, RemoteAddr code, const CodeFacts& facts) const {
    std::vector<std::pair<RemoteAddr, std::uint64_t>> found;
    const DebugOffsets& offsets = reader_.offsets();
    const auto executable = reader_.field<std::uint64_t>(frame, Field::FrameExecutable);
    const auto instruction = reader_.field<std::uint64_t>(frame, Field::FrameInstrPtr);
    if (!executable || !instruction) return found;
    const std::uint64_t first = code.raw() + offsets[Field::CodeCoCodeAdaptive];
    if (reader_.layout().untagged(*executable) != code.raw() || *instruction < first) return found;
    for (const WithBlock& block : with_blocks(facts, (*instruction - first) / 2)) {
      const RemoteAddr top = slot(frame, facts.slots + block.depth - 1);
      RemoteAddr manager = top;
      if (reader_.layout().with_keeps_bound_exit) {
        manager = bound_self(top);
      } else if (!top && block.depth >= 2) {
        // The function was bound already.
        manager = bound_self(slot(frame, facts.slots + block.depth - 2));
      }
      if (manager) found.emplace_back(manager, block.handler);
    }
    return found;
  }

  [[nodiscard]] RemoteAddr bound_self(RemoteAddr method) const {
    const std::string type = c_type_name(method);
    if (type != "method" && type != "builtin_function_or_method") return {};
    return reader_.pointer(method, kMethodSelf).value_or(RemoteAddr{});
  }

  void resolve_managers() {
    std::vector<RemoteAddr> objects;
    for (const Manager& manager : *managers_) {
      if (manager.at.raw() > kBeforeInstance) {
        objects.emplace_back(manager.at.raw() - kBeforeInstance);
      }
    }
    reader_.prefetch(objects, kBeforeInstance + kTypicalInstance);
    for (Manager& manager : *managers_)
      resolve(manager);
    std::erase_if(*managers_, [&](const Manager& manager) { return is_given_back(manager); });
    for (const Manager& manager : *managers_)
      managers_by_lock_[manager.lock.raw()].push_back(&manager);
  }

  /// Those that stand for a lock, in the order of the threads and from the inside outwards.
  const std::vector<const Manager*>& managers_of_lock(RemoteAddr lock) {
    if (!managers_) {
      managers_.emplace();
      find_managers();
      resolve_managers();
    }
    return managers_by_lock_[lock.raw()];
  }

  void resolve(Manager& manager) {
    // A generator's frame, whose own `with` statement it stands for, may hold another such.
    constexpr int kMostNested = 4;
    RemoteAddr object = manager.at;
    for (int i = 0; i < kMostNested; ++i) {
      const std::string c_type = c_type_name(object);
      if (c_type == "_thread.lock" || c_type == "_thread.RLock") {
        manager.lock = object;
        manager.certain = true;
        return;
      }
      const std::string type = type_name(object);
      if (type == "_GeneratorContextManager") {
        // contextlib.contextmanager: the generator stands at its yield.
        const auto inner = managers_of_generator(attribute(object, "gen"));
        if (inner.empty()) return;
        object = inner.front().first;
        continue;
      }
      const RemoteAddr lock = attribute(object, "_lock");
      const std::string lock_type = c_type_name(lock);
      if (lock_type != "_thread.lock" && lock_type != "_thread.RLock") return;
      manager.lock = lock;
      // Of any other class only a guess: that its __enter__ takes the lock that it has.
      manager.certain = type == "Condition";
      return;
    }
  }

  [[nodiscard]] std::vector<std::pair<RemoteAddr, std::uint64_t>> managers_of_generator(
      RemoteAddr generator) {
    if (c_type_name(generator) != "generator") return {};
    const RemoteAddr frame = generator + reader_.offsets()[Field::GenGiIframe];
    const auto executable = reader_.field<std::uint64_t>(frame, Field::FrameExecutable);
    if (!executable) return {};
    const RemoteAddr code{reader_.layout().untagged(*executable)};
    const CodeFacts* facts = facts_of(code);
    if (facts == nullptr || !facts->has_with) return {};
    return managers_of(frame, code, *facts);
  }

  /// Condition.wait() gives the lock back while the caller's `with` statement goes on.
  [[nodiscard]] bool is_given_back(const Manager& manager) {
    const auto& stack = frames(manager.thread);
    constexpr std::size_t kInnermost = 3;
    std::size_t n = 0;
    for (std::size_t i = 0; i < manager.frame && n < kInnermost; ++i) {
      if (stack[i].is_entry()) continue;
      ++n;
      const CodeFacts* facts = facts_of(stack[i].executable);
      if (facts == nullptr || facts->wait == nullptr || facts->wait->object.waiter.empty())
        continue;
      const RemoteAddr condition = variable(stack[i], "self");
      if (condition == manager.at || attribute(condition, "_lock") == manager.lock) return true;
    }
    return false;
  }

  /// A frame of a function that calls acquire() and names an object.
  struct Use {
    std::size_t thread = 0;
    std::size_t frame = 0;
  };

  /// The only thread that uses the lock in a function that calls acquire(), but for where it waits
  /// for it; with the frame.
  [[nodiscard]] std::optional<Use> find_acquirer(RemoteAddr lock, RemoteAddr object) {
    const auto [known, fresh] = acquirers_.try_emplace(lock.raw());
    if (!fresh) return known->second;
    if (!uses_) {
      uses_.emplace();
      find_uses();
    }
    std::optional<Use> only;
    std::vector<RemoteAddr> names{lock};
    if (object != lock) names.push_back(object);
    for (const RemoteAddr name : names) {
      const auto uses = uses_->find(name.raw());
      if (uses == uses_->end()) continue;
      for (const Use& use : uses->second) {
        // Where it waits for this lock isn't where it took it; nor is that where the same function
        // called itself.
        if (sleeps_[use.thread] && sleeps_[use.thread]->at == lock) {
          const auto& stack = frames(use.thread);
          const std::size_t caller = callers_[use.thread].value_or(use.frame);
          if (use.frame <= caller || stack[use.frame].executable == stack[caller].executable) {
            continue;
          }
        }
        if (only && only->thread != use.thread) return std::nullopt;
        if (!only) only = use;
      }
    }
    return acquirers_[lock.raw()] = only;
  }

  void find_uses() {
    std::vector<Use> frames_found;
    std::vector<RemoteRange> ranges;
    for (std::size_t t = 0; t < threads_.size(); ++t) {
      const auto& stack = frames(t);
      constexpr std::size_t kMostFrames = 64;
      for (std::size_t f = 0; f < std::min(stack.size(), kMostFrames); ++f) {
        if (stack[f].is_entry()) continue;
        CodeFacts* facts = facts_of(stack[f].executable);
        if (facts == nullptr || facts->wait != nullptr) continue;
        if (!facts->names) {
          const auto names = reader_.pointer(stack[f].executable, kCodeNames);
          facts->names = names && *names ? read_names(*names) : std::vector<std::string>{};
          facts->acquires = mentions(*facts, "acquire");
        }
        if (!facts->acquires) continue;
        frames_found.push_back({t, f});
        ranges.push_back(slots_range(stack[f].at, *facts));
      }
    }
    reader_.memory().fetch(ranges);
    for (const Use& use : frames_found)
      add_uses(use);
  }

  static bool mentions(const CodeFacts& facts, std::string_view name) {
    return std::find(facts.names->begin(), facts.names->end(), name) != facts.names->end();
  }

  /// Variables of the function, attributes of `self` and globals that its code names.
  void add_uses(const Use& use) {
    const RawFrame& frame = frames(use.thread)[use.frame];
    const CodeFacts& facts = *facts_of(frame.executable);
    const auto add = [&](RemoteAddr value) {
      if (!value) return;
      constexpr std::size_t kMost = std::size_t{1} << 20U;
      if (++used_ < kMost) (*uses_)[value.raw()].push_back(use);
    };
    constexpr std::uint32_t kMostVariables = 64;
    for (std::uint32_t i = 0; i < std::min(facts.slots, kMostVariables); ++i)
      add(variable(frame.at, i));
    if (const RemoteAddr self = variable(frame, "self")) {
      for (const auto& [key, value] : attributes(self)) {
        if (mentions(facts, key_text(key))) add(value);
      }
    }
    for (const RemoteAddr value : named_globals(frame, facts))
      add(value);
  }

  const std::vector<RemoteAddr>& named_globals(const RawFrame& frame, const CodeFacts& facts) {
    const auto [known, fresh] = named_globals_.try_emplace(frame.executable.raw());
    if (fresh) {
      const RemoteAddr globals = reader_.pointer(frame.at, kFrameGlobals).value_or(RemoteAddr{});
      for (const std::string& name : *facts.names) {
        if (globals) {
          known->second.push_back(dict_item(reader_, globals, name).value_or(RemoteAddr{}));
        }
      }
    }
    return known->second;
  }

  const Memory& memory_;
  const Reader& reader_;
  const CodeTable& codes_;
  ObjectReader objects_{reader_};
  std::span<const LockThread> threads_;
  bool complete_ = false;
  tsl::robin_map<std::uint64_t, std::size_t> by_ident_;
  std::vector<std::optional<Sleep>> sleeps_;               // by thread
  std::unordered_map<std::size_t, std::uint64_t> parked_;  // by thread: what its record names
  std::unordered_map<std::size_t, RemoteAddr> owners_;     // by thread
  std::unordered_map<std::uint64_t, CodeFacts> facts_;     // by code object
  std::size_t looked_at_left_ = kMostLookedAtInAll;
  std::unordered_map<std::uint64_t, Names> namespaces_;                  // by dict
  std::unordered_map<std::uint64_t, std::vector<RemoteAddr>> imported_;  // by namespace
  std::unordered_map<std::uint64_t, std::string> modules_of_types_;
  std::unordered_map<std::uint64_t, std::string> key_texts_;
  std::vector<std::optional<std::size_t>> callers_;  // by thread: the frame that waits
  std::optional<std::vector<Manager>> managers_;
  std::unordered_map<std::uint64_t, std::vector<const Manager*>> managers_by_lock_;
  std::optional<std::unordered_map<std::uint64_t, std::vector<Use>>> uses_;   // by object
  std::size_t used_ = 0;                                                      // in all of them
  std::unordered_map<std::uint64_t, std::vector<RemoteAddr>> named_globals_;  // by code object
  tsl::robin_map<std::uint64_t, std::optional<Use>> acquirers_;               // by lock
};

}  // namespace

std::vector<std::optional<FoundLock>> find_locks(const Memory& memory, const Reader& reader,
                                                 const CodeTable& codes,
                                                 std::span<const LockThread> threads) {
  return LockFinder(memory, reader, codes, threads).find();
}

}  // namespace pyscope
