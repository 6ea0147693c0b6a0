// CPython 3.11, which publishes no offsets: all are built in. Sources: scripts/make_layout.py (the
// structures), Include/cpython/pystate.h (status), Include/opcode.h, Include/cpython/object.h.
#include "structures/built_in.hpp"
#include "structures/built_in_3_11.hpp"
#include "structures/layouts.hpp"

namespace pyscope {
namespace {

using enum Field;

// What lies before an instance: the pointer to its values, then that to its dict.
constexpr auto kBeforeObjects =
    std::to_array<BuiltInField>({{PreHeaderSize, 32}, {PreHeaderDict, 24}, {PreHeaderValues, 32}});

constexpr auto kBackwardJumps = std::to_array<std::uint8_t>({140, 38, 134, 173, 174, 175, 176});
constexpr auto kChangingInstructions = std::to_array<OpcodeRange>({{3, 3},
                                                                   {22, 24},
                                                                   {60, 61},
                                                                   {64, 67},
                                                                   {72, 73},
                                                                   {76, 76},
                                                                   {79, 81},
                                                                   {84, 84},
                                                                   {113, 113},
                                                                   {121, 122},
                                                                   {127, 127},
                                                                   {141, 143},
                                                                   {145, 147},
                                                                   {162, 166},
                                                                   {168, 171},
                                                                   {255, 255}});
constexpr auto kResumes = std::to_array<std::uint8_t>({151, 150});

}  // namespace

const PythonLayout kLayout311 = {
    .minor = 11,
    .fields = {},
    .built_in = {kStructures311, kBuiltInNumpy, kBeforeObjects},
    // One byte of two, _initialized: there are no other states.
    .status = {.initialized = 1U << 0U},
    .names_last_unit = true,
    .int_size_has_sign = true,
    .instance_values = InstanceValues::BehindPointer,
    .backward_jumps = kBackwardJumps,
    .changing_instructions = kChangingInstructions,
    .rlock_is_semaphore = true,
    .with_keeps_bound_exit = true,
    .with_except_start = 49,
    .generator = {.suspended = -1, .delegating = 1},
    .resumes = kResumes,
    .unicode = {14, 0},
    .ordered_dict_has_pairs = true,
};

}  // namespace pyscope
