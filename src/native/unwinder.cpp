#include "native/unwinder.hpp"

#include <fmt/core.h>
#include <libunwind.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <type_traits>

#include "native/eh_frame.hpp"

// Exported by libunwind for those who bring their own accessors, but declared in none of its
// headers.
extern "C" int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t*,
                                                  unw_proc_info_t*, int, void*);

namespace pyscope {
namespace {

static_assert(sizeof(unw_word_t) == sizeof(std::uint64_t));

using CodeBytes = std::array<std::uint8_t, 8>;

/// A call instruction.
struct Call {
  bool is_call = false;
  RemoteAddr target;  // null: not known, as it's in a register or in memory
};

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

constexpr unw_regnum_t kFramePointer = UNW_X86_64_RBP;
constexpr std::uint64_t kSignature = 0;
constexpr bool kNegatesState = false;

/// CALL rel32, or CALL r/m64 in any of its forms.
Call last_call(const CodeBytes& before, RemoteAddr end) {
  const auto at = [&](std::size_t from_end) { return before[before.size() - from_end]; };
  constexpr std::uint8_t kCall = 0xE8;
  constexpr std::uint8_t kGroup5 = 0xFF;
  // By the length: the bits of ModRM that name the call and the form of its operand.
  const auto is_form = [&](std::size_t length, std::uint8_t mask, std::uint8_t value) {
    return at(length) == kGroup5 && (at(length - 1) & mask) == value;
  };
  constexpr std::uint8_t kSib = 0x14;  // [base + index]
  if (is_form(2, 0xF8, 0xD0) || (is_form(2, 0xF8, 0x10) && (at(1) & 0x07U) < 4) ||
      is_form(3, 0xFF, kSib) || is_form(3, 0xF8, 0x50) || is_form(4, 0xFF, 0x54) ||
      is_form(6, 0xFF, 0x15) || is_form(6, 0xF8, 0x90) || is_form(7, 0xFF, 0x94)) {
    return {true, {}};
  }
  if (at(5) != kCall) return {};
  std::int32_t distance = 0;
  std::memcpy(&distance, before.data() + 4, sizeof distance);
  return {true, RemoteAddr{end.raw() + static_cast<std::uint64_t>(std::int64_t{distance})}};
}

/// JMP [rip + x], behind ENDBR64 where that is asked for.
bool jumps_through_table(const CodeBytes& first) {
  constexpr std::array<std::uint8_t, 4> kEndBranch = {0xF3, 0x0F, 0x1E, 0xFA};
  const bool marked = std::equal(kEndBranch.begin(), kEndBranch.end(), first.begin());
  std::size_t i = marked ? kEndBranch.size() : 0;
  if (first[i] == 0xF2) ++i;  // BND
  return first[i] == 0xFF && first[i + 1] == 0x25;
}

// mov $15, %rax; syscall
constexpr std::array<std::uint8_t, 9> kSignalReturn{0x48, 0xC7, 0xC0, 0x0F, 0, 0, 0, 0x0F, 0x05};
#elif defined(__aarch64__)
// mov x8, #139; svc #0
constexpr std::array<std::uint8_t, 8> kSignalReturn{0x68, 0x11, 0x80, 0xD2, 0x01, 0, 0, 0xD4};

constexpr unw_regnum_t kFramePointer = UNW_AARCH64_X29;

// Functions that are compiled for it (-mbranch-protection) sign their return addresses, in the bits
// that no address of a process has.
constexpr std::uint64_t kSignature = ~std::uint64_t{0} << 48U;
// The operation that says so is SPARC's to libunwind before 1.7: it forgets all registers there.
constexpr bool kNegatesState = true;

std::uint32_t instruction_of(const CodeBytes& bytes, std::size_t at) {
  std::uint32_t instruction = 0;
  std::memcpy(&instruction, bytes.data() + at, sizeof instruction);
  return instruction;
}

/// BL, or BLR.
Call last_call(const CodeBytes& before, RemoteAddr end) {
  const std::uint32_t instruction = instruction_of(before, 4);
  if ((instruction & 0xFFFFFC1FU) == 0xD63F0000U) return {true, {}};
  if ((instruction & 0xFC000000U) != 0x94000000U) return {};
  const auto words = static_cast<std::int32_t>(instruction << 6U) >> 6;
  return {true, RemoteAddr{end.raw() - 4 + static_cast<std::uint64_t>(std::int64_t{words} * 4)}};
}

/// ADRP x16, behind BTI where that is asked for.
bool jumps_through_table(const CodeBytes& first) {
  constexpr std::uint32_t kBranchTarget = 0xD503245FU;
  const bool marked = instruction_of(first, 0) == kBranchTarget;
  return (instruction_of(first, marked ? 4 : 0) & 0x9F00001FU) == 0x90000010U;
}

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
  Implementation(const Memory& memory, MappedImages& images, FindSection find_section,
                 FindTable find_table)
      : memory_(memory),
        images_(images),
        find_section_(std::move(find_section)),
        find_table_(std::move(find_table)) {
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

  NativeWalk walk(const NativeState& state, std::span<const RemoteAddr> entry_frames) {
    state_ = &state;
    entry_frames_.assign(entry_frames.begin(), entry_frames.end());
    std::sort(entry_frames_.begin(), entry_frames_.end());
    if (!space_) return {{}, "libunwind has no memory"};
    std::size_t guesses = 0;
    return walk_from(state.registers, guesses, 0);
  }

 private:
  /// The whole stack, with guesses where there is no unwinding information. `depth` is the number
  /// of guesses that have led to these registers.
  NativeWalk walk_from(const Registers& registers, std::size_t& guesses, int depth) {
    NativeWalk walk = unwind(registers);
    // Where it began to guess, if it did.
    for (std::size_t i = 0; !walk.error.empty() && i < walk.frames.size(); ++i) {
      if (has_information(walk.frames[i].instruction())) continue;
      NativeWalk rest = depth < kMaxGuessesInARow
                            ? guess_caller(registers, walk.frames[i], guesses, depth)
                            : NativeWalk{};
      if (rest.frames.empty()) {
        walk.error = "the code there has no unwinding information";
        walk.frames.resize(i + 1);
        walk.frames.back().stack.size = 0;
        break;
      }
      walk.frames.resize(i + 1);
      UnwoundFrame& callee = walk.frames.back();
      callee.stack.size = rest.frames.front().stack.start.raw() - callee.stack.start.raw();
      rest.frames.front().called = true;
      rest.frames.front().guessed = true;
      walk.frames.insert(walk.frames.end(), rest.frames.begin(), rest.frames.end());
      walk.error = std::move(rest.error);
      break;
    }
    return walk;
  }

  /// How many entry frames lie in a frame's part of the stack.
  [[nodiscard]] std::size_t count_entries(const UnwoundFrame& frame) const {
    const auto first =
        std::lower_bound(entry_frames_.begin(), entry_frames_.end(), frame.stack.start);
    const auto end = std::partition_point(
        first, entry_frames_.end(), [&](RemoteAddr entry) { return frame.stack.contains(entry); });
    return static_cast<std::size_t>(end - first);
  }

  /// Whether the first guess is as good as certain: the next call of the evaluation loop is where
  /// its entry frame lies, holds no other, and was called.
  bool meets_entry(const NativeWalk& walk) {
    for (std::size_t i = 0; i + 1 < walk.frames.size(); ++i) {
      const std::size_t entries = count_entries(walk.frames[i]);
      if (entries == 0) continue;
      return entries == 1 && has_information(walk.frames[i].instruction()) &&
             call_before(walk.frames[i + 1].pc).is_call;
    }
    return false;
  }

  /// There is no error only if the unwinding got to where the thread begins.
  NativeWalk unwind(const Registers& registers) {
    NativeWalk walk;
    registers_ = &registers;
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
      if (pc == 0) break;  // the caller of the outermost function, where one is recorded
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
      // libunwind then goes by the frame pointer, but not from there.
      if (called && without_information_.contains(walk.frames.back().instruction())) {
        walk.frames.back().stack.size = 0;
        walk.error = words_of(-UNW_ENOINFO);
        return walk;
      }
      if (called && !is_code(RemoteAddr{pc - 1})) {
        walk.error = words_of(-UNW_EBADFRAME);
        return walk;
      }
      // A handler returns to a frame that the kernel has made, and what a signal interrupted is at
      // that very instruction: neither has called anything.
      const bool signal = returns_from_signal(pc);
      unw_word_t frame_pointer = 0;
      if (::unw_get_reg(&cursor, kFramePointer, &frame_pointer) < 0) frame_pointer = 0;
      walk.frames.push_back({.pc = RemoteAddr{pc},
                             .stack = {RemoteAddr{sp}, 0},
                             .called = called && !signal,
                             .signal = signal,
                             .frame_pointer = RemoteAddr{frame_pointer}});
      called = !signal;
      reads_of_step_ = 0;
      const int step = ::unw_step(&cursor);
      const bool too_long = out_of_reads();
      reads_of_step_ = 0;
      if (step == 0) break;
      if (step < 0) {
        walk.error = too_long ? "unwinding it takes too long" : words_of(step);
        return walk;
      }
    }
    // libunwind takes a frame that it can make nothing of for the last one, too.
    if (walk.frames.empty() || !has_information(walk.frames.back().instruction())) {
      // A stack that was made by hand (makecontext) begins with the return to a function that has
      // called nothing.
      if (!walk.frames.empty() && walk.frames.back().called &&
          has_information(walk.frames.back().pc)) {
        walk.frames.back().called = false;
        return walk;
      }
      walk.error = "the code there has no unwinding information";
    }
    return walk;
  }

  bool has_information(RemoteAddr instruction) {
    unw_proc_info_t info{};
    return search_table(space_.get(), instruction.raw(), &info, 0) == 0;
  }

  /// The rest of the stack beyond a frame without information; empty if none makes sense.
  NativeWalk guess_caller(const Registers& registers, const UnwoundFrame& frame,
                          std::size_t& guesses, int depth) {
    const RemoteAddr sp = frame.stack.start;
    std::uint64_t within = kGuessWithin;
    const auto entry = std::upper_bound(entry_frames_.begin(), entry_frames_.end(), sp);
    if (entry != entry_frames_.end()) within = std::min(within, entry->raw() - sp.raw());
    NativeWalk rest = guess_caller_within(within, registers, frame, guesses, depth);
    // The loop itself may have no information.
    if (rest.frames.empty() && within < kGuessWithin)
      rest = guess_caller_within(kGuessWithin, registers, frame, guesses, depth);
    return rest;
  }

  NativeWalk guess_caller_within(std::uint64_t within, const Registers& registers,
                                 const UnwoundFrame& frame, std::size_t& guesses, int depth) {
    const RemoteAddr sp = frame.stack.start;
    constexpr std::uint64_t kNear = 256;
    // What a compiler has told the name of alone has little on the stack, and registers of callers.
    if (is_known(frame.instruction())) {
      const RemoteRange nearest{sp, std::min(kNear, within)};
      NativeWalk rest = guess_caller_in(nearest, registers, frame, guesses, depth);
      if (!rest.frames.empty()) return rest;
    }
    if (NativeWalk rest = follow_frame_pointer(within, registers, frame, guesses, depth);
        !rest.frames.empty()) {
      return rest;
    }
    // Such code keeps the stack pointer that it came with in another register, when it makes room
    // for a buffer. What an earlier call has left in that buffer looks like callers.
    if (sp == registers.sp()) {
      for (const RemoteAddr old : registers.preserved()) {
        if (old <= sp || old.raw() - sp.raw() >= within || old.raw() % 8 != 0) continue;
        const std::uint64_t near = std::min(kNear, within - (old.raw() - sp.raw()));
        NativeWalk rest = guess_caller_in({old, near}, registers, frame, guesses, depth);
        if (!rest.frames.empty()) return rest;
      }
    }
    return guess_caller_in({sp, within}, registers, frame, guesses, depth);
  }

  /// The frame pointer leads to the caller's, with the return address next to it.
  NativeWalk follow_frame_pointer(std::uint64_t within, const Registers& registers,
                                  const UnwoundFrame& frame, std::size_t& guesses, int depth) {
    constexpr std::uint64_t kPair = 2 * sizeof(unw_word_t);
    const RemoteAddr sp = frame.stack.start;
    const RemoteAddr at = frame.frame_pointer;
    // An address that is no code was called, so nothing was saved there.
    if (!is_code(frame.instruction()) || at < sp || at.raw() - sp.raw() > within ||
        within - (at.raw() - sp.raw()) < kPair) {
      return {};
    }
    unw_word_t frame_pointer = 0;
    unw_word_t returns_to = 0;
    if (read_word(at.raw(), frame_pointer) != 0 ||
        read_word(at.raw() + sizeof frame_pointer, returns_to) != 0 ||
        !follows_call(RemoteAddr{returns_to}, frame.pc) || ++guesses > kMaxGuesses) {
      return {};
    }
    Registers caller = registers;
    caller.set(RemoteAddr{returns_to}, at + kPair);
    caller.set_frame_pointer(RemoteAddr{frame_pointer});
    NativeWalk rest = walk_from(caller, guesses, depth + 1);
    return rest.error.empty() || meets_entry(rest) ? rest : NativeWalk{};
  }

  NativeWalk guess_caller_in(RemoteRange where, const Registers& registers,
                             const UnwoundFrame& frame, std::size_t& guesses, int depth) {
    for (std::uint64_t offset = 0; offset < where.size; offset += sizeof(unw_word_t)) {
      const auto at = where.start.plus(offset);
      unw_word_t word = 0;
      if (!at || read_word(at->raw(), word) != 0) break;
      const RemoteAddr returns_to{word};
      if (!follows_call(returns_to, frame.pc) || !is_known(RemoteAddr{word - 1})) continue;
      // Of the other registers that the function has saved, only a frame pointer has a part in it:
      // perhaps it's the one that is there, else it was saved next to the return address.
      Registers caller = registers;
      caller.set(returns_to, RemoteAddr{at->raw() + sizeof word});
      caller.set_frame_pointer(frame.frame_pointer);
      constexpr std::uint64_t kSaved = 16;
      for (std::uint64_t saved = 0; saved <= kSaved; ++saved) {
        if (saved > 0) {
          unw_word_t frame_pointer = 0;
          if (at->raw() - saved * sizeof word < frame.stack.start.raw() ||
              read_word(at->raw() - saved * sizeof word, frame_pointer) != 0) {
            break;
          }
          if (frame_pointer <= at->raw() || frame_pointer - at->raw() > kGuessWithin) continue;
          caller.set_frame_pointer(RemoteAddr{frame_pointer});
        }
        if (++guesses > kMaxGuesses) return {};
        NativeWalk rest = walk_from(caller, guesses, depth + 1);
        if (rest.error.empty() || meets_entry(rest)) return rest;
      }
    }
    return {};
  }

  /// Whether the address is in code that is known: by its unwinding information, or at least by a
  /// name, since a compiler may give no more than that (Numba).
  bool is_known(RemoteAddr at) {
    if (has_information(at)) return true;
    return images_.find(at) == nullptr && find_table_ && find_table_(at) != nullptr;
  }

  [[nodiscard]] bool is_code(RemoteAddr at) const {
    if (const Mapping* mapping = images_.mapping(at)) return mapping->executable;
    // A compiler may have made it since the mappings were read.
    return read_as<std::uint8_t>(memory_, at).has_value();
  }

  Call call_before(RemoteAddr at) {
    constexpr std::uint64_t kLongest = 8;
    if (at.raw() < kLongest || !is_code(RemoteAddr{at.raw() - 1})) return {};
    const auto before = read_as<CodeBytes>(memory_, RemoteAddr{at.raw() - kLongest});
    return before ? last_call(*before, at) : Call{};
  }

  /// Whether the instruction before it is a call that may have led to `callee`.
  bool follows_call(RemoteAddr at, RemoteAddr callee) {
    const Call call = call_before(at);
    if (!call.is_call) return false;
    if (!call.target) return true;
    // A direct call leads to the function itself, or to a jump through the table of another
    // library's functions.
    constexpr std::uint64_t kLargestFunction = std::uint64_t{1} << 20U;
    if (call.target <= callee && callee.raw() - call.target.raw() < kLargestFunction) return true;
    const auto first = read_as<CodeBytes>(memory_, call.target);
    return first && jumps_through_table(*first);
  }

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

  /// Whether the code there is the call of rt_sigreturn that handlers return to, in whatever
  /// library it is. unw_is_signal_frame() tells it one frame late on x86-64.
  [[nodiscard]] bool returns_from_signal(std::uint64_t pc) const {
    std::array<std::byte, kSignalReturn.size()> code{};
    return memory_.read(RemoteAddr{pc}, code) &&
           std::memcmp(code.data(), kSignalReturn.data(), code.size()) == 0;
  }

  static Implementation& self(void* argument) { return *static_cast<Implementation*>(argument); }

  [[nodiscard]] bool out_of_reads() const {
    return reads_ >= kMaxReads || reads_of_step_ >= kMaxReadsOfStep;
  }

  static int access_mem(unw_addr_space_t, unw_word_t at, unw_word_t* value, int write,
                        void* argument) {
    return write != 0 ? -UNW_EINVAL : self(argument).read_word(at, *value);
  }

  int read_word(std::uint64_t at, unw_word_t& value) {
    if (out_of_reads()) return -UNW_EUNSPEC;
    ++reads_;
    ++reads_of_step_;
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
      value = without_signature(value);
      return 0;
    }
    if (table_ != nullptr && !table_->copy.empty() &&
        RemoteRange{table_->copied_from, table_->copy.size()}.contains(RemoteAddr{at})) {
      const std::uint64_t offset = at - table_->copied_from.raw();
      // libunwind reads whole words, also of the last four bytes.
      std::copy_n(table_->copy.begin() + static_cast<std::ptrdiff_t>(offset),
                  std::min<std::size_t>(bytes.size(), table_->copy.size() - offset), bytes.begin());
    } else if (!memory_.read(RemoteAddr{at}, bytes)) {
      return -UNW_EINVAL;
    }
    for (auto next = passed_over_.lower_bound(RemoteAddr{at});
         next != passed_over_.end() && next->raw() - at < bytes.size(); ++next) {
      bytes.at(next->raw() - at) = std::byte{0};  // DW_CFA_nop
    }
    std::memcpy(&value, bytes.data(), bytes.size());
    return 0;
  }

  static int access_reg(unw_addr_space_t, unw_regnum_t number, unw_word_t* value, int write,
                        void* argument) {
    if (write != 0) return -UNW_EREADONLYREG;
    const auto found = register_value(*self(argument).registers_, number);
    if (!found) return -UNW_EBADREG;
    *value = self(argument).without_signature(*found);
    return 0;
  }

  /// A return address as it was before it was signed; anything else as it is.
  [[nodiscard]] std::uint64_t without_signature(std::uint64_t value) const {
    const std::uint64_t plain = value & ~kSignature;
    return plain != value && is_code(RemoteAddr{plain}) ? plain : value;
  }

  static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t* result,
                            int need_unwind_info, void* argument) {
    const int error = self(argument).search_table(space, ip, result, need_unwind_info);
    if (error != 0) self(argument).without_information_.insert(RemoteAddr{ip});
    return error;
  }

  int search_table(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t* result,
                   int need_unwind_info) {
    const UnwindTable* const found = table_for(RemoteAddr{ip});
    if (found == nullptr || found->entries == 0) return -UNW_ENOINFO;
    const UnwindTable& table = *found;
    unw_dyn_info_t info{};
    info.start_ip = 0;
    info.end_ip = std::numeric_limits<unw_word_t>::max();
    info.gp = 0;
    info.format = UNW_INFO_FORMAT_REMOTE_TABLE;
    info.u.rti.segbase = table.base.raw();
    info.u.rti.table_len = table.entries * sizeof(UnwindTableEntry) / sizeof(unw_word_t);
    info.u.rti.table_data = table.at ? table.at.raw() : kMadeTable;
    table_ = &table;
    const int error =
        UNW_OBJ(dwarf_search_unwind_table)(space, ip, &info, result, need_unwind_info, this);
    if (kNegatesState && error == 0 && need_unwind_info != 0)
      pass_over_negations(table, RemoteAddr{result->start_ip});
    return error;
  }

  void pass_over_negations(const UnwindTable& table, RemoteAddr function) {
    constexpr std::uint8_t kNegateState = 0x2D;  // DW_CFA_AARCH64_negate_ra_state
    const RemoteAddr description = find_description(memory_, table, function);
    if (!description || !known_descriptions_.insert(description).second) return;
    for (const RemoteAddr at : find_operations(memory_, description, kNegateState))
      passed_over_.insert(at);
  }

  /// Null if there is none.
  const UnwindTable* table_for(RemoteAddr pc) {
    const MappedImage* image = images_.find(pc);
    if (image == nullptr) return find_table_ ? find_table_(pc) : nullptr;
    const auto [entry, is_new] = tables_.try_emplace(image->start);
    if (is_new) entry->second = find_unwind_table(memory_, *image, find_section_);
    return &entry->second;
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
  FindTable find_table_;
  const UnwindTable* table_ = nullptr;
  std::set<RemoteAddr> known_descriptions_;
  std::set<RemoteAddr> passed_over_;  // operations that libunwind must not see
  std::unique_ptr<std::remove_pointer_t<unw_addr_space_t>, void (*)(unw_addr_space_t)> space_{
      nullptr, nullptr};
  const NativeState* state_ = nullptr;
  std::vector<RemoteAddr> entry_frames_;      // by address
  const Registers* registers_ = nullptr;      // that the unwinding begins with
  std::set<RemoteAddr> without_information_;  // instructions that libunwind found none for
  std::size_t reads_ = 0;
  std::size_t reads_of_step_ = 0;             // since the last frame
  std::map<RemoteAddr, UnwindTable> tables_;  // by the image's start
};

Unwinder::Unwinder(const Memory& memory, MappedImages& images, FindSection find_section,
                   FindTable find_table)
    : implementation_(std::make_unique<Implementation>(memory, images, std::move(find_section),
                                                       std::move(find_table))) {}

Unwinder::~Unwinder() = default;

NativeWalk Unwinder::walk(const NativeState& state, std::span<const RemoteAddr> entry_frames) {
  return implementation_->walk(state, entry_frames);
}

}  // namespace pyscope
