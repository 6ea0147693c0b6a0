#include "pyscope/capture.hpp"

#include <fmt/core.h>

#include <array>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/shortage.hpp"
#include "python/unpublished_offsets.hpp"
#include "session/attach.hpp"
#include "session/session.hpp"
#include "target/recorded_target.hpp"

namespace pyscope {
namespace {

std::vector<RecordedWait> waits_of(const Snapshot& snapshot) {
  std::vector<RecordedWait> waits;
  for (const Thread& thread : snapshot.threads) {
    if (thread.wait) waits.push_back({thread.tid, *thread.wait});
  }
  return waits;
}

void put_waits(const std::vector<RecordedWait>& waits, Snapshot& snapshot) {
  std::unordered_map<pid_t, const Wait*> by_tid;
  for (const RecordedWait& recorded : waits)
    by_tid.emplace(recorded.tid, &recorded.wait);
  for (Thread& thread : snapshot.threads) {
    const auto found = by_tid.find(thread.tid);
    if (found != by_tid.end() && thread.state == ThreadState::Blocked) thread.wait = *found->second;
  }
}

/// Also of a snapshot that failed: that is the case that one wants to look at.
Result<Snapshot> record(const AttachedProcess& attached, const CaptureOptions& options,
                        const Log& log) {
  const TargetRecorder recorder(*attached.target);
  // The table itself was read before there was a recorder.
  std::array<std::byte, DebugOffsets::kMaxSize> table{};
  (void)recorder.memory().read(attached.runtime.at, table);
  if (attached.runtime.offsets.layout().fields.empty()) {
    (void)identify_runtime(recorder.memory(), attached.runtime.at, std::nullopt);
  }
  auto snapshot = read_snapshot(recorder, attached.runtime, options, log);
  auto waits = snapshot ? waits_of(*snapshot) : std::vector<RecordedWait>{};
  Recording recording = recorder.recording(attached.runtime.at, std::move(waits));
  // Native stacks can be replayed only where their memory was read.
  if (options.native == Native::Off) recording.registers.clear();
  auto ok = write_recording(options.record_to, recording);
  if (!ok) return fail(std::move(ok).error());
  return snapshot;
}

}  // namespace

struct CaptureSession::State {
  pid_t pid;
  CaptureOptions options;
  AttachedProcess attached;
  std::unique_ptr<Session> session;  // refers to `attached`
};

CaptureSession::CaptureSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
CaptureSession::CaptureSession(CaptureSession&&) noexcept = default;
CaptureSession& CaptureSession::operator=(CaptureSession&&) noexcept = default;
CaptureSession::~CaptureSession() = default;

Result<CaptureSession> CaptureSession::attach(pid_t pid, const CaptureOptions& options) {
  const Log log(options.log);
  const ShortageWatch shortages;
  // Native frames are all that there is of a Python that has shut down.
  const bool accept_shut_down = options.native != Native::Off;
  auto attached = shortages.judge(pyscope::attach(pid, log, accept_shut_down));
  if (!attached) return fail(std::move(attached).error());
  auto state = std::make_unique<State>(State{pid, options, *std::move(attached), nullptr});
  state->session = std::make_unique<Session>(*state->attached.target, state->attached.runtime, log);
  return CaptureSession(std::move(state));
}

Result<Snapshot> CaptureSession::capture() {
  State& state = *state_;
  const Log log(state.options.log);
  constexpr int kMaxAttaches = 3;
  for (int attempt = 1;; ++attempt) {
    const ProcessTarget& target = *state.attached.target;
    const ShortageWatch shortages;
    auto located = state.options.record_to < 0
                       ? state.session->snapshot(state.options).map([](LocatedSnapshot all) {
                           return std::move(all.snapshot);
                         })
                       : record(state.attached, state.options, log);
    located = shortages.judge(std::move(located));
    log("{} system calls to read memory", target.memory().system_calls());
    if (target.ended()) return fail(gone_while_read(*target.process()));
    if (runs_same_program(state.attached)) return located;
    // A second recording would be written behind the first one.
    if (attempt == kMaxAttaches || state.options.record_to >= 0) {
      return fail(
          ErrorKind::NoSuchProcess,
          fmt::format("process {} replaced its program while it was read, {} times in a row",
                      state.pid, attempt),
          "try again");
    }
    log("the process runs another program now: attaching again");
    auto again = attach(state.pid, state.options);
    if (!again) return fail(std::move(again).error());
    *state_ = std::move(*again->state_);
  }
}

Result<Snapshot> capture(pid_t pid, const CaptureOptions& options) {
  auto session = CaptureSession::attach(pid, options);
  if (!session) return fail(std::move(session).error());
  return session->capture();
}

Result<Snapshot> replay(const std::string& path, const CaptureOptions& options) {
  const Log log(options.log);
  const auto recording = read_recording(path);
  if (!recording) return fail(recording.error());
  std::array<std::byte, DebugOffsets::kMaxSize> table{};
  if (auto ok = recording->memory.read(recording->runtime, table); !ok) {
    return fail("the recorded table of offsets", ok.error());
  }
  auto offsets = DebugOffsets::decode_version(table)
                     ? DebugOffsets::decode(table)
                     : identify_runtime(recording->memory, recording->runtime, std::nullopt);
  if (!offsets) return fail(std::move(offsets).error());
  auto snapshot = read_snapshot(RecordedTarget(*recording),
                                Runtime{recording->runtime, *std::move(offsets)}, options, log);
  if (snapshot) put_waits(recording->waits, *snapshot);
  return snapshot;
}

}  // namespace pyscope
