#include "frames/raw_frame.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace pyscope {
namespace {

constexpr std::uint64_t kUnitSize = 2;

}  // namespace

std::uint64_t frame_header_size(const DebugOffsets& offsets) {
  constexpr std::uint64_t kLocalsRead = 16;  // two slots
  return std::min<std::uint64_t>(offsets[Field::FrameLocalsplus] + kLocalsRead, kMaxFrameHeader);
}

RawFrame decode_frame(const DebugOffsets& offsets, RemoteAddr at,
                      std::span<const std::byte> header) {
  RawFrame frame;
  frame.at = at;
  frame.previous = RemoteAddr{value_in<std::uint64_t>(header, offsets[Field::FramePrevious])};
  frame.owner = value_in<std::uint8_t>(header, offsets[Field::FrameOwner]);
  if (frame.is_entry()) return frame;
  if (offsets.has(Field::FrameIsEntry)) {
    frame.called_from_c = value_in<std::uint8_t>(header, offsets[Field::FrameIsEntry]) == 1;
  }
  frame.executable = RemoteAddr{
      offsets.layout().untagged(value_in<std::uint64_t>(header, offsets[Field::FrameExecutable]))};
  frame.instruction = RemoteAddr{value_in<std::uint64_t>(header, offsets[Field::FrameInstrPtr])};
  frame.local0 = value_in<std::uint64_t>(header, offsets[Field::FrameLocalsplus]);
  frame.local1 = value_in<std::uint64_t>(header, offsets[Field::FrameLocalsplus] + 8);
  return frame;
}

Result<RawFrame> read_frame(const Memory& memory, const DebugOffsets& offsets, RemoteAddr at) {
  std::array<std::byte, kMaxFrameHeader> buffer{};
  const auto header = std::span{buffer}.first(frame_header_size(offsets));
  if (auto ok = memory.read(at, header); !ok) return fail("frame", ok.error());
  return decode_frame(offsets, at, header);
}

bool has_not_begun(const DebugOffsets& offsets, const RawFrame& frame) {
  const RemoteAddr first = frame.executable + offsets[Field::CodeCoCodeAdaptive];
  return offsets.layout().names_last_unit && frame.instruction + kUnitSize == first;
}

std::optional<std::uint64_t> unit_of(const DebugOffsets& offsets, RemoteAddr code,
                                     std::uint64_t units, RemoteAddr instruction) {
  const RemoteAddr first = code + offsets[Field::CodeCoCodeAdaptive];
  if (offsets.layout().names_last_unit && instruction + kUnitSize == first && units > 0) return 0;
  const std::uint64_t offset = instruction.raw() - first.raw();
  if (instruction < first || offset % kUnitSize != 0 || offset / kUnitSize >= units) {
    return std::nullopt;
  }
  return offset / kUnitSize;
}

Result<std::uint64_t> unit_of(const CodeTable& codes, const RawFrame& frame) {
  const CodeTable::Entry& entry = codes.at(frame.executable);
  const auto unit = unit_of(codes.offsets(), frame.executable, entry.units, frame.instruction);
  if (!unit) {
    return fail(ErrorKind::Malformed,
                fmt::format("the instruction pointer {:#x} is not within the code of {}",
                            frame.instruction.raw(), entry.code.qualified_name));
  }
  return *unit;
}

}  // namespace pyscope
