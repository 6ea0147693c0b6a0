// Code in a live process, from the first look at the process to the answer of the code.
#include "pyscope/execute.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "base/deadline.hpp"
#include "base/log.hpp"
#include "execution/guardian.hpp"
#include "execution/script.hpp"
#include "execution/script_file.hpp"
#include "execution/thread_request.hpp"
#include "pyscope/why.hpp"
#include "session/attach.hpp"
#include "session/session.hpp"

namespace pyscope {
namespace {

using Clock = std::chrono::steady_clock;

struct ChosenThread {
  pid_t tid = 0;
  std::optional<std::string> name;
  AskedThread asked;
};

/// The threads that are to run the code.
Result<std::vector<ChosenThread>> choose_threads(const AttachedProcess& attached,
                                                 const ExecuteOptions& options, const Log& log) {
  Session session(*attached.target, attached.runtime, log);
  CaptureOptions capture_options;
  capture_options.threads = options.threads;
  capture_options.max_frames = 1;
  capture_options.source = false;
  auto located = session.snapshot(capture_options, Surroundings::None);
  if (attached.target->ended() || !runs_same_program(attached)) {
    return fail(gone_while_read(*attached.target->process()));
  }
  if (!located) return fail(std::move(located).error());
  const bool main_only = options.threads.empty() && !options.all_threads;
  std::vector<ChosenThread> chosen;
  for (const Thread& thread : located->snapshot.threads) {
    // Of a thread with a stack in each of several interpreters, the innermost one is meant.
    if (thread.tid == 0 || thread.runs_in || (main_only && !thread.main)) continue;
    for (const RawInterpreter& interpreter : located->runtime.interpreters) {
      for (const RawThread& raw : interpreter.threads) {
        if (raw.at.raw() != thread.thread_state) continue;
        chosen.push_back({thread.tid, thread.name, {interpreter.at, raw.at, raw.native_id}});
      }
    }
  }
  if (chosen.empty()) {
    return fail(ErrorKind::Usage,
                main_only ? fmt::format("process {} has no main thread that runs Python",
                                        attached.target->process()->pid())
                          : "no such thread runs Python",
                "choose one by --thread; pyscope dump lists them");
  }
  return chosen;
}

/// One thread, from the request to the answer.
class Run {
 public:
  Run(const AttachedProcess& attached, const ChosenThread& thread, const SourceCode& code,
      const ExecuteOptions& options, const Log& log)
      : attached_(attached), thread_(thread), code_(code), options_(options), log_(log) {
    result_.pid = attached.target->process()->pid();
    result_.tid = thread.tid;
    result_.name = thread.name;
  }

  Execution run() {
    if (auto failed = ask()) result_.error = std::move(failed);
    return std::move(result_);
  }

 private:
  using Failure = std::optional<Error>;

  Failure ask() {
    const Process& process = *attached_.target->process();
    const auto place = ScriptPlace::find(process, log_);
    if (!place) return place.error();
    ThreadRequest request(attached_, thread_.asked, place->name(), log_);
    if (auto ok = request.check(); !ok) return ok.error();
    const auto guardian = Guardian::start([&] {
      constexpr std::chrono::seconds kPatience{2};
      (void)request.withdraw(Deadline::after(kPatience));
      place->remove();
    });
    if (!guardian) return guardian.error();
    auto file = ScriptFile::create(
        *place, [&](const std::string& path) { return script_text(code_, path); });
    if (!file) return file.error();
    log_("script: {}", file->path());
    const auto begin = Clock::now();
    const Deadline deadline(begin + options_.timeout);
    const auto placed = request.place(file->path(), deadline, options_.go_on);
    result_.paused_us = request.paused_us();
    if (!placed) {
      // A part of it may have been written before a write failed.
      const auto state = request.state();
      if (state == ThreadRequest::State::Waiting || state == ThreadRequest::State::Forgotten) {
        (void)request.withdraw(Deadline::after(std::chrono::seconds(1)));
      }
      return placed.error();
    }
    log_("thread {} was asked; held for {} us", thread_.tid, request.paused_us());
    Failure failed = wait(request, *file, begin, deadline);
    result_.paused_us = request.paused_us();
    if (!code_.expression) result_.repr.reset();
    return failed;
  }

  Failure wait(ThreadRequest& request, ScriptFile& file, Clock::time_point begin,
               const Deadline& deadline) {
    // How long after the last look at something the next one comes.
    constexpr std::chrono::milliseconds kStateApart{20};
    constexpr std::chrono::milliseconds kReminderApart{200};
    constexpr std::chrono::milliseconds kUntilTold{300};
    constexpr std::chrono::milliseconds kUntilToldWhileItRuns{1500};
    constexpr std::chrono::seconds kUntilToldAnyhow{4};
    // From the moment when the thread takes the request to the first line of the wrapper there may
    // be some waits for the GIL, and no more.
    constexpr std::chrono::seconds kUntilBegun{2};
    auto next_state = begin + kStateApart;
    auto next_reminder = begin + kReminderApart;
    std::optional<Clock::time_point> taken;
    auto next_told = begin + kUntilTold;
    bool told = false;
    bool gone = false;
    for (auto pause = std::chrono::microseconds(200);;) {
      const Answer answer = read(file);
      if (answer == Answer::Complete) return std::nullopt;
      if (answer == Answer::Lost) return lost();
      if (gone) return ended(answer, request, file);
      const auto now = Clock::now();
      const bool begun = answer == Answer::Begun;
      if (now >= next_state) {
        next_state = now + kStateApart;
        // The answer is looked at once more after the end.
        const auto state = begun ? ThreadRequest::State::Taken : request.state();
        gone = state == ThreadRequest::State::Gone || attached_.target->ended();
        if (gone) continue;
        if (state == ThreadRequest::State::Taken && !taken) taken = now;
        if (state == ThreadRequest::State::Forgotten && now >= next_reminder) {
          next_reminder = now + kReminderApart;
          (void)request.renew(deadline);
        }
      }
      if (!told && now >= next_told && (begun || !taken) &&
          (!begun || now - begin > kUntilToldWhileItRuns)) {
        told = explain(begun, now - begin > kUntilToldAnyhow);
        next_told = Clock::now() + kUntilTold * 3;
        continue;
      }
      if (!told && taken && !begun && now - *taken > kUntilBegun) {
        told = true;
        if (options_.tell) {
          options_.tell(
              "the thread has taken the request, and the code hasn't begun: a hook may "
              "have refused it");
        }
      }
      const bool interrupted = options_.go_on && !options_.go_on();
      if (interrupted || deadline.has_passed()) {
        return give_up(request, file, interrupted);
      }
      std::this_thread::sleep_for(pause);
      pause = std::min<std::chrono::microseconds>(pause * 2, std::chrono::milliseconds(5));
    }
  }

  /// A long answer is read when the file has grown, and not each time.
  Answer read(const ScriptFile& file) {
    const std::size_t size = file.size();
    if (size == size_read_ && last_answer_ != Answer::None) return last_answer_;
    constexpr std::size_t kBegin = 64;  // enough to know the script from an answer
    last_answer_ = read_answer(file.read(kBegin), result_);
    if (last_answer_ == Answer::Begun) last_answer_ = read_answer(file.read(kMostAnswer), result_);
    size_read_ = size;
    return last_answer_;
  }

  /// What became of the code where nothing more can come.
  Failure ended(Answer answer, const ThreadRequest& request, ScriptFile& file) {
    if (read(file) == Answer::Complete) return std::nullopt;
    if (answer == Answer::Begun || !file.take_back()) result_.ran.reset();
    const Process& process = *attached_.target->process();
    if (attached_.target->ended() || !runs_same_program(attached_)) {
      Error error = gone_while_read(process);
      error.message =
          fmt::format("process {} ({}) ended, or became another program, {}", process.pid(),
                      process.name(), result_.ran ? "before the code ran" : "while the code ran");
      return error;
    }
    const auto why = request.check();
    return Error{
        ErrorKind::Failed,
        fmt::format("the code {}: {}", result_.ran ? "didn't run" : "began, and gave no answer",
                    why ? "the thread has ended" : why.error().message),
        "choose another thread by --thread"};
  }

  Failure lost() {
    result_.ran.reset();
    return Error{ErrorKind::Failed,
                 "the code has ended, and its answer couldn't be written to the script's file",
                 "is the file system full that its temporary files are in?"};
  }

  Failure give_up(ThreadRequest& request, ScriptFile& file, bool interrupted) {
    constexpr std::chrono::seconds kPatience{1};
    const auto before = request.state();
    const auto withdrawn = request.withdraw(Deadline::after(kPatience));
    if (!withdrawn) log_("withdrawing: {}", withdrawn.error().message);
    const bool taken_back = file.take_back();
    const std::string after =
        interrupted
            ? "before the interrupt"
            : fmt::format("within {:g} s", std::chrono::duration<double>(options_.timeout).count());
    if (taken_back && before == ThreadRequest::State::Taken) {
      return Error{ErrorKind::Failed, "the thread took the request, and the code didn't run",
                   "a hook for audit events may have refused cpython.remote_debugger_script: the "
                   "process's own stderr has what Python said"};
    }
    if (taken_back) {
      return Error{ErrorKind::Failed,
                   fmt::format("the code didn't run: the thread didn't come to it {}, and the "
                               "request was withdrawn",
                               after),
                   "--timeout waits longer; --thread chooses a thread that runs Python; pyscope "
                   "why says what this one waits for"};
    }
    // The script was quicker. If it has ended in the meantime, its answer is there.
    const Deadline moment = Deadline::after(std::chrono::milliseconds(200));
    while (!moment.has_passed()) {
      const Answer answer = read(file);
      if (answer == Answer::Complete) return std::nullopt;
      if (answer == Answer::Lost) return lost();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    result_.ran.reset();
    return Error{ErrorKind::Failed,
                 fmt::format("the code began, and hasn't ended {}: it goes on in the thread, and "
                             "what it prints is lost",
                             after),
                 "pyscope why says what the thread does: code that waits for a lock which the "
                 "interrupted thread holds waits for ever"};
  }

  /// Says what the thread is doing, by the words of `pyscope why`. False if there is nothing to
  /// say: the thread runs, or will when it gets the GIL. Unless it should have come by then.
  [[nodiscard]] bool explain(bool begun, bool anyhow) const {
    if (!options_.tell) return true;
    WhyOptions why;
    why.duration = std::chrono::milliseconds(150);
    why.timeout = std::chrono::milliseconds(2000);
    why.go_on = [&](std::size_t) { return !options_.go_on || options_.go_on(); };
    const auto diagnosis = diagnose(result_.pid, why);
    if (!diagnosis) return true;
    std::string label = std::to_string(thread_.tid);
    if (thread_.name) label += fmt::format(" \"{}\"", *thread_.name);
    std::string line;
    std::string running;
    std::size_t count = 0;
    for (const ThreadDiagnosis& thread : diagnosis->threads) {
      const bool runs = thread.verdict == Verdict::Looping ||
                        thread.verdict == Verdict::Progressing ||
                        thread.verdict == Verdict::WaitingForGil;
      if (thread.tid == thread_.tid) {
        if (runs && !anyhow) return false;
        line = fmt::format("thread {} {}: {}", label,
                           begun ? "is in the code" : "hasn't come to the code yet",
                           thread.summary.empty() ? "it stands still" : thread.summary);
      } else if (runs && ++count <= kMostNamed) {
        running += (running.empty() ? "" : ", ") + std::to_string(thread.tid);
        if (thread.name) running += fmt::format(" \"{}\"", *thread.name);
      }
    }
    if (line.empty()) return true;
    options_.tell(line);
    if (!begun && !running.empty()) {
      options_.tell(fmt::format("these threads run Python: {}{}; --thread chooses one", running,
                                count > kMostNamed ? " and others" : ""));
    }
    return true;
  }
  static constexpr std::size_t kMostNamed = 4;

  const AttachedProcess& attached_;
  const ChosenThread& thread_;
  const SourceCode& code_;
  const ExecuteOptions& options_;
  const Log& log_;
  Execution result_;
  std::size_t size_read_ = 0;
  Answer last_answer_ = Answer::None;
};

}  // namespace

Result<void> execute(pid_t pid, const SourceCode& code, const ExecuteOptions& options,
                     const std::function<bool(const Execution&)>& done) {
  const Log log(options.log);
  if (code.source.size() > SourceCode::kLongest) {
    return fail(ErrorKind::Usage, fmt::format("the code takes {} bytes, and at most {} are run",
                                              code.source.size(), SourceCode::kLongest));
  }
  const auto attached = attach(pid, log);
  if (!attached) return fail(attached.error());
  const auto threads = choose_threads(*attached, options, log);
  if (!threads) return fail(threads.error());
  // What keeps one thread from being asked, and most of it any other.
  const ThreadRequest first(*attached, threads->front().asked, {}, log);
  if (auto ok = first.check(); !ok) return ok;
  for (const ChosenThread& thread : *threads) {
    const Execution execution = Run(*attached, thread, code, options, log).run();
    if (!done(execution)) break;
  }
  return {};
}

}  // namespace pyscope
