// A real sshd on this machine, with keys, a configuration and a port of its own.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "support/child.hpp"

namespace pyscope::test {

class SshServer {
 public:
  /// Throws if it doesn't come up, with what it said.
  SshServer();
  SshServer(const SshServer&) = delete;
  SshServer& operator=(const SshServer&) = delete;
  ~SshServer();

  /// Words of `ssh` that lead to it, without a command: `more` are further options.
  [[nodiscard]] std::vector<std::string> ssh(const std::vector<std::string>& more = {}) const;
  /// `ssh` with a command line for the shell at the other end.
  [[nodiscard]] Program program(const std::string& command,
                                const std::vector<std::string>& more = {}) const;

  /// $TMPDIR of the sessions. Empty at first.
  [[nodiscard]] std::string session_folder() const { return folder_ + "/tmp"; }

 private:
  void make_keys() const;
  void start();

  std::string folder_;
  int port_ = 0;
  std::optional<Child> server_;
};

}  // namespace pyscope::test
