#include "execution/thread_request.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

#include "memory/page_cache.hpp"
#include "passes/holds.hpp"
#include "python/reader.hpp"
#include "python/runtime_state.hpp"
#include "structures/remote_debugging.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kVariable = "PYTHON_DISABLE_REMOTE_DEBUG";

/// Which of the ways to forbid it was used. The interpreter itself keeps the answer only.
Error why_disabled(const Process& process) {
  Error error{ErrorKind::NotPermitted, "",
              "start the service without that, or use pyscope why "
              "and pyscope inspect, which only read"};
  const auto begins = [&](const char* file, const auto& test) {
    const auto text = process.read_file(file);
    std::string_view rest = text ? std::string_view(*text) : std::string_view();
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\0'), rest.size());
      if (test(rest.substr(0, end))) return true;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return false;
  };
  const bool by_variable = begins("environ", [](std::string_view word) {
    return word.starts_with(kVariable) && word.size() > kVariable.size() + 1 &&
           word[kVariable.size()] == '=';
  });
  const bool by_option = begins("cmdline", [](std::string_view word) {
    return word == "disable-remote-debug" || word == "-Xdisable-remote-debug";
  });
  const std::string who = fmt::format("process {} ({})", process.pid(), process.name());
  if (by_option) {
    error.message = fmt::format(
        "{} runs no code from outside: it was started with "
        "-X disable-remote-debug",
        who);
  } else if (by_variable) {
    error.message =
        fmt::format("{} runs no code from outside: {} was set when it started", who, kVariable);
  } else {
    error.message = fmt::format(
        "{} runs no code from outside: its Python was built with --without-remote-debug, or the "
        "program that it is embedded in has turned that off",
        who);
    error.hint = "use pyscope why and pyscope inspect, which only read";
  }
  return error;
}

}  // namespace

Result<void> ThreadRequest::verify() const {
  const Process& process = *attached_.target->process();
  if (attached_.target->ended() || !runs_same_program(attached_)) {
    return fail(gone_while_read(process));
  }
  Budget budget;
  const TargetMemory memory(attached_.target->memory(), budget);
  const PageCache cache(memory);
  const Reader reader(cache, attached_.runtime.offsets);
  auto runtime = read_interpreters(reader, attached_.runtime.at);
  if (!runtime) return fail(std::move(runtime).error());
  if (runtime->finalizing) {
    return fail(ErrorKind::Failed,
                fmt::format("process {} ({}) is shutting down: its Python runs no code from "
                            "outside any more",
                            process.pid(), process.name()));
  }
  read_threads(reader, memory, *runtime);
  for (const RawInterpreter& interpreter : runtime->interpreters) {
    if (interpreter.at != thread_.interpreter) continue;
    for (const RawThread& thread : interpreter.threads) {
      if (thread.at == thread_.thread_state && thread.native_id == thread_.native_id) return {};
    }
  }
  return fail(ErrorKind::Failed, "the thread has ended");
}

Result<ThreadRequest::Words> ThreadRequest::read_words() const {
  const Memory& memory = attached_.target->memory();
  const DebugOffsets& offsets = attached_.runtime.offsets;
  const RemoteAddr at = thread_.thread_state;
  const RemoteAddr support = at + offsets[Field::DebuggerRemoteDebuggerSupport];
  Words words;
  const auto breaker = read_as<std::uint64_t>(memory, at, offsets[Field::DebuggerEvalBreaker]);
  const auto pending = read_as<std::int32_t>(memory, support, offsets[Field::DebuggerPendingCall]);
  if (!breaker) return fail(breaker.error());
  if (!pending) return fail(pending.error());
  words.breaker = *breaker;
  words.pending = *pending;
  constexpr std::size_t kLongestPath = 4096;
  std::string path(std::min<std::size_t>(offsets[Field::DebuggerScriptPathSize], kLongestPath), 0);
  const auto ok = memory.read(support + offsets[Field::DebuggerScriptPath],
                              std::as_writable_bytes(std::span(path)));
  if (!ok) return fail(ok.error());
  words.path = path.substr(0, path.find('\0'));
  return words;
}

bool ThreadRequest::is_ours(const Words& words) const {
  return words.pending == 1 && words.path.ends_with("/" + script_);
}

Result<void> ThreadRequest::check() const {
  const Process& process = *attached_.target->process();
  const DebugOffsets& offsets = attached_.runtime.offsets;
  if (!offsets.has(Field::DebuggerPendingCall)) {
    return fail(ErrorKind::Unsupported,
                fmt::format("process {} ({}) is CPython {}, which can't be asked to run code: that "
                            "came with 3.14",
                            process.pid(), process.name(), offsets.version().text()),
                "pyscope dump, why and inspect read it; to change it takes a debugger such as gdb, "
                "or code of its own");
  }
  if (auto ok = writer(); !ok) return fail(std::move(ok).error());
  return check_state();
}

Result<RemoteWriter> ThreadRequest::writer() const {
  return RemoteWriter::create(*attached_.target->process(), attached_.runtime.offsets,
                              thread_.thread_state);
}

Result<void> ThreadRequest::check_state() const {
  if (auto ok = verify(); !ok) return ok;
  const Process& process = *attached_.target->process();
  const DebugOffsets& offsets = attached_.runtime.offsets;
  const auto enabled = read_as<std::int32_t>(attached_.target->memory(), thread_.interpreter,
                                             offsets[Field::DebuggerRemoteDebuggingEnabled]);
  if (!enabled) return fail(enabled.error());
  if (*enabled != 1) return fail(why_disabled(process));
  const auto words = read_words();
  if (!words) return fail(words.error());
  if (words->pending != 0) {
    return fail(ErrorKind::Failed,
                fmt::format("the thread is to run another script first, {}, and hasn't come to it",
                            words->path),
                "try again, or choose another thread by --thread");
  }
  return {};
}

Result<void> ThreadRequest::while_held(const Deadline& deadline, const std::function<bool()>& go_on,
                                       const std::function<Result<Write>()>& look) {
  const ProcessTarget& target = *attached_.target;
  const auto list = [&] {
    std::vector<pid_t> tids;
    for (const Task& task : target.threads(ThreadDetail::Scheduling))
      tids.push_back(task.tid);
    return tids;
  };
  for (;;) {
    const auto begin = Clock::now();
    ThreadHolds holds(target.living());
    holds.hold_all(list, log_);
    // A thread that is late stands before it runs anything but the kernel's code. So it changes
    // nothing either.
    const auto tids = list();
    std::string refusal;
    for (const pid_t tid : tids) {
      if (!holds.holds(tid) && !holds.is_late(tid)) refusal = holds.refusal(tid);
    }
    if (refusal.empty() && !tids.empty()) {
      const Result<Write> write = look();
      // The holder lets go by itself after a time (HoldLimits), of which about a half has passed by
      // then.
      const bool in_time = Clock::now() - begin < std::chrono::milliseconds(120) +
                                                      std::chrono::microseconds(250) * tids.size();
      Result<void> result;
      if (!write) {
        result = fail(write.error());
      } else if (in_time) {
        result = (*write)();
      }
      if (!holds.release()) log_("the threads went on before they were let go");
      paused_us_ += holds.microseconds();
      if (in_time || !write) return result;
      log_("the threads took too long to stand; once more");
    } else {
      (void)holds.release();
      paused_us_ += holds.microseconds();
    }
    if (target.ended()) return fail(gone_while_read(*target.process()));
    if (deadline.has_passed() || (go_on && !go_on())) {
      const pid_t pid = target.process()->pid();
      if (refusal.empty()) {
        return fail(ErrorKind::Failed,
                    fmt::format("process {} can't be written to safely: its threads took too long "
                                "to stand",
                                pid),
                    "is the machine overloaded? --timeout tries for longer");
      }
      return fail(ErrorKind::NotPermitted,
                  fmt::format("process {} can't be written to safely: a thread of it can't be held "
                              "for a moment: {}",
                              pid, refusal),
                  "a process has one tracer (strace, gdb, another pyscope) at a time: try again "
                  "when that has gone");
    }
    constexpr std::chrono::milliseconds kApart{20};
    std::this_thread::sleep_for(kApart);
  }
}

Result<void> ThreadRequest::place(const std::string& path, const Deadline& deadline,
                                  const std::function<bool()>& go_on) {
  return while_held(deadline, go_on, [&]() -> Result<Write> {
    // All over again: until now the process was running.
    if (auto ok = check_state(); !ok) return fail(std::move(ok).error());
    const auto to = writer();
    if (!to) return fail(to.error());
    const auto words = read_words();
    if (!words) return fail(words.error());
    return [&path, to = *to, breaker = words->breaker]() -> Result<void> {
      // In this order, so that whatever has been written when this ends is a whole request or none.
      if (auto ok = to.write_path(path); !ok) return ok;
      if (auto ok = to.write_pending(true); !ok) return ok;
      return to.write_breaker(breaker | kPleaseStop);
    };
  });
}

ThreadRequest::State ThreadRequest::state() const {
  const auto words = read_words();
  if (!verify() || !words) return State::Gone;
  if (!is_ours(*words)) return State::Taken;
  return (words->breaker & kPleaseStop) != 0 ? State::Waiting : State::Forgotten;
}

Result<void> ThreadRequest::change(const Deadline& deadline, const Change& change) {
  return while_held(deadline, nullptr, [&]() -> Result<Write> {
    if (auto ok = verify(); !ok) return fail(std::move(ok).error());
    const auto to = writer();
    if (!to) return fail(to.error());
    const auto words = read_words();
    if (!words) return fail(words.error());
    return [&change, to = *to, words = *words, ours = is_ours(*words)]() -> Result<void> {
      return ours ? change(to, words) : Result<void>();
    };
  });
}

Result<void> ThreadRequest::renew(const Deadline& deadline) {
  return change(deadline, [](const RemoteWriter& to, const Words& words) {
    return to.write_breaker(words.breaker | kPleaseStop);
  });
}

Result<void> ThreadRequest::withdraw(const Deadline& deadline) {
  // The bit in the breaker stays: the thread finds nothing to do, and clears the bit.
  return change(deadline,
                [](const RemoteWriter& to, const Words&) { return to.write_pending(false); });
}

}  // namespace pyscope
