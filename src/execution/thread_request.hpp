// The request to one thread of a process to run a script at its next safe point.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/deadline.hpp"
#include "base/log.hpp"
#include "execution/remote_writer.hpp"
#include "pyscope/address.hpp"
#include "pyscope/error.hpp"
#include "session/attach.hpp"

namespace pyscope {

/// A thread state as it was seen, by which it is recognised again.
struct AskedThread {
  RemoteAddr interpreter;
  RemoteAddr thread_state;
  std::uint64_t native_id = 0;  // in the target's pid namespace
};

class ThreadRequest {
 public:
  /// `attached` must outlive this. `script` is the script's file name, by which a request is
  /// recognised as this one.
  ThreadRequest(const AttachedProcess& attached, const AskedThread& thread, std::string script,
                Log log)
      : attached_(attached), thread_(thread), script_(std::move(script)), log_(std::move(log)) {}

  /// Whether the thread can be asked, with the reason if not. Writes nothing, and holds nothing.
  [[nodiscard]] Result<void> check() const;

  /// Asks the thread to run the script at `path`, while all threads of the process are held. Waits
  /// until the deadline for other tracers to go, as long as `go_on` says so.
  [[nodiscard]] Result<void> place(const std::string& path, const Deadline& deadline,
                                   const std::function<bool()>& go_on);

  enum class State : std::uint8_t {
    Waiting,    // the thread has yet to come to it
    Forgotten,  // so, but the thread doesn't know any more that it was asked
    Taken,      // the thread has taken it, or another request is in its place
    Gone,       // the thread has ended, or the process, or its program was replaced
  };
  [[nodiscard]] State state() const;
  /// Reminds the thread of the request, if it is Forgotten.
  [[nodiscard]] Result<void> renew(const Deadline& deadline);
  /// Takes the request back, unless the thread has taken it.
  [[nodiscard]] Result<void> withdraw(const Deadline& deadline);

  /// For how long the process was held, all in all.
  [[nodiscard]] std::int64_t paused_us() const { return paused_us_; }

 private:
  struct Words {
    std::int32_t pending = 0;
    std::uint64_t breaker = 0;
    std::string path;
  };
  /// What check() asks, but for where the thread state lies and which offsets the target has.
  [[nodiscard]] Result<void> check_state() const;
  /// Whether the thread state is in the list of its interpreter, as it was when it was found.
  [[nodiscard]] Result<void> verify() const;
  [[nodiscard]] Result<Words> read_words() const;
  [[nodiscard]] bool is_ours(const Words& words) const;
  [[nodiscard]] Result<RemoteWriter> writer() const;
  /// Calls `look`, and then what `look` returns, while no thread of the process can run. If looking
  /// took so long that they may go on soon, all of it is done again.
  using Write = std::function<Result<void>()>;
  [[nodiscard]] Result<void> while_held(const Deadline& deadline,
                                        const std::function<bool()>& go_on,
                                        const std::function<Result<Write>()>& look);
  /// Changes the request while no thread can run, if the request is still this one.
  using Change = std::function<Result<void>(const RemoteWriter& to, const Words& words)>;
  [[nodiscard]] Result<void> change(const Deadline& deadline, const Change& change);

  const AttachedProcess& attached_;
  AskedThread thread_;
  std::string script_;
  Log log_;
  std::int64_t paused_us_ = 0;
};

}  // namespace pyscope
