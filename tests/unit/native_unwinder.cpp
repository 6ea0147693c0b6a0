// The unwinder on the test's own stack, with the compiler's own unwinder as the judge; and on
// images that are made to mislead it.
#include <elf.h>
#include <fcntl.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "elf_headers.hpp"
#include "memory/live_memory.hpp"
#include "native/mapped_images.hpp"
#include "native/stack_copier.hpp"
#include "native/unwinder.hpp"
#include "paged_memory.hpp"

using namespace pyscope;
using test::PagedMemory;

namespace {

/// What a thread would have been found with, had it been held where it called this.
struct Moment {
  Registers registers;
  std::vector<std::uint64_t> callers;  // return addresses, by the compiler's unwinder
};

[[gnu::noinline]] void stand_still(const std::function<void(const Moment&)>& meanwhile) {
  Moment moment;
  ucontext_t context{};
  ::getcontext(&context);
#if defined(__x86_64__)
  const auto value = [&](int number) {
    return static_cast<unsigned long long>(context.uc_mcontext.gregs[number]);
  };
  moment.registers.raw.rip = value(REG_RIP);
  moment.registers.raw.rsp = value(REG_RSP);
  moment.registers.raw.rbp = value(REG_RBP);
  moment.registers.raw.rbx = value(REG_RBX);
  moment.registers.raw.r12 = value(REG_R12);
  moment.registers.raw.r13 = value(REG_R13);
  moment.registers.raw.r14 = value(REG_R14);
  moment.registers.raw.r15 = value(REG_R15);
#elif defined(__aarch64__)
  std::copy(std::begin(context.uc_mcontext.regs), std::end(context.uc_mcontext.regs),
            std::begin(moment.registers.raw.regs));
  moment.registers.raw.sp = context.uc_mcontext.sp;
  moment.registers.raw.pc = context.uc_mcontext.pc;
#endif
  // Not by backtrace(), which tells of the byte before some return addresses on some processors.
  std::vector<std::uint64_t> callers;
  ::_Unwind_Backtrace(
      [](_Unwind_Context* frame, void* found) {
        if (const auto pc = ::_Unwind_GetIP(frame)) {
          static_cast<std::vector<std::uint64_t>*>(found)->push_back(pc);
        }
        return _URC_NO_REASON;
      },
      &callers);
  // Behind this function; before it there may be one of a sanitizer.
  const auto function_of = [](std::uint64_t pc) {
    return ::_Unwind_FindEnclosingFunction(reinterpret_cast<void*>(pc));
  };
  bool below = false;
  for (const std::uint64_t pc : callers) {
    if (below) moment.callers.push_back(pc);
    below = below || function_of(pc) == function_of(moment.registers.pc().raw());
  }
  meanwhile(moment);
}

/// Unwinds the stack below stand_still(), which hasn't returned.
NativeWalk walk_own(const Moment& moment) {
  const UniqueFd directory{::open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  const LiveMemory memory{::getpid(), directory.get()};
  std::ifstream file("/proc/self/maps");
  const auto maps = parse_maps(
      std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()));
  MappedImages images(memory, maps);
  Unwinder unwinder(memory, images);
  NativeState state;
  state.registers = moment.registers;
  std::uint64_t budget = StackCopier::kMaxBytes;
  StackCopier copier(maps, budget);
  copier.add(state, {});
  copier.copy(memory);
  return unwinder.walk(state);
}

template <int kDepth>
[[gnu::noinline]] void descend(const std::function<void()>& at_the_end) {
  std::array<volatile char, kDepth * 24 + 1> room{};
  room.back() = 1;
  if constexpr (kDepth > 0) {
    descend<kDepth - 1>(at_the_end);
  } else {
    at_the_end();
  }
  room.front() = 2;
}

void check_moment(const Moment& moment, RemoteAddr variable) {
  const NativeWalk walk = walk_own(moment);
  CAPTURE(walk.error);
  CHECK(walk.error.empty());
  std::vector<std::uint64_t> callers;
  for (const UnwoundFrame& frame : walk.frames)
    callers.push_back(frame.pc.raw());
  REQUIRE_FALSE(callers.empty());
  CHECK(callers.front() == moment.registers.pc().raw());
  callers.erase(callers.begin());
  CHECK(callers == moment.callers);
  CHECK_FALSE(walk.frames.front().called);
  for (std::size_t i = 0; i + 1 < walk.frames.size(); ++i) {
    CAPTURE(i);
    CHECK(walk.frames[i + 1].called);
    CHECK_FALSE(walk.frames[i + 1].guessed);
    // Each part of the stack begins where that of the callee ends.
    CHECK(walk.frames[i].stack.start + walk.frames[i].stack.size == walk.frames[i + 1].stack.start);
  }
  REQUIRE(walk.frames.size() > 1);
  CHECK(walk.frames[1].stack.contains(variable));
}

void check_own_stack() {
  // It is in this function's own part of the stack, that of the caller.
  const volatile int variable = 1;
  const auto* const at = &variable;
  stand_still([at](const Moment& moment) {
    check_moment(moment, RemoteAddr{reinterpret_cast<std::uint64_t>(at)});
  });
}

#if defined(__x86_64__)

/// A library with one function of 0x1000 bytes, at 0x401000, that keeps what its unwinding
/// information says; tests change that.
class Library {
 public:
  static constexpr std::uint64_t kStart = 0x400000;
  static constexpr std::uint64_t kCode = kStart + 0x1000;
  static constexpr std::uint64_t kTable = kStart + 0x2000;
  static constexpr std::uint64_t kFrames = kStart + 0x3000;
  static constexpr std::uint64_t kStack = 0x7000'0000;

  Library() {
    Elf64_Ehdr header = test::shared_library_header();
    header.e_phoff = sizeof header;
    header.e_phnum = 2;
    memory.put(RemoteAddr{kStart}, header);
    const Elf64_Phdr load{PT_LOAD, PF_R | PF_X, 0, 0, 0, 0x10000, 0x10000, 0x1000};
    const Elf64_Phdr table{PT_GNU_EH_FRAME, PF_R, 0x2000, 0x2000, 0x2000, 0x100, 0x100, 4};
    memory.put(RemoteAddr{kStart + sizeof header}, load);
    memory.put(RemoteAddr{kStart + sizeof header + sizeof load}, table);
    memory.map(RemoteAddr{kCode}, 0x1000);
    put_table(1, static_cast<std::int32_t>(kFrames + 0x20 - kTable));
    // The caller's stack pointer is behind the return address, which is all that is on the stack.
    put_frames({0x0C, 7, 8, 0x90, 1}, {});
    Mapping mapping;
    mapping.range = {RemoteAddr{kStart}, 0x10000};
    mapping.readable = true;
    mapping.executable = true;
    mapping.inode = 7;
    mapping.path = "/lib/misleading.so";
    maps.push_back(mapping);
    state.registers.set(RemoteAddr{kCode + 0x10}, RemoteAddr{kStack});
    state.stack.push_back({RemoteAddr{kStack}, std::vector<std::byte>(0x1000)});
  }

  /// .eh_frame_hdr with so many entries, of which one is there.
  void put_table(std::uint32_t count, std::int32_t description) {
    memory.put(RemoteAddr{kTable}, std::array<std::uint8_t, 4>{1, 0x1B, 0x03, 0x3B});
    memory.put(RemoteAddr{kTable + 4}, static_cast<std::int32_t>(kFrames - kTable - 4));
    memory.put(RemoteAddr{kTable + 8}, count);
    memory.put(RemoteAddr{kTable + 12}, static_cast<std::int32_t>(kCode - kTable));
    memory.put(RemoteAddr{kTable + 16}, description);
  }

  /// .eh_frame: a CIE and an FDE for all of the code, with these instructions (DW_CFA_…).
  void put_frames(const std::vector<std::uint8_t>& of_cie, const std::vector<std::uint8_t>& of_fde,
                  std::uint32_t fde_length = 0) {
    std::vector<std::uint8_t> bytes(0x20, 0);
    const auto put_at = [&](std::size_t at, std::uint32_t value) {
      std::memcpy(bytes.data() + at, &value, sizeof value);
    };
    put_at(0, 0x1C);
    const std::vector<std::uint8_t> head{1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1B};
    std::copy(head.begin(), head.end(), bytes.begin() + 8);
    std::copy(of_cie.begin(), of_cie.end(), bytes.begin() + 17);
    bytes.resize(0x20 + 17);
    put_at(0x20, fde_length != 0 ? fde_length : static_cast<std::uint32_t>(13 + of_fde.size()));
    put_at(0x24, 0x24);
    put_at(0x28, static_cast<std::uint32_t>(kCode - (kFrames + 0x28)));
    put_at(0x2C, 0x1000);
    bytes.insert(bytes.end(), of_fde.begin(), of_fde.end());
    memory.write(RemoteAddr{kFrames}, std::as_bytes(std::span(bytes)));
  }

  void put_stack(std::size_t word, std::uint64_t value) {
    std::memcpy(state.stack[0].bytes.data() + word * 8, &value, sizeof value);
  }

  NativeWalk walk(const std::vector<RemoteAddr>& entry_frames = {}) {
    MappedImages images(memory, maps);
    Unwinder unwinder(memory, images);
    return unwinder.walk(state, entry_frames);
  }

  PagedMemory memory;
  std::vector<Mapping> maps;
  NativeState state;
};

#endif

}  // namespace

TEST_CASE("unwinder: the test's own stack is as the compiler's unwinder sees it") {
  SECTION("here") {
    check_own_stack();
  }
  SECTION("at the end of many frames of different sizes") {
    descend<40>(check_own_stack);
  }
}

#if defined(__x86_64__)

TEST_CASE("unwinder: a library that was made by hand") {
  Library library;
  library.put_stack(0, Library::kCode + 0x20);
  library.put_stack(1, Library::kCode + 0x30);
  const NativeWalk walk = library.walk();
  CAPTURE(walk.error);
  CHECK(walk.error.empty());
  REQUIRE(walk.frames.size() == 3);
  CHECK(walk.frames[1].pc == RemoteAddr{Library::kCode + 0x20});
  CHECK(walk.frames[1].instruction() == RemoteAddr{Library::kCode + 0x1F});
  CHECK(walk.frames[1].stack.start == RemoteAddr{Library::kStack + 8});
  CHECK(walk.frames[2].pc == RemoteAddr{Library::kCode + 0x30});
}

TEST_CASE(
    "unwinder: what a signal handler returns to has called nothing, nor has what it interrupted") {
  Library library;
  const std::array<std::uint8_t, 9> code{0x48, 0xC7, 0xC0, 0x0F, 0, 0, 0, 0x0F, 0x05};
  library.memory.put(RemoteAddr{Library::kCode + 0x40}, code);
  library.put_stack(0, Library::kCode + 0x40);
  library.put_stack(1, Library::kCode + 0x80);
  library.put_stack(2, Library::kCode + 0x90);
  const NativeWalk walk = library.walk();
  REQUIRE(walk.frames.size() >= 2);
  CHECK_FALSE(walk.frames[1].called);
  if (walk.frames.size() > 2) CHECK_FALSE(walk.frames[2].called);
  if (walk.frames.size() > 3) CHECK(walk.frames[3].called);
}

TEST_CASE("unwinder: a call to where no code is has its caller") {
  Library library;
  library.state.registers.set(RemoteAddr{0x1234}, RemoteAddr{Library::kStack});
  const std::array<std::uint8_t, 2> call{0xFF, 0xD0};  // *%rax
  library.memory.put(RemoteAddr{Library::kCode + 0x1E}, call);
  library.put_stack(0, Library::kCode + 0x20);
  const NativeWalk walk = library.walk();
  REQUIRE(walk.frames.size() >= 2);
  CHECK(walk.frames[0].pc == RemoteAddr{0x1234});
  CHECK(walk.frames[1].pc == RemoteAddr{Library::kCode + 0x20});
}

TEST_CASE("unwinder: no entry frame is passed over where a caller is guessed") {
  Library library;
  // Code that no file holds, which has left the register for frame pointers to one of its callers.
  constexpr std::uint64_t kMade = 0x50'0000;
  Mapping made;
  made.range = {RemoteAddr{kMade}, 0x1000};
  made.readable = made.executable = true;
  library.maps.push_back(made);
  library.memory.map(RemoteAddr{kMade}, 0x1000);
  library.state.registers.set(RemoteAddr{kMade + 0x10}, RemoteAddr{Library::kStack});
  const auto word_at = [](std::uint64_t word) { return RemoteAddr{Library::kStack + 8 * word}; };
  library.state.registers.set_frame_pointer(word_at(9));
  library.put_stack(9, word_at(20).raw());
  for (const std::uint64_t place : {0x20U, 0x30U, 0x40U}) {
    const std::array<std::uint8_t, 2> call{0xFF, 0xD0};  // *%rax
    library.memory.put(RemoteAddr{Library::kCode + place - 2}, call);
  }
  library.put_stack(3, Library::kCode + 0x20);
  for (const std::size_t word : {4U, 5U, 6U})
    library.put_stack(word, Library::kCode + 0x30);
  library.put_stack(10, Library::kCode + 0x40);

  const NativeWalk by_pointer = library.walk();
  CHECK(by_pointer.error.empty());
  REQUIRE(by_pointer.frames.size() == 2);
  CHECK(by_pointer.frames[1].pc == RemoteAddr{Library::kCode + 0x40});
  CHECK(by_pointer.frames[1].guessed);

  const NativeWalk by_entry = library.walk({word_at(6)});
  CHECK(by_entry.error.empty());
  REQUIRE(by_entry.frames.size() == 5);
  CHECK(by_entry.frames[1].pc == RemoteAddr{Library::kCode + 0x20});
  CHECK(by_entry.frames[1].guessed);
  CHECK_FALSE(by_entry.frames[2].guessed);
  CHECK(by_entry.frames[3].stack.contains(word_at(6)) !=
        by_entry.frames[4].stack.contains(word_at(6)));

  // What looks like a caller and isn't behind a call is none.
  library.memory.put(RemoteAddr{Library::kCode + 0x1E}, std::uint16_t{0});
  const NativeWalk without = library.walk({word_at(6)});
  REQUIRE(without.frames.size() > 1);
  CHECK(without.frames[1].pc == RemoteAddr{Library::kCode + 0x30});
}

TEST_CASE("unwinder: information that leads nowhere ends the stack, and says so") {
  Library library;
  library.put_stack(0, Library::kCode + 0x20);
  library.put_stack(1, Library::kCode + 0x30);
  std::size_t most = 1;
  SECTION("a count of four thousand million") {
    library.put_table(4'000'000'000U, 0xF20);
  }
  SECTION("a description where no memory is") {
    library.put_table(1, 0x7000'0000);
  }
  SECTION("a description in itself") {
    library.put_table(1, 0);
  }
  SECTION("a description that is the CIE") {
    library.put_table(1, static_cast<std::int32_t>(Library::kFrames - Library::kTable));
  }
  SECTION("an FDE without an end") {
    library.put_frames({0x0C, 7, 8, 0x90, 1}, {}, 0xFFFF'FFF0U);
  }
  SECTION("a stack pointer that is no memory's") {
    library.state.registers.set(RemoteAddr{Library::kCode + 0x10}, RemoteAddr{0x1000});
  }
  SECTION("a frame that is its own caller") {
    // The stack pointer stays, and the return address is this instruction.
    library.put_frames({0x0C, 7, 0, 0x90, 0}, {});
    library.put_stack(0, Library::kCode + 0x10);
    most = 2;
  }
  SECTION("two frames that call each other") {
    library.put_frames({0x0C, 7, 0, 0x90, 0}, {});
    most = Unwinder::kMaxDepth;
  }
  SECTION("an expression that jumps back for ever") {
    // DW_CFA_def_cfa_expression of three bytes: DW_OP_skip -3.
    library.put_frames({0x0C, 7, 8, 0x90, 1}, {0x0F, 3, 0x2F, 0xFD, 0xFF});
  }
  SECTION("an expression that pops what it never pushed") {
    library.put_frames({0x0C, 7, 8, 0x90, 1}, {0x0F, 2, 0x13, 0x13});
  }
  SECTION("states that are remembered without an end") {
    library.put_frames({0x0C, 7, 8, 0x90, 1}, std::vector<std::uint8_t>(2000, 0x0A));
    most = 3;
  }
  const NativeWalk walk = library.walk();
  CAPTURE(walk.error, walk.frames.size());
  CHECK(walk.frames.size() <= most);
  if (walk.frames.size() <= 2) CHECK_FALSE(walk.error.empty());
}

TEST_CASE("unwinder: whatever bytes are changed, it ends") {
  std::uint32_t random = 1;
  const auto next = [&] {
    random = random * 1664525U + 1013904223U;
    return random >> 8U;
  };
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(round);
    Library library;
    for (std::size_t i = 0; i < 64; ++i)
      library.put_stack(i, Library::kCode + 0x20 + i);
    for (int i = 0; i < 3; ++i) {
      const std::uint64_t page = i % 2 == 0 ? Library::kFrames : Library::kTable;
      library.memory.put(RemoteAddr{page + next() % 0x38}, static_cast<std::uint8_t>(next()));
    }
    CHECK(library.walk().frames.size() <= Unwinder::kMaxDepth);
  }
}

#endif
