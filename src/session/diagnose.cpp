// Samples a process, and hands what was seen to the judgement.
#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "base/deadline.hpp"
#include "base/shortage.hpp"
#include "frames/variables.hpp"
#include "locks/namespaces.hpp"
#include "locks/thread_frames.hpp"
#include "memory/page_cache.hpp"
#include "model/standard_waits.hpp"
#include "passes/variables.hpp"
#include "pyscope/why.hpp"
#include "session/attach.hpp"
#include "session/session.hpp"
#include "verdict/diagnosis_builder.hpp"
#include "verdict/native_code.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

/// What tells the callback that asyncio's event loop runs in this thread from all others: the time
/// at which the loop began its present turn, and the number of the callback in that turn.
std::string name_callback(const Snapshot& snapshot, const Thread& thread,
                          const std::vector<RawFrame>& frames, const PageCache& cache,
                          const DebugOffsets& offsets) {
  const auto is = [&](const Frame& frame, std::string_view file, std::string_view name) {
    return frame.code && *frame.code < snapshot.codes.size() &&
           is_function(snapshot.codes[*frame.code], file, name);
  };
  bool runs_callback = false;
  for (std::size_t i = 0; i < std::min(thread.frames.size(), frames.size()); ++i) {
    runs_callback = runs_callback || is(thread.frames[i], "asyncio/events.py", "Handle._run");
    if (!is(thread.frames[i], "asyncio/base_events.py", "BaseEventLoop._run_once")) continue;
    if (!runs_callback || !thread.consistent) return {};
    const Reader reader(cache, offsets);
    ObjectReader objects(reader);
    const ValueLimits limits;
    ReprBudget budget{.objects = 1'000, .text = std::size_t{1} << 16U};
    ReprWriter values(objects, limits, budget);
    const Locals locals = read_locals(reader, frames[i], values, limits);
    std::string turn;
    std::string number;
    for (const Local& local : locals.variables) {
      if (local.name == "end_time" && local.type == "float") turn = local.repr;
      if (local.name == "i" && local.type == "int") number = local.repr;
    }
    return turn.empty() || number.empty() ? std::string{} : turn + " " + number;
  }
  return {};
}

/// Of each thread of a sample what the builder needs to follow its stack.
std::vector<DiagnosisBuilder::StackMarks> marks_of(const LocatedSnapshot& located,
                                                   const PageCache& cache,
                                                   const DebugOffsets& offsets) {
  const PythonLayout& layout = offsets.layout();
  std::vector<DiagnosisBuilder::StackMarks> marks;
  for (std::size_t i = 0; i < located.frames.size(); ++i) {
    auto& mark = marks.emplace_back();
    for (const RawFrame& frame : located.frames[i])
      mark.frames.push_back(frame.at.raw());
    const Thread& thread = located.snapshot.threads[i];
    mark.callback = name_callback(located.snapshot, thread, located.frames[i], cache, offsets);
    mark.callback_read_at = Clock::now();
    if (thread.state != ThreadState::Running && thread.state != ThreadState::WaitingForGil)
      continue;
    const auto innermost = std::find_if(located.frames[i].begin(), located.frames[i].end(),
                                        [](const RawFrame& frame) { return !frame.is_entry(); });
    if (innermost == located.frames[i].end()) continue;
    const auto opcode = read_as<std::uint8_t>(cache, innermost->instruction);
    mark.at_backward_jump =
        opcode && std::find(layout.backward_jumps.begin(), layout.backward_jumps.end(), *opcode) !=
                      layout.backward_jumps.end();
  }
  return marks;
}

/// A variable of a loop takes little room, and is read again and again.
ValueLimits limits_of_a_loop(ValueLimits limits) {
  limits.max_string = std::min<std::size_t>(limits.max_string, 40);
  limits.max_items = std::min<std::size_t>(limits.max_items, 4);
  limits.max_depth = std::min<std::size_t>(limits.max_depth, 1);
  return limits;
}

/// Adds the globals that a function's code names, as far as they are plain values: a loop may wait
/// for one of them to change.
void add_named_globals(const Reader& reader, const RawFrame& frame, ReprWriter& values,
                       Locals& locals) {
  constexpr std::size_t kMostGlobals = 64;
  static constexpr std::string_view kPlain[] = {"int", "float", "bool", "str", "bytes", "NoneType"};
  const auto found = read_variables(reader, frame);
  const auto tuple = reader.pointer(frame.executable, Field::CodeNames);
  if (!found || found->is_namespace || !found->globals || !tuple || !*tuple) return;
  std::size_t added = 0;
  for (const std::string& name : read_names(reader, *tuple)) {
    const auto value = dict_item(reader, found->globals, name);
    if (!value || !*value) continue;
    const std::string type = c_type_name_of(reader, *value);
    if (std::find(std::begin(kPlain), std::end(kPlain), type) == std::end(kPlain)) continue;
    if (++added > kMostGlobals) {
      ++locals.left_out;
      continue;
    }
    Repr repr = values.write(*value, name);
    locals.variables.push_back(
        {.name = "global " + name, .type = std::move(repr.type), .repr = std::move(repr.text)});
  }
}

void read_loop_variables(Session& session, const LocatedSnapshot& located,
                         const ValueLimits& limits, DiagnosisBuilder& builder) {
  // Bound (bytes): copies of memory for the variables of a loop, in one sample
  constexpr std::size_t kMostMemory = std::size_t{16} << 20U;
  ValueLimits names = limits;  // of a module's loop, any of the module's names may change
  names.max_items = 256;
  const auto places = builder.frames_to_look_into();
  if (places.empty()) return;
  const auto at = Clock::now();
  std::vector<Locals> found;
  const auto read = [&] {
    found.clear();
    const PageCache cache(session.memory(), kMostMemory);
    const Reader reader(cache, session.runtime().offsets);
    ObjectReader objects(reader);
    for (const DiagnosisBuilder::Place& place : places) {
      ReprBudget budget{.objects = 10'000, .text = std::size_t{1} << 20U};
      ReprWriter values(objects, limits, budget);
      const RawFrame& frame = located.frames[place.thread][place.frame];
      Locals locals = read_locals(reader, frame, values, names);
      add_named_globals(reader, frame, values, locals);
      // Of a frame that has gone meanwhile nothing is known.
      const auto now = read_frame(reader.memory(), session.runtime().offsets, frame.at);
      if (!now || now->executable != frame.executable || now->previous != frame.previous)
        locals.error = "the frame has gone";
      found.push_back(std::move(locals));
    }
  };
  if (!session.read_more(read)) {
    // The next sample's copies will have what these lacked. Where there are no copies, variables
    // are believed that are the same twice.
    if (located.snapshot.capture.one_instant) return;
    const std::vector<Locals> before = std::move(found);
    read();
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i].variables != before[i].variables) found[i].error = "they changed";
    }
  }
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (found[i].error.empty()) builder.add_variables(places[i], found[i], at);
  }
}

/// A few looks at the native frames of the threads that can't be explained without.
std::vector<Snapshot> read_native_code(Session& session, const AttachedProcess& attached,
                                       const Diagnosis& diagnosis, const WhyOptions& options,
                                       const Deadline& deadline) {
  constexpr std::size_t kLooks = 10;
  constexpr std::chrono::milliseconds kApart{10};
  CaptureOptions capture_options;
  capture_options.native = Native::Folded;
  capture_options.source = false;
  for (const ThreadDiagnosis& judged : diagnosis.threads) {
    if (wants_native_code(judged, diagnosis.last)) {
      capture_options.threads.push_back(std::to_string(judged.tid));
    }
  }
  std::vector<Snapshot> looks;
  if (capture_options.threads.empty()) return looks;
  for (std::size_t i = 0; i < kLooks; ++i) {
    if (i > 0) std::this_thread::sleep_for(kApart);
    if (i > 0 && options.go_on && !options.go_on(diagnosis.samples + i)) break;
    if (deadline.has_passed()) break;
    capture_options.timeout = deadline.left();
    auto look = session.snapshot(capture_options, Surroundings::None);
    // It may have ended, or one of its threads: what was seen until then is told.
    if (!look || attached.target->ended() || !runs_same_program(attached)) break;
    looks.push_back(std::move(look->snapshot));
  }
  return looks;
}

}  // namespace

Result<Diagnosis> diagnose(pid_t pid, const WhyOptions& options) {
  const Log log(options.log);
  const ShortageWatch shortages;
  const auto attached = shortages.judge(attach(pid, log));
  if (!attached) return fail(attached.error());
  Session session(*attached->target, attached->runtime, log);
  CaptureOptions capture_options;
  capture_options.threads = options.threads;
  capture_options.source = false;
  const ValueLimits limits = limits_of_a_loop(options.values);
  constexpr std::size_t kMostSamples = 100'000;
  DiagnosisBuilder builder;
  const auto end = Clock::now() + options.duration;
  const Deadline deadline(end + options.timeout);
  bool last = false;
  bool timed_out = false;
  for (std::size_t samples = 1;; ++samples) {
    const auto begin = Clock::now();
    capture_options.timeout = deadline.left();
    // What threads wait for is asked of the kernel only at the end: the tables of a busy server's
    // sockets take longer to read than all the rest.
    auto located = session.snapshot(capture_options, last ? Surroundings::All : Surroundings::None);
    const bool gone = attached->target->ended() || !runs_same_program(*attached);
    if (auto enough = shortages.judge(Result<void>()); !enough) {
      return fail(std::move(enough).error());
    }
    // What was seen before it ended is worth telling.
    constexpr std::size_t kEnough = 2;
    if (gone && samples > kEnough) break;
    if (gone) return fail(gone_while_read(*attached->target->process()));
    timed_out = !located && deadline.has_passed() && samples > 1;
    if (timed_out) break;
    if (!located) return fail(std::move(located).error());
    const PageCache cache(session.memory());
    const auto marks = marks_of(*located, cache, session.runtime().offsets);
    builder.add(std::move(located->snapshot), marks, begin);
    read_loop_variables(session, *located, limits, builder);
    if (last) break;
    const auto next = begin + options.interval;
    last = (options.go_on && !options.go_on(samples)) || next >= end || samples >= kMostSamples;
    if (!last || samples == 1) std::this_thread::sleep_until(std::min(next, end));
  }
  Diagnosis diagnosis = builder.finish();
  if (timed_out) {
    diagnosis.last.capture.complete = false;
    diagnosis.last.warnings.emplace_back(
        "the time limit was reached: what is said rests on the samples until then; --timeout gives "
        "more time");
  }
  if (options.native)
    add_native_code(diagnosis, read_native_code(session, *attached, diagnosis, options, deadline));
  return shortages.judge(Result<Diagnosis>(std::move(diagnosis)));
}

}  // namespace pyscope
