#include "process/user_names.hpp"

#include <fcntl.h>

#include <algorithm>

#include "process/proc_file.hpp"
#include "process/words.hpp"

namespace pyscope {

UserNames::UserNames() {
  constexpr std::size_t kMost = std::size_t{4} << 20U;
  parse(read_file_start(AT_FDCWD, "/etc/passwd", kMost).value_or(""));
}

UserNames::UserNames(std::string_view passwd) {
  parse(passwd);
}

void UserNames::parse(std::string_view passwd) {
  while (!passwd.empty()) {
    std::string_view line = passwd.substr(0, passwd.find('\n'));
    passwd.remove_prefix(std::min(line.size() + 1, passwd.size()));
    // NAME:PASSWORD:UID:…
    const std::size_t name_end = line.find(':');
    if (name_end == std::string_view::npos || name_end == 0) continue;
    const std::size_t uid_begin = line.find(':', name_end + 1);
    if (uid_begin == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, name_end);
    line.remove_prefix(uid_begin + 1);
    const auto uid = to_number<uid_t>(line.substr(0, line.find(':')));
    if (!uid) continue;
    names_.emplace(*uid, name);
    uids_.emplace(name, *uid);
  }
}

std::string UserNames::name(uid_t uid) const {
  const auto found = names_.find(uid);
  return found == names_.end() ? std::string{} : found->second;
}

std::optional<uid_t> UserNames::uid(std::string_view user) const {
  const auto found = uids_.find(std::string(user));
  if (found != uids_.end()) return found->second;
  return to_number<uid_t>(user);
}

}  // namespace pyscope
