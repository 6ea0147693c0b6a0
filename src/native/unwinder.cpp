#include "native/unwinder.hpp"

#include <fmt/core.h>
#include <libunwind.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <map>
#include <type_traits>

#include "native/eh_frame.hpp"

// Exported by libunwind for those who bring their own accessors, but declared in none of its
// headers.
extern "C" int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t*,
                                                  unw_proc_info_t*, int, void*);

namespace pyscope {
namespace {

static_assert(sizeof(unw_word_t) == sizeof(std::uint64_t));

/// A register of the thread by libunwind's number of it; nothing for those that no frame is found
/// by.
#if defined(__x86_64__)
std::optional<std::uint64_t> register_value(const Registers& registers, unw_regnum_t number) {
  const user_regs_struct& raw = registers.raw;
  switch (number) {
    case UNW_X86_64_RAX:
      return raw.rax;
    case UNW_X86_64_RDX:
      return raw.rdx;
    case UNW_X86_64_RCX:
      return raw.rcx;
    case UNW_X86_64_RBX:
      return raw.rbx;
    case UNW_X86_64_RSI:
      return raw.rsi;
    case UNW_X86_64_RDI:
      return raw.rdi;
    case UNW_X86_64_RBP:
      return raw.rbp;
    case UNW_X86_64_RSP:
      return raw.rsp;
    case UNW_X86_64_R8:
      return raw.r8;
    case UNW_X86_64_R9:
      return raw.r9;
    case UNW_X86_64_R10:
      return raw.r10;
    case UNW_X86_64_R11:
      return raw.r11;
    case UNW_X86_64_R12:
      return raw.r12;
    case UNW_X86_64_R13:
      return raw.r13;
    case UNW_X86_64_R14:
      return raw.r14;
    case UNW_X86_64_R15:
      return raw.r15;
    case UNW_X86_64_RIP:
      return raw.rip;
    default:
      return std::nullopt;
  }
}
#elif defined(__aarch64__)
std::optional<std::uint64_t> register_value(const Registers& registers, unw_regnum_t number) {
  const user_regs_struct& raw = registers.raw;
  if (number >= UNW_AARCH64_X0 && number <= UNW_AARCH64_X30) {
    return raw.regs[number - UNW_AARCH64_X0];
  }
  if (number == UNW_AARCH64_SP) return raw.sp;
  if (number == UNW_AARCH64_PC) return raw.pc;
  return std::nullopt;
}
#endif

}  // namespace

class Unwinder::Implementation {
 public:
  Implementation(const Memory& memory, MappedImages& images, FindSection find_section)
      : memory_(memory), images_(images), find_section_(std::move(find_section)) {
    static unw_accessors_t accessors = {.find_proc_info = find_proc_info,
                                        .put_unwind_info = put_unwind_info,
                                        .get_dyn_info_list_addr = no_dynamic_info,
                                        .access_mem = access_mem,
                                        .access_reg = access_reg,
                                        .access_fpreg = no_float_register,
                                        .resume = no_resume,
                                        .get_proc_name = no_name};
    space_ = {::unw_create_addr_space(&accessors, 0),
              [](unw_addr_space_t space) { ::unw_destroy_addr_space(space); }};
    // What it has found out about an instruction serves the next stack.
    if (space_) ::unw_set_caching_policy(space_.get(), UNW_CACHE_GLOBAL);
  }

  NativeWalk walk(const NativeState& state) {
    NativeWalk walk;
    state_ = &state;
    if (!space_) {
      walk.error = "libunwind has no memory";
      return walk;
    }
    unw_cursor_t cursor{};
    if (const int error = ::unw_init_remote(&cursor, space_.get(), this); error < 0) {
      walk.error = words_of(error);
      return walk;
    }
    bool called = false;
    for (;;) {
      unw_word_t pc = 0;
      unw_word_t sp = 0;
      if (::unw_get_reg(&cursor, UNW_REG_IP, &pc) < 0 ||
          ::unw_get_reg(&cursor, UNW_REG_SP, &sp) < 0) {
        walk.error = "a frame without a stack pointer";
        return walk;
      }
      if (pc == 0) return walk;  // the caller of the outermost function, where one is recorded
      if (!walk.frames.empty()) {
        UnwoundFrame& callee = walk.frames.back();
        const std::uint64_t begin = callee.stack.start.raw();
        if (sp > begin) callee.stack.size = sp - begin;
        if (sp == begin && pc == callee.pc.raw()) {
          walk.error = "a frame that is its own caller";
          return walk;
        }
      }
      if (walk.frames.size() == kMaxDepth) {
        walk.error = fmt::format("more than {} frames", kMaxDepth);
        return walk;
      }
      walk.frames.push_back({RemoteAddr{pc}, {RemoteAddr{sp}, 0}, called});
      // What a signal interrupted is at that very instruction.
      called = ::unw_is_signal_frame(&cursor) <= 0;
      const int step = ::unw_step(&cursor);
      if (step == 0) return walk;
      if (step < 0) {
        walk.error = out_of_reads() ? "unwinding it takes too long" : words_of(step);
        return walk;
      }
    }
  }

 private:
  static std::string words_of(int error) {
    switch (-error) {
      case UNW_ENOINFO:
        return "no unwinding information for the next frame";
      case UNW_EBADFRAME:
      case UNW_EINVALIDIP:
        return "the next frame makes no sense";
      case UNW_EBADVERSION:
        return "unwinding information of an unknown version";
      default:
        return "the next frame could not be read";
    }
  }

  static Implementation& self(void* argument) { return *static_cast<Implementation*>(argument); }

  [[nodiscard]] bool out_of_reads() const { return reads_ >= kMaxReads; }

  static int access_mem(unw_addr_space_t, unw_word_t at, unw_word_t* value, int write,
                        void* argument) {
    return write != 0 ? -UNW_EINVAL : self(argument).read_word(at, *value);
  }

  int read_word(std::uint64_t at, unw_word_t& value) {
    if (out_of_reads()) return -UNW_EUNSPEC;
    ++reads_;
    std::array<std::byte, sizeof value> bytes{};
    if (at >= kMadeTable) {
      if (table_ == nullptr) return -UNW_EINVAL;
      const auto all = std::as_bytes(std::span(table_->made));
      const std::uint64_t offset = at - kMadeTable;
      if (offset > all.size() || all.size() - offset < bytes.size()) return -UNW_EINVAL;
      std::memcpy(&value, all.data() + offset, bytes.size());
      return 0;
    }
    // The stack only from the copy: the thread runs on.
    for (const StackPiece& piece : state_->stack) {
      if (!piece.range().contains(RemoteAddr{at})) continue;
      const std::uint64_t offset = at - piece.at.raw();
      if (piece.bytes.size() - offset < bytes.size()) return -UNW_EINVAL;
      std::memcpy(&value, piece.bytes.data() + offset, bytes.size());
      return 0;
    }
    if (!memory_.read(RemoteAddr{at}, bytes)) return -UNW_EINVAL;
    std::memcpy(&value, bytes.data(), bytes.size());
    return 0;
  }

  static int access_reg(unw_addr_space_t, unw_regnum_t number, unw_word_t* value, int write,
                        void* argument) {
    if (write != 0) return -UNW_EREADONLYREG;
    const auto found = register_value(self(argument).state_->registers, number);
    if (!found) return -UNW_EBADREG;
    *value = *found;
    return 0;
  }

  static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t* result,
                            int need_unwind_info, void* argument) {
    return self(argument).search_table(space, ip, result, need_unwind_info);
  }

  int search_table(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t* result,
                   int need_unwind_info) {
    const MappedImage* image = images_.find(RemoteAddr{ip});
    if (image == nullptr) return -UNW_ENOINFO;
    const auto [entry, is_new] = tables_.try_emplace(image->start);
    if (is_new) entry->second = find_unwind_table(memory_, *image, find_section_);
    const UnwindTable& table = entry->second;
    if (table.entries == 0) return -UNW_ENOINFO;
    unw_dyn_info_t info{};
    info.start_ip = 0;
    info.end_ip = std::numeric_limits<unw_word_t>::max();
    info.gp = 0;
    info.format = UNW_INFO_FORMAT_REMOTE_TABLE;
    info.u.rti.segbase = table.base.raw();
    info.u.rti.table_len = table.entries * sizeof(UnwindTableEntry) / sizeof(unw_word_t);
    info.u.rti.table_data = table.at ? table.at.raw() : kMadeTable;
    table_ = &table;
    return UNW_OBJ(dwarf_search_unwind_table)(space, ip, &info, result, need_unwind_info, this);
  }

  static void put_unwind_info(unw_addr_space_t, unw_proc_info_t*, void*) {}
  static int no_dynamic_info(unw_addr_space_t, unw_word_t*, void*) { return -UNW_ENOINFO; }
  static int no_float_register(unw_addr_space_t, unw_regnum_t, unw_fpreg_t*, int, void*) {
    return -UNW_EBADREG;
  }
  static int no_resume(unw_addr_space_t, unw_cursor_t*, void*) { return -UNW_EINVAL; }
  static int no_name(unw_addr_space_t, unw_word_t, char*, std::size_t, unw_word_t*, void*) {
    return -UNW_ENOINFO;
  }

  /// Where libunwind sees the table that was made for the image that it looks into: no process has
  /// memory there.
  static constexpr std::uint64_t kMadeTable = std::uint64_t{0xF} << 60U;

  const Memory& memory_;
  MappedImages& images_;
  FindSection find_section_;
  const UnwindTable* table_ = nullptr;
  std::unique_ptr<std::remove_pointer_t<unw_addr_space_t>, void (*)(unw_addr_space_t)> space_{
      nullptr, nullptr};
  const NativeState* state_ = nullptr;
  std::size_t reads_ = 0;
  std::map<RemoteAddr, UnwindTable> tables_;  // by the image's start
};

Unwinder::Unwinder(const Memory& memory, MappedImages& images, FindSection find_section)
    : implementation_(std::make_unique<Implementation>(memory, images, std::move(find_section))) {}

Unwinder::~Unwinder() = default;

NativeWalk Unwinder::walk(const NativeState& state) {
  return implementation_->walk(state);
}

}  // namespace pyscope
