// Names of users, from /etc/passwd. The C library's own functions load code at run time, which a
// static program should avoid.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pyscope {

class UserNames {
 public:
  /// Reads /etc/passwd.
  UserNames();
  /// For tests: reads the text of such a file.
  explicit UserNames(std::string_view passwd);

  /// The name of a user; empty: not known.
  [[nodiscard]] std::string name(uid_t uid) const;
  /// The uid of a user who is given by name or number; empty: not known.
  [[nodiscard]] std::optional<uid_t> uid(std::string_view user) const;

 private:
  void parse(std::string_view passwd);

  std::unordered_map<uid_t, std::string> names_;  // the first of a uid counts, as for ls
  std::unordered_map<std::string, uid_t> uids_;
};

}  // namespace pyscope
