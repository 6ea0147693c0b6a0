#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "elf/debug_lines.hpp"
#include "elf/decompress.hpp"
#include "elf/elf_file.hpp"
#include "elf/elf_image.hpp"
#include "elf/symbol_table.hpp"
#include "execution/script.hpp"
#include "format/command_line.hpp"
#include "format/escape.hpp"
#include "fuzz/promises.hpp"
#include "fuzz/targets.hpp"
#include "memory/image_memory.hpp"
#include "native/demangle.hpp"
#include "native/loaded_elf.hpp"
#include "native/perf_map.hpp"
#include "native/registered_code.hpp"
#include "process/cgroup.hpp"
#include "process/descriptors.hpp"
#include "process/facts.hpp"
#include "process/file_locks.hpp"
#include "process/maps.hpp"
#include "process/namespace_pids.hpp"
#include "process/permission.hpp"
#include "process/sockets.hpp"
#include "process/unix_peers.hpp"
#include "process/user_names.hpp"
#include "pyscope/render.hpp"
#include "python/exception_table.hpp"
#include "python/location_table.hpp"
#include "structures/debug_offsets.hpp"
#include "values/nearest_names.hpp"
#include "values/object_path.hpp"
#include "values/secrets.hpp"

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
    broken("a file can be made in memory");
  }
  return fd;
}

void check_error(const Error& error) {
  if (error.message.empty()) broken("an error says what it is");
  check_line(render_line(error.message));
  check_text(render_line(render_hint(error, {error.message, {"dump", error.message}})));
}

/// Any facts about a refusal: numbers from the front, texts from the rest.
RefusalFacts facts_from(Bytes bytes) {
  const auto number = [&] {
    std::uint32_t value = 0;
    const std::size_t size = std::min(sizeof value, bytes.size());
    std::memcpy(&value, bytes.data(), size);
    bytes = bytes.subspan(size);
    return value;
  };
  RefusalFacts facts;
  const std::uint32_t flags = number();
  const auto flag = [&](unsigned bit) { return (flags >> bit & 1U) != 0; };
  facts.pid = static_cast<pid_t>(number());
  facts.capabilities = std::uint64_t{number()} << 16U;
  if (flag(0)) facts.uids = Ids{number() % 2, number() % 2, number() % 2};
  if (flag(1)) facts.gids = Ids{number() % 2, number() % 2, number() % 2};
  facts.own_uids = {number() % 2, number() % 2, number() % 2};
  facts.own_gids = {number() % 2, number() % 2, number() % 2};
  if (flag(2)) facts.ptrace_scope = static_cast<int>(number() % 5);
  facts.own_effective = flag(3) ? ~0ULL : std::uint64_t{number()};
  facts.own_permitted = flag(4) ? ~0ULL : std::uint64_t{number()};
  facts.own_bounding = flag(5) ? ~0ULL : std::uint64_t{number()};
  facts.where.runtime = static_cast<ContainerRuntime>(number() % 5);
  facts.in_initial_user_namespace = flag(6);
  facts.call_is_filtered = flag(7);
  facts.has_sudo = flag(8);
  facts.no_new_privileges = flag(9);
  facts.step = flag(10) ? RefusedStep::Listing : RefusedStep::Reading;
  facts.descends_from_us = flag(11);
  if (flag(12)) facts.dumpable = flag(13);
  if (flag(14)) facts.same_user_namespace = flag(15);
  const std::string_view text = text_of(bytes);
  const std::size_t third = text.size() / 3;
  facts.name = text.substr(0, third);
  facts.user = text.substr(third, third);
  facts.profile = text.substr(2 * third);
  if (flag(16)) facts.where.container = text;
  if (flag(17)) facts.where.pod = facts.name;
  if (flag(18)) facts.where.pod_namespace = facts.user;
  if (flag(19)) facts.where.unit = facts.profile;
  return facts;
}

void check_escaped(std::string_view text) {
  const std::string escaped = escape(text);
  check_line(escaped);
  const std::string clipped = clip(escaped, 40);
  check_line(clipped);
  if (display_width(clipped) > 40) broken("what is clipped fits", clipped);
  (void)shell_quote(text);
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
      (void)parse_schedstat(text_of(b));
      (void)parse_scheduling(text_of(b));
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
    [](Bytes b) {
      const auto path = parse_path(text_of(b));
      if (path && (path->steps.empty() ? !path->in_frame : path->steps.back().end > b.size()))
        broken("steps lie within their path", text_of(b));
      if (!path) check_line(render_line(path.error().message));
      (void)nearest_names(text_of(b), {"stock", "orders", ""});
    },
    [](Bytes b) {
      // Facts of our own, and the table of mounts.
      RefusalFacts facts;
      facts.own_uids = {1000, 1000, 1000};
      check_error(explain_hidden(facts, text_of(b)));
    },
    [](Bytes b) { check_error(explain_refusal(facts_from(b))); },
    [](Bytes b) {
      // No table at all, one whose lines begin anywhere, and one that begins where it was cut.
      for (const std::int32_t line : {0, -1, INT32_MAX, INT32_MIN})
        (void)find_location(raw(b), line, b.size());
    },
    [](Bytes b) {
      const Error error = with_inner_processes(
          {ErrorKind::NoSuchProcess, "process 7: there is none", {}}, 7,
          {{4711, std::string(text_of(b)), std::string(text_of(b.first(b.size() / 2)))}});
      check_error(error);
    },
    [](Bytes b) {
      const UniqueFd fd = file_of(b);
      const auto file = ElfFile::open(fd.get());
      if (!file) return;
      (void)file->build_id();
      for (const ElfSectionHeader& section : file->sections())
        (void)file->contents(section, 1U << 20U);
      std::uint64_t symbols = 1U << 20U;
      DebugBudget budget;
      budget.inflated = 1U << 22U;
      DebugLines lines(*file, budget);
      for (const std::uint32_t type :
           std::initializer_list<std::uint32_t>{SHT_SYMTAB, SHT_DYNSYM}) {
        const SymbolTable table = read_symbol_table(*file, type, symbols);
        for (std::uint64_t address = 0x1000; address < 0x1400; address += 7) {
          if (const auto found = table.find(address)) (void)demangle(found->name);
          if (type == SHT_SYMTAB) (void)lines.find(address);
        }
      }
    },
    [](Bytes b) {
      constexpr std::uint64_t kStart = 0x7F0000000000;
      ImageMemory memory;
      memory.put(RemoteAddr{kStart}, raw(b));
      const auto image = read_mapped_image(memory, RemoteAddr{kStart});
      if (!image) return;
      (void)loaded_build_id(memory, *image);
      std::uint64_t budget = 1U << 20U;
      const SymbolTable table = loaded_symbols(memory, *image, budget);
      for (std::uint64_t address = 0; address < 0x2000; address += 0x11)
        (void)table.find(address);
    },
    [](Bytes b) {
      const PerfMap map{std::string(text_of(b))};
      for (std::uint64_t address = 0; address < 0x2000; address += 0x11)
        (void)map.find(address);
    },
    [](Bytes b) {
      const std::string name(text_of(b));
      if (demangle(name).size() > std::max<std::size_t>(name.size(), 16384))
        broken("a demangled name has an end", name);
      (void)demangle("_Z" + name);
      (void)demangle("_R" + name);
    },
    [](Bytes b) {
      (void)decode_xz(raw(b), 1U << 20U);
      (void)inflate(raw(b), b.size());
      (void)decode_zstd(raw(b), b.size());
    },
    [](Bytes b) {
      // A list of this file and, in a circle, of a half of it.
      constexpr std::uint64_t kStart = 0x7F0000000000;
      constexpr std::uint64_t kEntries = kStart + 0x20;
      constexpr std::uint64_t kFile = kStart + 0x100;
      using Words = std::array<std::uint64_t, 4>;
      const std::array list{Words{1, 0, kEntries, 0},
                            Words{kEntries + sizeof(Words), 0, kFile, b.size()},
                            Words{kEntries, 0, kFile, b.size() / 2}};
      ImageMemory memory;
      memory.put(RemoteAddr{kStart}, std::as_bytes(std::span(list)));
      memory.put(RemoteAddr{kFile}, raw(b));
      const Log log;
      RegisteredCode code(memory, log);
      code.add_list(RemoteAddr{kStart});
      for (std::uint64_t address = 0; address < 0x2000; address += 0x11) {
        const bool known = code.holds(RemoteAddr{address});
        if (!known && code.find(RemoteAddr{address})) broken("a name has code");
        const UnwindTable* table = code.unwind_table(RemoteAddr{address});
        if (!known && table != nullptr) broken("a table has code");
        if (table != nullptr && table->entries > table->copy.size()) broken("entries have bytes");
      }
    },
    [](Bytes b) {
      Execution execution;
      const bool complete = read_answer(text_of(b), execution) == Answer::Complete;
      if (complete != execution.ran.value_or(true))
        broken("only a whole answer says that code ran");
      check_json(render_json(execution, JsonStyle::Compact));
    },
};

}  // namespace

void parsers(Bytes input) {
  if (input.empty()) return;
  kParsers[input.front() % kParsers.size()](input.subspan(1));
}

}  // namespace pyscope::fuzz
