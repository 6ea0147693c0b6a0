// The tables of debug offsets that three releases of CPython publish (x86-64, with a GIL, not debug
// builds), as read from running processes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "structures/debug_offsets.hpp"

namespace pyscope::test {

constexpr std::int64_t kAbsent = -1;

struct PublishedField {
  std::string_view name;
  std::array<std::int64_t, 3> values;  // in 3.13.15, 3.14.8 and 3.15.0
};

inline constexpr std::array<std::uint32_t, 3> kPublishedVersions{0x030d0ff0, 0x030e08f0,
                                                                 0x030f00f0};

inline constexpr auto kPublishedFields = std::to_array<PublishedField>({
    {"runtime_state.size", {283408, 316616, 346568}},
    {"runtime_state.finalizing", {608, 784, 912}},
    {"runtime_state.interpreters_head", {632, 808, 936}},
    {"interpreter_state.size", {194984, 225864, 226240}},
    {"interpreter_state.id", {7272, 7280, 7272}},
    {"interpreter_state.next", {7264, 7272, 7264}},
    {"interpreter_state.threads_head", {7344, 7344, 7336}},
    {"interpreter_state.threads_main", {kAbsent, 7360, 7352}},
    {"interpreter_state.gc", {7400, 7408, 7400}},
    {"interpreter_state.imports_modules", {7656, 7688, 7592}},
    {"interpreter_state.sysdict", {7640, 7672, 7576}},
    {"interpreter_state.builtins", {7648, 7680, 7584}},
    {"interpreter_state.ceval_gil", {16, 16, 16}},
    {"interpreter_state.gil_runtime_state", {7752, 7784, 7736}},
    {"interpreter_state.gil_runtime_state_enabled", {0, 0, 0}},
    {"interpreter_state.gil_runtime_state_locked", {7768, 7800, 7752}},
    {"interpreter_state.gil_runtime_state_holder", {7760, 7792, 7744}},
    {"interpreter_state.code_object_generation", {kAbsent, 7992, 7944}},
    {"interpreter_state.tlbc_generation", {kAbsent, 0, 0}},
    {"thread_state.size", {312, 832, 888}},
    {"thread_state.prev", {0, 0, 0}},
    {"thread_state.next", {8, 8, 8}},
    {"thread_state.interp", {16, 16, 16}},
    {"thread_state.current_frame", {72, 72, 72}},
    {"thread_state.base_frame", {kAbsent, kAbsent, 80}},
    {"thread_state.last_profiled_frame", {kAbsent, kAbsent, 88}},
    {"thread_state.last_profiled_frame_seq", {kAbsent, kAbsent, 96}},
    {"thread_state.thread_id", {152, 152, 176}},
    {"thread_state.native_thread_id", {160, 160, 184}},
    {"thread_state.datastack_chunk", {232, 232, 256}},
    {"thread_state.status", {32, 32, 32}},
    {"thread_state.holds_gil", {kAbsent, kAbsent, 36}},
    {"thread_state.gil_requested", {kAbsent, kAbsent, 40}},
    {"thread_state.current_exception", {kAbsent, kAbsent, 136}},
    {"thread_state.exc_state", {kAbsent, kAbsent, 288}},
    {"err_stackitem.exc_value", {kAbsent, kAbsent, 0}},
    {"interpreter_frame.size", {80, 88, 88}},
    {"interpreter_frame.previous", {8, 8, 8}},
    {"interpreter_frame.executable", {0, 0, 0}},
    {"interpreter_frame.instr_ptr", {56, 56, 56}},
    {"interpreter_frame.localsplus", {72, 80, 80}},
    {"interpreter_frame.owner", {70, 74, 74}},
    {"interpreter_frame.stackpointer", {kAbsent, 64, 64}},
    {"interpreter_frame.tlbc_index", {kAbsent, 0, 0}},
    {"code_object.size", {208, 216, 216}},
    {"code_object.filename", {112, 112, 112}},
    {"code_object.name", {120, 120, 120}},
    {"code_object.qualname", {128, 128, 128}},
    {"code_object.linetable", {136, 136, 136}},
    {"code_object.firstlineno", {68, 68, 68}},
    {"code_object.argcount", {52, 52, 52}},
    {"code_object.localsplusnames", {96, 96, 96}},
    {"code_object.localspluskinds", {104, 104, 104}},
    {"code_object.co_code_adaptive", {200, 208, 208}},
    {"code_object.co_tlbc", {kAbsent, 0, 0}},
    {"pyobject.size", {16, 16, 16}},
    {"pyobject.ob_type", {8, 8, 8}},
    {"type_object.size", {416, 416, 424}},
    {"type_object.tp_name", {24, 24, 24}},
    {"type_object.tp_repr", {88, 88, 88}},
    {"type_object.tp_flags", {168, 168, 168}},
    {"type_object.tp_basicsize", {kAbsent, kAbsent, 32}},
    {"type_object.tp_dictoffset", {kAbsent, kAbsent, 288}},
    {"heap_type_object.size", {kAbsent, kAbsent, 944}},
    {"heap_type_object.ht_cached_keys", {kAbsent, kAbsent, 888}},
    {"tuple_object.size", {32, 40, 40}},
    {"tuple_object.ob_item", {24, 32, 32}},
    {"tuple_object.ob_size", {16, 16, 16}},
    {"list_object.size", {40, 40, 40}},
    {"list_object.ob_item", {24, 24, 24}},
    {"list_object.ob_size", {16, 16, 16}},
    {"set_object.size", {kAbsent, 200, 200}},
    {"set_object.used", {kAbsent, 24, 24}},
    {"set_object.table", {kAbsent, 40, 40}},
    {"set_object.mask", {kAbsent, 32, 32}},
    {"dict_object.size", {48, 48, 48}},
    {"dict_object.ma_keys", {32, 32, 32}},
    {"dict_object.ma_values", {40, 40, 40}},
    {"float_object.size", {24, 24, 24}},
    {"float_object.ob_fval", {16, 16, 16}},
    {"long_object.size", {32, 32, 32}},
    {"long_object.lv_tag", {16, 16, 16}},
    {"long_object.ob_digit", {24, 24, 24}},
    {"bytes_object.size", {40, 40, 40}},
    {"bytes_object.ob_size", {16, 16, 16}},
    {"bytes_object.ob_sval", {32, 32, 32}},
    {"unicode_object.size", {64, 64, 64}},
    {"unicode_object.state", {32, 32, 32}},
    {"unicode_object.length", {16, 16, 16}},
    {"unicode_object.asciiobject_size", {40, 40, 40}},
    {"unicode_object.compactunicodeobject_size", {kAbsent, kAbsent, 56}},
    {"gc.size", {240, 264, 176}},
    {"gc.collecting", {200, 192, 112}},
    {"gc.frame", {kAbsent, kAbsent, 120}},
    {"gc.generation_stats_size", {kAbsent, kAbsent, 1112}},
    {"gc.generation_stats", {kAbsent, kAbsent, 104}},
    {"gen_object.size", {kAbsent, 160, 160}},
    {"gen_object.gi_name", {kAbsent, 24, 24}},
    {"gen_object.gi_iframe", {kAbsent, 72, 72}},
    {"gen_object.gi_frame_state", {kAbsent, 67, 67}},
    {"llist_node.next", {kAbsent, 0, 0}},
    {"llist_node.prev", {kAbsent, 8, 8}},
    {"debugger_support.eval_breaker", {kAbsent, 24, 24}},
    {"debugger_support.remote_debugger_support", {kAbsent, 304, 344}},
    {"debugger_support.remote_debugging_enabled", {kAbsent, 8076, 8028}},
    {"debugger_support.debugger_pending_call", {kAbsent, 0, 0}},
    {"debugger_support.debugger_script_path", {kAbsent, 4, 4}},
    {"debugger_support.debugger_script_path_size", {kAbsent, 512, 512}},
});

/// The index of 3.`minor` into the arrays above.
inline std::size_t column_of(int minor) {
  return static_cast<std::size_t>(minor - 13);
}

/// A table as it lies in the memory of a process. The fields can be changed by their names.
class PublishedTable {
 public:
  explicit PublishedTable(int minor) : minor_(minor) {
    for (const char c : DebugOffsets::kCookie)
      bytes.push_back(static_cast<std::byte>(c));
    append(kPublishedVersions.at(column_of(minor)));
    append(0);
    for (const PublishedField& field : kPublishedFields) {
      const std::int64_t value = field.values.at(column_of(minor));
      if (value != kAbsent) append(static_cast<std::uint64_t>(value));
    }
  }

  void set_version(std::uint64_t hex) { set_word(8, hex); }
  void set_free_threaded(std::uint64_t value) { set_word(16, value); }
  void set(std::string_view name, std::uint64_t value) { set_word(position_of(name), value); }

  /// Where a field lies in the table.
  [[nodiscard]] std::size_t position_of(std::string_view name) const {
    std::size_t position = DebugOffsets::kHeaderSize;
    for (const PublishedField& field : kPublishedFields) {
      const bool present = field.values.at(column_of(minor_)) != kAbsent;
      if (present && field.name == name) return position;
      if (present) position += 8;
    }
    throw std::out_of_range(std::string(name));
  }

  std::vector<std::byte> bytes;

 private:
  void append(std::uint64_t word) {
    bytes.resize(bytes.size() + sizeof word);
    set_word(bytes.size() - sizeof word, word);
  }
  void set_word(std::size_t position, std::uint64_t word) {
    std::memcpy(bytes.data() + position, &word, sizeof word);
  }

  int minor_;
};

}  // namespace pyscope::test
