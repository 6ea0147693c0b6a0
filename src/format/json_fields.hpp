// Writes the fields of all JSON documents of pyscope. A document is valid for any input: text is
// escaped to UTF-8, and impossible numbers are null.
#pragma once

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/escape.hpp"
#include "pyscope/error.hpp"
#include "pyscope/render.hpp"
#include "pyscope/snapshot.hpp"

namespace pyscope {

/// Text that was escaped before. The type keeps raw text from being written by mistake.
struct SafeText {
  std::string text;
};

template <class Writer>
class JsonFields {
 public:
  explicit JsonFields(Writer& writer) : writer_(writer) {}

  void key(std::string_view name) {
    writer_.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
  }
  void ascii(std::string_view text) {
    writer_.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  }
  void value(const SafeText& safe) { ascii(safe.text); }
  void text(std::string_view unsafe) { ascii(escape(unsafe)); }

  void field(std::string_view name, bool value) {
    key(name);
    writer_.Bool(value);
  }
  void field(std::string_view name, std::int64_t value) {
    key(name);
    writer_.Int64(value);
  }
  void field(std::string_view name, std::uint64_t value) {
    key(name);
    writer_.Uint64(value);
  }
  void field(std::string_view name, std::nullptr_t) {
    key(name);
    writer_.Null();
  }
  template <class T>
  void field(std::string_view name, const std::optional<T>& value) {
    if (value) {
      field(name, *value);
    } else {
      field(name, nullptr);
    }
  }
  void text_field(std::string_view name, std::string_view unsafe) {
    key(name);
    text(unsafe);
  }
  void text_or_null(std::string_view name, const std::optional<std::string>& unsafe) {
    key(name);
    if (unsafe) {
      text(*unsafe);
    } else {
      writer_.Null();
    }
  }
  /// Writes a text, or null if the text is empty.
  void text_unless_empty(std::string_view name, std::string_view unsafe) {
    text_or_null(name, unsafe.empty() ? std::nullopt : std::optional<std::string>(unsafe));
  }
  /// Writes an id, or null if the id isn't known.
  void id_field(std::string_view name, pid_t id) {
    if (id > 0) {
      field(name, std::int64_t{id});
    } else {
      field(name, nullptr);
    }
  }
  /// Writes a line or column. A negative number was read from a target that makes no sense, and
  /// becomes null.
  void position_field(std::string_view name, std::optional<std::int32_t> number) {
    if (number && *number >= 0) {
      field(name, std::int64_t{*number});
    } else {
      field(name, nullptr);
    }
  }
  /// Writes an address, or null for 0.
  void address_field(std::string_view name, std::uint64_t address) {
    key(name);
    if (address != 0) {
      ascii(fmt::format("{:#x}", address));
    } else {
      writer_.Null();
    }
  }
  /// Writes the list of cycles, which several documents have.
  void deadlocks_field(const std::vector<Deadlock>& deadlocks) {
    key("deadlocks");
    writer_.StartArray();
    for (const Deadlock& deadlock : deadlocks) {
      writer_.StartObject();
      key("cycle");
      writer_.StartArray();
      for (const Deadlock::Member& member : deadlock.cycle) {
        writer_.StartObject();
        id_field("tid", member.tid);
        key("waits_for");
        writer_.StartObject();
        text_field("type", member.lock.type);
        address_field("address", member.lock.address);
        writer_.EndObject();
        id_field("held_by", member.lock.held_by);
        if (member.pid != 0) {
          id_field("pid", member.pid);
          text_field("process", member.process);
          text_field("waits", member.waits);
        }
        writer_.EndObject();
      }
      writer_.EndArray();
      writer_.EndObject();
    }
    writer_.EndArray();
  }
  void error_field(std::string_view code, std::string_view message) {
    key("error");
    writer_.StartObject();
    key("code");
    ascii(code);
    text_field("message", message);
    writer_.EndObject();
  }
  /// Writes a whole error, with the hint for what to do next.
  void error_field(const Error& error) {
    key("error");
    writer_.StartObject();
    key("code");
    ascii(error_code(error.kind));
    text_field("message", error.message);
    text_unless_empty("hint", error.hint);
    writer_.EndObject();
  }

 protected:
  Writer& writer_;
};

/// The text of one document, which `write` writes to the writer that it is given.
template <class Write>
[[nodiscard]] std::string json_text(JsonStyle style, const Write& write) {
  rapidjson::StringBuffer buffer;
  if (style == JsonStyle::Pretty) {
    rapidjson::PrettyWriter<rapidjson::StringBuffer> writer(buffer);
    writer.SetIndent(' ', 2);
    write(writer);
  } else {
    rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
    write(writer);
  }
  std::string text(buffer.GetString(), buffer.GetSize());
  text += '\n';
  return text;
}

}  // namespace pyscope
