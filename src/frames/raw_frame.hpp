// A frame as its bytes say. This is the only place that knows how the bytes are laid out, and how a
// frame's instruction becomes a code unit. Where the variables lie: variables.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "pyscope/memory.hpp"
#include "python/code.hpp"
#include "structures/debug_offsets.hpp"

namespace pyscope {

/// Who owns a frame's memory (enum _frameowner). Three and above are entries from C code: the C
/// stack in 3.12 and 3.13, the interpreter and (unused) the C stack in 3.14; only `previous` means
/// anything in them. 3.11 has none: there a function's own frame says that C code called it, and
/// the walker puts an entry frame behind.
inline constexpr std::uint8_t kOwnedByThread = 0;
inline constexpr std::uint8_t kOwnedByGenerator = 1;
inline constexpr std::uint8_t kOwnedByFrameObject = 2;
inline constexpr std::uint8_t kFirstEntryOwner = 3;
inline constexpr std::uint8_t kLastOwner = 4;

struct RawFrame {
  RemoteAddr at;
  RemoteAddr previous;
  RemoteAddr executable;  // the code object; null for an entry frame, or if it was cleared
  RemoteAddr instruction;
  std::uint8_t owner = 0;
  bool called_from_c = false;  // 3.11: it says so itself
  /// The first two slots of locals: in a caller's frame they hold still, and tell two calls of one
  /// function apart.
  std::uint64_t local0 = 0;
  std::uint64_t local1 = 0;

  [[nodiscard]] bool is_entry() const { return owner >= kFirstEntryOwner; }
};

/// How many bytes of a frame decode_frame() needs; kMaxFrameHeader at the most.
inline constexpr std::size_t kMaxFrameHeader = 256;
[[nodiscard]] std::uint64_t frame_header_size(const DebugOffsets& offsets);

/// Of an entry frame only what means anything in one.
[[nodiscard]] RawFrame decode_frame(const DebugOffsets& offsets, RemoteAddr at,
                                    std::span<const std::byte> header);
/// The frame that lies at an address now. Fails if its bytes can't be read.
[[nodiscard]] Result<RawFrame> read_frame(const Memory& memory, const DebugOffsets& offsets,
                                          RemoteAddr at);

/// The code unit that an instruction pointer means in a code object of so many units; nothing for a
/// pointer to somewhere else. The first one for a frame that hasn't begun.
[[nodiscard]] std::optional<std::uint64_t> unit_of(const DebugOffsets& offsets, RemoteAddr code,
                                                   std::uint64_t units, RemoteAddr instruction);
/// Whether a frame names the unit before its code: it was made, and nothing was executed (until
/// 3.12).
[[nodiscard]] bool has_not_begun(const DebugOffsets& offsets, const RawFrame& frame);
/// The code unit that a frame is at, whose code was loaded and read. Fails with Malformed for an
/// instruction outside of the code.
[[nodiscard]] Result<std::uint64_t> unit_of(const CodeTable& codes, const RawFrame& frame);

}  // namespace pyscope
