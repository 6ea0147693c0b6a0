#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "elf/elf_image.hpp"
#include "format/escape.hpp"
#include "fuzz/targets.hpp"
#include "process/cgroup.hpp"
#include "process/descriptors.hpp"
#include "process/facts.hpp"
#include "process/file_locks.hpp"
#include "process/maps.hpp"
#include "process/namespace_pids.hpp"
#include "process/sockets.hpp"
#include "process/unique_fd.hpp"
#include "process/unix_peers.hpp"
#include "process/user_names.hpp"
#include "python/debug_offsets.hpp"
#include "python/exception_table.hpp"
#include "python/location_table.hpp"
#include "python/object_path.hpp"
#include "python/secrets.hpp"

namespace pyscope::fuzz {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::byte> raw(Bytes bytes) {
  return std::as_bytes(bytes);
}

/// A file with this content, in memory.
UniqueFd file_of(Bytes bytes) {
  UniqueFd fd{::memfd_create("fuzz", MFD_CLOEXEC)};
  if (!fd || ::write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    std::abort();
  }
  return fd;
}

void check_escaped(std::string_view text) {
  const std::string escaped = escape(text);
  for (std::string_view rest = escaped; !rest.empty();) {
    const Character character = first_character(rest);
    const std::int32_t c = character.code_point;
    const bool harmless = c >= 0x20 && c != 0x7F && (c < 0x80 || c > 0x9F) &&
                          (c < 0x202A || c > 0x202E) && (c < 0x2066 || c > 0x2069) &&
                          (c < 0xD800 || c > 0xDFFF);
    if (!harmless) std::abort();
    rest.remove_prefix(character.size);
  }
  if (display_width(clip(escaped, 40)) > 40) std::abort();
}

// The order is part of the inputs that are kept: new ones go to the end.
const std::vector<std::function<void(Bytes)>> kParsers = {
    [](Bytes b) {
      const UniqueFd file = file_of(b);
      (void)read_elf(file.get());
      (void)find_dynamic_symbol(file.get(), "Py_Version");
    },
    [](Bytes b) { (void)read_elf_head(raw(b)); },
    [](Bytes b) { (void)DebugOffsets::decode(raw(b)); },
    [](Bytes b) { (void)parse_maps(text_of(b)); },
    [](Bytes b) {
      (void)parse_stat(text_of(b));
      (void)parse_system_call(text_of(b));
      (void)restarted_call(text_of(b));
      (void)count_switches(text_of(b));
      (void)status_words(text_of(b), "NSpid");
      (void)has_inner_pid(text_of(b), 7);
    },
    [](Bytes b) {
      for (std::uint64_t unit = 0; unit < 16; ++unit)
        (void)find_location(raw(b), 1, unit * unit);
    },
    [](Bytes b) {
      constexpr std::uint64_t kUnits = 1000;
      const auto entries = decode_exception_table(raw(b), kUnits);
      if (!entries) return;
      for (std::uint64_t unit = 0; unit < kUnits; unit += 37)
        (void)handlers_around(*entries, unit);
    },
    [](Bytes b) {
      (void)parse_epoll_targets(text_of(b));
      (void)fdinfo_value(text_of(b), "Pid");
    },
    [](Bytes b) {
      for (const SocketTable table : {SocketTable::Tcp, SocketTable::Tcp6, SocketTable::Udp,
                                      SocketTable::Udp6, SocketTable::Unix}) {
        (void)socket_inode(table, text_of(b));
        if (const auto socket = parse_socket(table, text_of(b))) (void)to_text(*socket);
      }
    },
    [](Bytes b) { (void)parse_unix_diagnosis(raw(b), 1); },
    [](Bytes b) { (void)find_lock_holder(text_of(b), 7, 7); },
    [](Bytes b) { (void)parse_cgroup(text_of(b)); },
    [](Bytes b) { (void)UserNames(text_of(b)).uid("a"); },
    [](Bytes b) {
      std::vector<std::string> words;
      for (std::string_view rest = text_of(b); !rest.empty();) {
        const std::size_t end = std::min(rest.find('\0'), rest.size());
        words.emplace_back(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
      (void)mask_command(words, SecretNames());
      std::string text(text_of(b));
      (void)mask_url_users(text, true);
    },
    [](Bytes b) { check_escaped(text_of(b)); },
};

}  // namespace

void parsers(Bytes input) {
  if (input.empty()) return;
  kParsers[input.front() % kParsers.size()](input.subspan(1));
}

}  // namespace pyscope::fuzz
