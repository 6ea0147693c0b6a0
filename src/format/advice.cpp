#include "format/advice.hpp"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <string_view>

#include "verdict/activity.hpp"

namespace pyscope {

std::string advice(const Snapshot& snapshot) {
  if (snapshot.capture.paused_threads > 0) return {};
  const bool stack_moves =
      std::any_of(snapshot.threads.begin(), snapshot.threads.end(), [](const Thread& thread) {
        return !thread.consistent && thread.error.empty() && thread.python;
      });
  if (stack_moves) {
    return "--pause holds what is not verified for some tenths of a millisecond, and reads it "
           "exactly";
  }
  const bool variable_moves =
      std::any_of(snapshot.locals.begin(), snapshot.locals.end(),
                  [](const Locals& locals) { return !locals.consistent && locals.error.empty(); });
  if (variable_moves) {
    return "--pause=all holds all threads while their variables are read, which takes some "
           "milliseconds";
  }
  return {};
}

namespace {

bool has_native_frames(const Snapshot& snapshot) {
  return !snapshot.native_locations.empty();
}

/// Whether an event loop of asyncio is at rest, so that what matters is in its tasks.
bool rests_in_event_loop(const Activity& activity) {
  return activity.kind == ActivityKind::Idle && activity.words.find("asyncio") != std::string::npos;
}

NextStep tasks_of(const Snapshot& snapshot) {
  return {fmt::format("pyscope tasks {}", snapshot.pid), "what the event loop's tasks wait for"};
}

}  // namespace

std::vector<NextStep> next_steps(const Snapshot& snapshot) {
  std::vector<NextStep> steps;
  if (snapshot.pid <= 0) return steps;
  const auto add = [&](std::string_view verb, std::string_view options, std::string_view why) {
    steps.push_back(
        {fmt::format("pyscope {} {}{}", verb, snapshot.pid, options), std::string(why)});
  };
  if (const std::string words = advice(snapshot); !words.empty()) {
    if (words.starts_with("--pause=all")) {
      add("dump", " --locals --pause=all", "holds all threads while their variables are read");
    } else {
      add("dump", " --pause", "holds what isn't verified for some tenths of a millisecond");
    }
  }
  ActivityFinder finder(snapshot);
  bool runs = false;
  bool in_native = false;
  bool rests_in_loop = false;
  for (const Thread& thread : snapshot.threads) {
    const Activity activity = finder.find(thread);
    runs = runs || (activity.kind == ActivityKind::Running && !thread.frames.empty());
    in_native = in_native || (activity.kind == ActivityKind::Blocked && thread.python &&
                              thread.system_call == SYS_futex && !thread.lock);
    rests_in_loop = rests_in_loop || rests_in_event_loop(activity);
  }
  if (in_native && !has_native_frames(snapshot)) {
    add("dump", " --native", "which library's code threads wait in");
  }
  if (rests_in_loop && snapshot.loops.empty()) steps.push_back(tasks_of(snapshot));
  if (runs) add("why", "", "whether what runs gets on, or loops");
  return steps;
}

std::vector<NextStep> next_steps(const Diagnosis& diagnosis) {
  std::vector<NextStep> steps;
  const Snapshot& last = diagnosis.last;
  if (last.pid <= 0) return steps;
  const bool in_native = std::any_of(diagnosis.threads.begin(), diagnosis.threads.end(),
                                     [](const ThreadDiagnosis& thread) {
                                       return thread.verdict == Verdict::InNativeCode ||
                                              thread.summary.starts_with(kWaitingInNativeCode);
                                     });
  if (in_native && diagnosis.native_looks == 0) {
    steps.push_back({fmt::format("pyscope why {} --native", last.pid),
                     "which functions of which library threads are in"});
  }
  ActivityFinder finder(last);
  const bool rests_in_loop =
      std::any_of(last.threads.begin(), last.threads.end(),
                  [&](const Thread& thread) { return rests_in_event_loop(finder.find(thread)); });
  if (rests_in_loop) steps.push_back(tasks_of(last));
  return steps;
}

void append_next_steps(std::string& out, const std::vector<NextStep>& steps,
                       const Painter& painter) {
  for (const NextStep& step : steps) {
    out += "Next: ";
    painter.append(out, Style::Function, step.command);
    painter.append(out, Style::Note, fmt::format("  # {}", step.why));
    out += '\n';
  }
}

}  // namespace pyscope
