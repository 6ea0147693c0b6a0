// What is fuzzed: each takes any bytes, and aborts where a promise is broken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pyscope::fuzz {

/// One parser of texts and tables, which the first byte chooses, on the rest.
void parsers(std::span<const std::uint8_t> input);

/// A whole dump of a recorded process whose memory the input changes: its first byte chooses the
/// recording (of those in the folder that PYSCOPE_FUZZ_RECORDINGS names), and each nine further
/// bytes replace a word of its memory. Both forms of the dump must be valid and harmless.
void image(std::span<const std::uint8_t> input);

/// A file of a recording.
void recording(std::span<const std::uint8_t> input);

}  // namespace pyscope::fuzz
