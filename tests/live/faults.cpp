// Each read of a dump fails, or finds another state of the process, at every position in turn: by
// the memory of real processes, recorded in two states.
#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "memory/image_memory.hpp"
#include "pyscope/inspected_value.hpp"
#include "pyscope/render.hpp"
#include "python/objects.hpp"
#include "python/unpublished_offsets.hpp"
#include "session/attach.hpp"
#include "session/inspection.hpp"
#include "session/session.hpp"
#include "support/catch.hpp"
#include "support/dump.hpp"
#include "support/target.hpp"
#include "target/recorded_target.hpp"

using namespace pyscope;
using namespace pyscope::test;

namespace {

/// Passes reads on, until something happens.
class FaultyMemory final : public Memory {
 public:
  enum class Fault { None, Unreadable, UnreadableForGood, Denied, GoneForGood, OtherState };

  FaultyMemory(const Memory& first, const Memory& second, Fault fault, std::size_t position)
      : first_(first), second_(second), fault_(fault), position_(position) {}

  void read_many(std::span<ReadRequest> requests) const override {
    for (ReadRequest& request : requests) {
      const std::size_t at = count_++;
      const bool now = at == position_;
      const bool since = at >= position_;
      if (fault_ == Fault::UnreadableForGood && now) bad_ = {request.at, request.out.size()};
      if ((fault_ == Fault::Unreadable && now) || overlaps_bad(request)) {
        request.status = ReadStatus::Fault;
      } else if (fault_ == Fault::Denied && now) {
        request.status = ReadStatus::Denied;
      } else if (fault_ == Fault::GoneForGood && since) {
        request.status = ReadStatus::Gone;
      } else {
        const std::span<ReadRequest> one(&request, 1);
        if (fault_ == Fault::OtherState && since) second_.read_many(one);
        // What wasn't read of the second state is the same as in the first, or else not there.
        if (request.status != ReadStatus::Ok) first_.read_many(one);
      }
    }
  }
  [[nodiscard]] std::size_t count() const { return count_; }

 private:
  [[nodiscard]] bool overlaps_bad(const ReadRequest& request) const {
    return request.at.raw() < bad_.start.raw() + bad_.size &&
           bad_.start.raw() < request.at.raw() + request.out.size();
  }

  const Memory& first_;
  const Memory& second_;
  Fault fault_;
  std::size_t position_;
  mutable std::size_t count_ = 0;
  mutable RemoteRange bad_{RemoteAddr{}, 0};  // what stays unreadable
};

using Stack = std::vector<std::string>;

Stack stack_of(const Snapshot& snapshot, const Thread& thread) {
  Stack stack;
  for (const Frame& frame : thread.frames) {
    if (frame.kind != FrameKind::Python) continue;
    stack.push_back(frame.code ? snapshot.codes[*frame.code].qualified_name + ":" +
                                     std::to_string(frame.position.line.value_or(-1))
                               : "?");
  }
  return stack;
}

std::map<std::uint64_t, Stack> stacks_of(const Snapshot& snapshot) {
  std::map<std::uint64_t, Stack> stacks;
  for (const Thread& thread : snapshot.threads)
    stacks[thread.ident] = stack_of(snapshot, thread);
  return stacks;
}

/// What a variable may be: its values in the two states.
std::map<std::string, std::vector<std::string>> values_of(const Snapshot& snapshot) {
  std::map<std::string, std::vector<std::string>> values;
  for (const Locals& locals : snapshot.locals) {
    for (const Local& local : locals.variables)
      values[local.name].push_back(local.repr);
  }
  return values;
}

bool is_whole(const Thread& thread) {
  return thread.error.empty() && std::all_of(thread.frames.begin(), thread.frames.end(),
                                             [](const Frame& f) { return f.error.empty(); });
}

Recording record(test::Target& target, const std::string& name) {
  REQUIRE(all_sleep(target.pid()));
  const std::string path = target.workspace().outside(name);
  const Outcome outcome =
      run_pyscope({"dump", std::to_string(target.pid()), "--locals", "--json", "--record", path});
  REQUIRE(outcome.status == 0);
  auto recording = read_recording(path);
  REQUIRE(recording);
  return *std::move(recording);
}

Runtime runtime_of(const Recording& recording) {
  std::array<std::byte, DebugOffsets::kMaxSize> table{};
  REQUIRE(recording.memory.read(recording.runtime, table));
  auto offsets = DebugOffsets::decode_version(table)
                     ? DebugOffsets::decode(table)
                     : identify_runtime(recording.memory, recording.runtime, std::nullopt);
  REQUIRE(offsets);
  return {recording.runtime, *std::move(offsets)};
}

Result<Snapshot> read(const Memory& memory, const Recording& recording) {
  CaptureOptions options;
  options.locals = true;
  return read_snapshot(RecordedTarget(recording, memory), runtime_of(recording), options, Log());
}

Result<std::vector<InspectedValue>> inspect(const Memory& memory, const Recording& recording,
                                            const std::vector<std::string>& paths, bool list) {
  InspectOptions options;
  options.list = list;
  const RecordedTarget target(recording, memory);
  Session session(target, runtime_of(recording), Log());
  return read_inspection(session, paths, options, false);
}

/// All that is said of a path.
std::string fingerprint(const InspectedValue& value) {
  if (value.error) return value.error->message;
  std::string all = value.type + " " + value.repr;
  for (const InspectedItem& item : value.items)
    all += "\n" + item.name + "=" + item.repr;
  return all;
}

// The versions take turns: they read nearly the same, and each begins at another position.
#ifdef NDEBUG
constexpr std::size_t kStep = 3;
#else
constexpr std::size_t kStep = 17;  // ten times as slow without optimisation, or with sanitizers
#endif

}  // namespace

TEST_CASE("whatever read of a dump fails, the rest is printed and nothing wrong is verified",
          "[live]") {
  using Fault = FaultyMemory::Fault;
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // its structures are read in the same way
  test::Target target(interpreter, "two_states.py");
  REQUIRE(target.read() == 0);
  const Recording first = record(target, "first");
  target.child().send("x");
  REQUIRE(target.read() == 1);
  const Recording second = record(target, "second");

  const FaultyMemory whole(first.memory, second.memory, Fault::None, 0);
  const auto before = read(whole, first);
  REQUIRE(before);
  const auto after = read(second.memory, second);
  REQUIRE(after);
  const auto first_stacks = stacks_of(*before);
  const auto second_stacks = stacks_of(*after);
  REQUIRE(first_stacks.size() == 4);
  for (const auto& [ident, stack] : first_stacks) {
    REQUIRE(stack.size() >= 1);
    if (stack.size() > 3) REQUIRE(second_stacks.at(ident) != stack);
  }
  auto values = values_of(*before);
  for (const auto& [name, more] : values_of(*after))
    values[name].insert(values[name].end(), more.begin(), more.end());

  std::size_t partial = 0;
  std::size_t complete = 0;
  for (const Fault fault : {Fault::Unreadable, Fault::UnreadableForGood, Fault::Denied,
                            Fault::GoneForGood, Fault::OtherState}) {
    const auto begin = static_cast<std::size_t>(interpreter.minor()) % kStep;
    for (std::size_t position = begin; position < whole.count(); position += kStep) {
      CAPTURE(static_cast<int>(fault), position);
      const FaultyMemory memory(first.memory, second.memory, fault, position);
      const auto snapshot = read(memory, first);
      if (!snapshot) {
        // A clean failure that says what it is.
        REQUIRE_FALSE(snapshot.error().message.empty());
        continue;
      }
      bool all_right = snapshot->threads.size() == first_stacks.size();
      for (const Thread& thread : snapshot->threads) {
        const Stack stack = stack_of(*snapshot, thread);
        const auto known = [&](const std::map<std::uint64_t, Stack>& stacks) {
          const auto found = stacks.find(thread.ident);
          return found != stacks.end() && found->second == stack;
        };
        const bool right = known(first_stacks) || known(second_stacks);
        all_right = all_right && right && thread.name;
        if (thread.consistent && is_whole(thread) && !thread.truncated) {
          CAPTURE(thread.ident, stack);
          REQUIRE(right);
        }
      }
      // Status 0 promises that everything is there and right.
      if (exit_status(*snapshot) == 0) {
        REQUIRE(all_right);
        ++complete;
      } else {
        ++partial;
      }
      for (const Locals& locals : snapshot->locals) {
        if (!locals.consistent || !locals.error.empty()) continue;
        for (const Local& local : locals.variables) {
          if (local.truncated) continue;
          if (local.name == kUnreadableName) {  // its name is what couldn't be read
            CHECK(exit_status(*snapshot) != 0);
            continue;
          }
          CAPTURE(local.name, local.repr);
          const auto& possible = values[local.name];
          const bool is_possible =
              std::find(possible.begin(), possible.end(), local.repr) != possible.end();
          // What can't be read of it is marked, and counts.
          const bool is_marked = !locals.complete && exit_status(*snapshot) != 0;
          REQUIRE((is_possible || is_marked));
        }
      }
      // Both forms can be written of whatever it is.
      REQUIRE_FALSE(render_text(*snapshot, TextOptions{}).empty());
      REQUIRE(nlohmann::json::accept(render_json(*snapshot, JsonStyle::Compact)));
    }
  }
  CAPTURE(whole.count());
  CHECK(partial > 10);
  CHECK(complete > 0);
}

TEST_CASE("whatever read of an inspection fails, nothing wrong is called consistent", "[live]") {
  using Fault = FaultyMemory::Fault;
  const test::Interpreter interpreter = GENERATE(from_range(all_interpreters()));
  CAPTURE(interpreter);
  if (interpreter.debug()) return;  // its structures are read in the same way
  test::Target target(interpreter, "two_states.py");
  REQUIRE(target.read() == 0);
  // Threads wait in one of two stacks, each with variables of its own; `state` is another number.
  const std::vector<std::string> paths{"__main__.state",       "__main__.waiting",
                                       "__main__.told",        "__main__.no_such_name",
                                       "threading._active",    "worker-0/beta:items",
                                       "worker-1/beta:total",  "worker-2/beta:items[2]['key']",
                                       "worker-0/three:pair",  "worker-2/three:more",
                                       "worker-1/0:number",    "worker-0/alpha:parts.beside",
                                       "worker-1/alpha:parts", "no_such_thread/0:x"};
  const auto record_state = [&](const std::string& name) {
    Recording recording = record(target, name);
    // An inspection reads other memory than a dump.
    const auto attached = attach(target.pid(), Log());
    REQUIRE(attached);
    const RecordingMemory recorder(attached->target->memory());
    for (const bool list : {false, true})
      REQUIRE(inspect(recorder, recording, paths, list));
    recorder.image().for_each_range(
        [&](RemoteAddr at, std::span<const std::byte> bytes) { recording.memory.put(at, bytes); });
    return recording;
  };
  const Recording first = record_state("first");
  target.child().send("x");
  REQUIRE(target.read() == 1);
  const Recording second = record_state("second");

  for (const bool list : {false, true}) {
    const FaultyMemory whole(first.memory, second.memory, Fault::None, 0);
    const auto before = inspect(whole, first, paths, list);
    const auto after = inspect(second.memory, second, paths, list);
    REQUIRE(before);
    REQUIRE(after);
    std::size_t errors = 0;
    std::size_t differences = 0;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      CAPTURE(paths[i], fingerprint((*before)[i]), fingerprint((*after)[i]));
      REQUIRE_FALSE((*before)[i].unreadable);
      REQUIRE_FALSE((*after)[i].unreadable);
      errors += (*before)[i].error ? 1 : 0;
      differences += fingerprint((*before)[i]) != fingerprint((*after)[i]) ? 1 : 0;
    }
    CHECK(errors == 5);
    CHECK(differences == 8);

    std::size_t doubted = 0;
    std::size_t certain = 0;
    for (const Fault fault : {Fault::Unreadable, Fault::UnreadableForGood, Fault::Denied,
                              Fault::GoneForGood, Fault::OtherState}) {
      const auto begin = static_cast<std::size_t>(interpreter.minor()) % kStep;
      for (std::size_t position = begin; position < whole.count(); position += kStep) {
        CAPTURE(list, static_cast<int>(fault), position);
        const FaultyMemory memory(first.memory, second.memory, fault, position);
        const auto values = inspect(memory, first, paths, list);
        if (!values) {
          REQUIRE_FALSE(values.error().message.empty());
          continue;
        }
        REQUIRE(values->size() == paths.size());
        for (std::size_t i = 0; i < paths.size(); ++i) {
          const InspectedValue& value = (*values)[i];
          if (value.error) REQUIRE_FALSE(value.error->message.empty());
          // What is said of a failed reading is no statement about the target.
          const bool stated = value.consistent && !value.unreadable &&
                              (!value.error || value.error->kind == ErrorKind::Usage);
          if (!stated) {
            ++doubted;
            continue;
          }
          ++certain;
          const std::string seen = fingerprint(value);
          CAPTURE(paths[i], seen, fingerprint((*before)[i]), fingerprint((*after)[i]));
          REQUIRE((seen == fingerprint((*before)[i]) || seen == fingerprint((*after)[i])));
        }
        for (const InspectedValue& value : *values)
          REQUIRE(nlohmann::json::accept(render_json(1, value, JsonStyle::Compact)));
      }
    }
    CHECK(doubted > 10);
    CHECK(certain > 100);
  }
}
