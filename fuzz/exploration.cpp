#include "fuzz/exploration.hpp"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "fuzz/promises.hpp"
#include "pyscope/inspect.hpp"
#include "pyscope/inspected_value.hpp"
#include "pyscope/render.hpp"
#include "session/inspection.hpp"
#include "target/recorded_target.hpp"
#include "verdict/diagnosis_builder.hpp"

namespace pyscope::fuzz {
namespace {

// Enough to get into each kind of value, and not so much that one look takes long.
const ValueLimits kLimits{.max_string = 40, .max_items = 12, .max_depth = 3};

/// Passes reads on and counts what they cost.
class CountingMemory final : public Memory {
 public:
  explicit CountingMemory(const Memory& memory) : memory_(memory) {}
  void read_many(std::span<ReadRequest> requests) const override {
    for (const ReadRequest& request : requests)
      bytes_ += request.out.size();
    // The cache of a dump, that of its values, that of an inspection, and as much again for what is
    // read past them to prove that it stood still.
    constexpr std::uint64_t kMostBytes = std::uint64_t{2} << 30U;
    if (bytes_ > kMostBytes) broken("what is read has a bound");
    memory_.read_many(requests);
  }

 private:
  const Memory& memory_;
  mutable std::uint64_t bytes_ = 0;
};

/// All but the memory.
Recording recording_of(const ProcessSurroundings& surroundings) {
  return {surroundings.runtime, surroundings.facts, {},
          surroundings.waits,   surroundings.maps,  surroundings.registers};
}

Result<LocatedSnapshot> take_snapshot(const Memory& memory, const DebugOffsets& offsets,
                                      const ProcessSurroundings& surroundings, bool locals) {
  CaptureOptions options;
  options.locals = locals;
  options.values = kLimits;
  const Recording recording = recording_of(surroundings);
  const RecordedTarget target(recording, memory);
  return Session(target, {surroundings.runtime, offsets}, Log()).snapshot(options);
}

void check_error(const Error& error, pid_t pid) {
  if (error.message.empty()) broken("an error says what it is");
  check_text(render_line(error.message));
  check_json(render_json(pid, error, JsonStyle::Compact));
}

void check_dump(const Snapshot& snapshot) {
  check_text(render_text(snapshot, TextOptions{}));
  check_text(render_text(snapshot,
                         TextOptions{.color = true, .grouping = Grouping::Always, .columns = 60}),
             true);
  check_json(render_json(snapshot, JsonStyle::Compact));
}

/// As `why` has it of two samples between which nothing happened.
void check_diagnosis(const LocatedSnapshot& located) {
  std::vector<DiagnosisBuilder::StackMarks> marks;
  for (const auto& frames : located.frames) {
    auto& mark = marks.emplace_back();
    for (const RawFrame& frame : frames)
      mark.frames.push_back(frame.at.raw());
  }
  DiagnosisBuilder builder;
  const DiagnosisBuilder::Clock::time_point begin{std::chrono::hours(1)};
  for (int i = 0; i < 3; ++i) {
    builder.add(located.snapshot, marks, begin + std::chrono::milliseconds(100) * i);
    for (const auto& place : builder.frames_to_look_into())
      builder.add_variables(place, Locals{}, begin + std::chrono::milliseconds(100) * i);
  }
  const Diagnosis diagnosis = builder.finish();
  check_text(render_text(diagnosis, DiagnosisTextOptions{.color = true}), true);
  check_json(render_json(diagnosis));
}

}  // namespace

void explore_stacks(const Memory& memory, const DebugOffsets& offsets,
                    const ProcessSurroundings& surroundings) {
  const CostLimit cost;
  const CountingMemory counting(memory);
  auto located = take_snapshot(counting, offsets, surroundings, true);
  if (located) {
    Snapshot& snapshot = located->snapshot;
    for (Thread& thread : snapshot.threads) {
      for (const RecordedWait& recorded : surroundings.waits) {
        if (recorded.tid == thread.tid && thread.state == ThreadState::Blocked)
          thread.wait = recorded.wait;
      }
    }
    if (located->frames.size() != snapshot.threads.size())
      broken("each thread has its place in memory");
    const Snapshot before = snapshot;
    mark_unchanged(snapshot, before);
    check_dump(snapshot);
    check_diagnosis(*located);
  } else {
    check_error(located.error(), surroundings.facts.pid);
  }
  cost.check();
}

void explore_native(const Memory& memory, const DebugOffsets& offsets,
                    const ProcessSurroundings& surroundings) {
  const CostLimit cost;
  const CountingMemory counting(memory);
  CaptureOptions options;
  options.native = Native::Full;
  const Recording recording = recording_of(surroundings);
  const RecordedTarget target(recording, counting);
  const auto snapshot = read_snapshot(target, {surroundings.runtime, offsets}, options, Log());
  if (snapshot) {
    check_dump(*snapshot);
  } else {
    check_error(snapshot.error(), surroundings.facts.pid);
  }
  cost.check();
}

void explore_paths(const Memory& memory, const DebugOffsets& offsets,
                   const ProcessSurroundings& surroundings) {
  const CostLimit cost;
  const CountingMemory counting(memory);
  const Recording recording = recording_of(surroundings);
  const RecordedTarget target(recording, counting);
  Session session(target, {surroundings.runtime, offsets}, Log());
  InspectOptions options;
  options.list = true;
  options.values = kLimits;
  const auto look_at = [&](const std::vector<std::string>& paths) {
    auto values = read_inspection(session, paths, options, false);
    if (!values) {
      check_error(values.error(), surroundings.facts.pid);
      return std::vector<InspectedValue>{};
    }
    for (const InspectedValue& value : *values) {
      if (value.error) check_error(*value.error, surroundings.facts.pid);
      if (value.items.size() > kLimits.max_items) broken("a list has a bound");
      check_text(render_text(value, InspectTextOptions{.path = true}));
      check_json(render_json(surroundings.facts.pid, value, JsonStyle::Compact));
    }
    return *std::move(values);
  };
  // Names that aren't where they are looked for, and all that are there.
  std::vector<std::string> paths{"threading._active", "__main__[0]",      "__main__.__name__[-1]",
                                 "sys.no_such_name",  "no_such_module.x", "no_such_thread/0:x"};
  for (const InspectedValue& module : look_at({"__main__"})) {
    for (const InspectedItem& item : module.items)
      paths.push_back("__main__." + item.name);
  }
  options.thread = "MainThread";
  for (const InspectedValue& frame : look_at({})) {
    for (const InspectedItem& item : frame.items)
      paths.push_back("MainThread/0:" + item.name);
  }
  options.thread.clear();
  // One step further, and by each of the kinds of steps that there are.
  std::vector<std::string> further;
  for (const InspectedValue& value : look_at(paths)) {
    if (value.items.empty()) continue;
    const std::string& step = value.items.front().name;
    further.push_back(value.path + (step.starts_with('[') ? "" : ".") + step);
  }
  look_at(further);
  cost.check();
}

Landmarks find_landmarks(const Memory& memory, const DebugOffsets& offsets,
                         const ProcessSurroundings& surroundings) {
  Landmarks landmarks;
  const auto located = take_snapshot(memory, offsets, surroundings, false);
  if (!located) broken("an unchanged recording can be dumped", located.error().message);
  for (const auto& frames : located->frames) {
    for (const RawFrame& frame : frames) {
      landmarks.frames.push_back(frame.at);
      if (frame.executable) landmarks.codes.push_back(frame.executable);
    }
  }
  for (const RawInterpreter& interpreter : located->runtime.interpreters) {
    landmarks.interpreters.push_back(interpreter.at);
    for (const RawThread& thread : interpreter.threads)
      landmarks.threads.push_back(thread.at);
  }
  return landmarks;
}

}  // namespace pyscope::fuzz
